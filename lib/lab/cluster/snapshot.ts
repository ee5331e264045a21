import { sorted } from './api/server-side-apply.ts';
import { fullName, isRecord, type Thing } from './api/thing.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterSnapshot } from './index.ts';

/** Kinds that controllers make again at any time. */
const PASSING = ['Pod', 'Event', 'Endpoints', 'EndpointSlice', 'ServiceL2Status', 'Lease', 'ETCDSnapshotFile'];
/** Fields that differ from run to run: identities, times, numbers that depend on the order of things. */
const VOLATILE = [
  ...['uid', 'resourceVersion', 'generation', 'observedGeneration', 'creationTimestamp', 'lastTransitionTime'],
  ...['startTime', 'completionTime', 'notAfter', 'machineID', 'clusterIP', 'clusterIPs', 'nodePort', 'podCIDR'],
  ...[
    'ownerReferences',
    'conditions',
    'volumeName',
    'volumeHandle',
    'csi.storage.k8s.io/pv/name',
    'restartedAt',
    'selected-node',
  ],
];
/** pvc-UID, svclb-NAME-UID, and shares of UIDs in paths. */
const UID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;

/** What the clusters hold, for comparing two moments or two runs. Of Secrets only the names of their keys. */
export function snapshotOf(clusters: readonly Cluster[]): ClusterSnapshot {
  return {
    clusters: clusters.map((cluster) => ({
      servers: [...cluster.members].sort(),
      objects: Object.fromEntries(
        cluster.store
          .all()
          .filter(({ kind }) => !PASSING.includes(kind))
          .map((object): [string, unknown] => [
            `${object.apiVersion} ${object.kind} ${fullName(object)}`.replace(UID, 'UID'),
            sorted(steady(object.kind === 'Secret' ? withoutData(object) : object)),
          ]),
      ),
    })),
  };
}

function withoutData(secret: Thing): Thing {
  return { ...secret, data: Object.keys(isRecord(secret.data) ? secret.data : {}).sort() };
}

function steady(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(UID, 'UID');
  if (Array.isArray(value)) return value.map(steady);
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !VOLATILE.some((name) => key === name || key.endsWith(`/${name}`)))
      .map(([key, v]) => [key, steady(v)]),
  );
}
