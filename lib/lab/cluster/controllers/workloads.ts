import { same } from '../api/server-side-apply.ts';
import {
  isOwnedBy,
  itemsAt,
  numberAt,
  ownerOf,
  recordAt,
  shortHash,
  type Thing,
  textAt,
  textsAt,
  withCondition,
} from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { candidates } from './schedule.ts';

const HASH = 'pod-template-hash';

/** Deployments, StatefulSets and DaemonSets make their pods, replace those of an older template, and count. */
export function workloads(cluster: Cluster): void {
  for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet'])
    for (const object of cluster.store.list('apps/v1', kind)) {
      if (kind === 'StatefulSet') claimsOf(cluster, object);
      const wanted = kind === 'DaemonSet' ? onEachNode(cluster, object) : replicas(object);
      const pods = keep(cluster, object, wanted);
      count(cluster, object, pods, wanted.size);
    }
}

export function isPodReady(pod: Thing): boolean {
  return textAt(pod, 'status.conditions[Ready].status') === 'True' && !pod.metadata.deletionTimestamp;
}

/** Names of the pods that there should be, with the node of those that are bound to one. */
type Wanted = Map<string, string | undefined>;

function replicas(object: Thing): Wanted {
  const { name } = object.metadata;
  const hash = templateHash(object);
  const count = numberAt(object, 'spec.replicas', 1);
  const names = Array.from({ length: count }, (_, index) =>
    object.kind === 'StatefulSet' ? `${name}-${index}` : `${name}-${hash}-${shortHash(`${name}${hash}${index}`)}`,
  );
  return new Map(names.map((pod) => [pod, undefined]));
}

function onEachNode(cluster: Cluster, object: Thing): Wanted {
  const { nodes } = candidates(cluster, podOf(object, 'probe'), true);
  return new Map(
    nodes.map((node) => [
      `${object.metadata.name}-${shortHash(`${object.metadata.name}${templateHash(object)}${node}`)}`,
      node,
    ]),
  );
}

/** Makes what is missing; takes away what is too much once the new ones are ready. */
function keep(cluster: Cluster, object: Thing, wanted: Wanted): Thing[] {
  const { store } = cluster;
  const hash = templateHash(object);
  const own = store.list('v1', 'Pod', object.metadata.namespace).filter((pod) => isOwnedBy(pod, object));
  for (const pod of own) {
    const outdated = pod.metadata.labels?.[HASH] !== hash;
    // A StatefulSet's and a DaemonSet's pods have no second place to be: the old one goes first.
    if (outdated && object.kind !== 'Deployment') store.delete(pod);
  }
  for (const [name, node] of wanted)
    if (!store.get('v1', 'Pod', name, object.metadata.namespace)) store.put(podOf(object, name, node));
  const pods = [...wanted.keys()].flatMap((name) => store.get('v1', 'Pod', name, object.metadata.namespace) ?? []);
  if (pods.every(isPodReady)) for (const pod of own) if (!wanted.has(pod.metadata.name)) store.delete(pod);
  return pods;
}

function podOf(object: Thing, name: string, node?: string): Thing {
  const template = recordAt(object, 'spec.template');
  const claims = itemsAt(object, 'spec.volumeClaimTemplates').map((claim) => ({
    name: textAt(claim, 'metadata.name'),
    persistentVolumeClaim: { claimName: `${textAt(claim, 'metadata.name')}-${name}` },
  }));
  const spec = recordAt(template, 'spec');
  const volumes = [...itemsAt(spec, 'volumes'), ...claims];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: object.metadata.namespace,
      labels: { ...textsAt(template, 'metadata.labels'), [HASH]: templateHash(object) },
      ownerReferences: [ownerOf(object)],
    },
    spec: { ...spec, ...(volumes.length > 0 ? { volumes } : {}), ...(node ? { nodeName: node } : {}) },
    status: { phase: 'Pending' },
  };
}

function claimsOf(cluster: Cluster, object: Thing): void {
  for (const template of itemsAt(object, 'spec.volumeClaimTemplates'))
    for (const pod of replicas(object).keys()) {
      const name = `${textAt(template, 'metadata.name')}-${pod}`;
      const { namespace } = object.metadata;
      if (cluster.store.get('v1', 'PersistentVolumeClaim', name, namespace)) continue;
      const kind = cluster.api.kindOf({ apiVersion: 'v1', kind: 'PersistentVolumeClaim' });
      const claim = {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name, namespace },
        spec: recordAt(template, 'spec'),
      };
      if (kind) cluster.api.apply(kind, claim, { manager: 'kube-controller-manager' });
    }
}

function templateHash(object: Thing): string {
  return shortHash(JSON.stringify(recordAt(object, 'spec.template')), 9);
}

function count(cluster: Cluster, object: Thing, pods: readonly Thing[], wanted: number): void {
  const ready = pods.filter(isPodReady).length;
  const generation = object.metadata.generation ?? 1;
  const enough = ready >= wanted;
  const numbers: Record<string, unknown> =
    object.kind === 'DaemonSet'
      ? {
          currentNumberScheduled: pods.length,
          desiredNumberScheduled: wanted,
          numberMisscheduled: 0,
          numberReady: ready,
          numberAvailable: ready,
          updatedNumberScheduled: pods.length,
        }
      : {
          replicas: pods.length,
          updatedReplicas: pods.length,
          readyReplicas: ready,
          availableReplicas: ready,
          unavailableReplicas: wanted - ready,
        };
  const withAvailable = {
    ...object,
    status: {
      conditions: withCondition(
        object,
        'Available',
        enough ? 'True' : 'False',
        enough ? 'MinimumReplicasAvailable' : 'MinimumReplicasUnavailable',
        `Deployment ${enough ? 'has' : 'does not have'} minimum availability.`,
      ),
    },
  };
  const conditions = object.kind === 'Deployment' ? { conditions: itemsAt(withAvailable, 'status.conditions') } : {};
  const status = Object.fromEntries(
    Object.entries({ observedGeneration: generation, ...numbers, ...conditions }).filter(
      ([key, value]) => value !== 0 || /Number|^replicas$/.test(key),
    ),
  );
  if (!same(status, object.status)) cluster.store.put({ ...object, status });
}
