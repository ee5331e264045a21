import { itemsAt, recordAt, type Thing, textAt, valueAt, withCondition } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { runToEnd } from './run-pod.ts';
import { endSandboxes, isSandboxed, startSandbox } from './sandbox.ts';
import { candidates, emptiest, unschedulable } from './schedule.ts';
import { claimsOfPod, mountAll } from './volumes.ts';

/** Pods get a node, their volumes, and run; those of lost nodes are no longer ready. */
export async function pods(cluster: Cluster): Promise<void> {
  endSandboxes(cluster);
  for (const pod of cluster.store.list('v1', 'Pod')) {
    const phase = textAt(pod, 'status.phase') || 'Pending';
    if (phase === 'Succeeded' || phase === 'Failed') continue;
    const node = textAt(pod, 'spec.nodeName');
    if (!node) bind(cluster, pod);
    else if (phase === 'Pending') await startPod(cluster, pod, node);
    else watch(cluster, pod, node);
  }
}

function bind(cluster: Cluster, pod: Thing): void {
  const claims = claimsOfPod(cluster, pod);
  if (claims.problem) {
    pending(cluster, pod, claims.problem);
    return;
  }
  const { nodes, reasons } = candidates(cluster, pod);
  const possible = nodes.filter((node) => claims.nodes === undefined || claims.nodes.includes(node));
  const node = emptiest(cluster, possible);
  if (!node) {
    const apart = nodes.map(() => "node(s) didn't match PersistentVolume's node affinity");
    pending(cluster, pod, unschedulable(cluster, [...reasons, ...apart]));
    return;
  }
  // A volume that waits for its first consumer is made where that one will be.
  for (const claim of claims.waiting)
    cluster.store.put({
      ...claim,
      metadata: {
        ...claim.metadata,
        annotations: { ...claim.metadata.annotations, 'volume.kubernetes.io/selected-node': node },
      },
    });
  if (claims.waiting.length > 0) return;
  const scheduled = withCondition(pod, 'PodScheduled', 'True', '', '');
  cluster.store.put({
    ...pod,
    spec: { ...recordAt(pod, 'spec'), nodeName: node },
    status: { ...recordAt(pod, 'status'), phase: 'Pending', conditions: scheduled },
  });
}

function pending(cluster: Cluster, pod: Thing, message: string): void {
  cluster.event(pod, 'Warning', 'FailedScheduling', message);
  cluster.store.putStatus(pod, {
    phase: 'Pending',
    conditions: withCondition(pod, 'PodScheduled', 'False', 'Unschedulable', message),
  });
}

async function startPod(cluster: Cluster, pod: Thing, node: string): Promise<void> {
  const kubelet = cluster.kubelets.get(node);
  if (!kubelet || !cluster.loop.due(`start ${pod.metadata.uid}`, cluster.pace.pod)) return;
  const claims = claimsOfPod(cluster, pod);
  const problem = claims.problem ?? mountAll(cluster, pod, kubelet.host.address) ?? missingSecret(cluster, pod);
  if (problem) {
    cluster.event(pod, 'Warning', 'FailedMount', problem);
    cluster.store.putStatus(pod, { phase: 'Pending', containerStatuses: waiting(pod, problem) });
    // The kubelet tries again by itself.
    cluster.loop.postpone(`start ${pod.metadata.uid}`, cluster.pace.retry, cluster.pace.pod);
    return;
  }
  if (isSandboxed(pod)) {
    startSandbox(cluster, pod, kubelet.host.address);
    return;
  }
  if (textAt(pod, 'spec.restartPolicy') !== 'Always') {
    const { code, log } = await runToEnd(cluster, pod);
    cluster.logs.set(`${pod.metadata.namespace}/${pod.metadata.name}`, log);
    const phase = code === 0 ? 'Succeeded' : 'Failed';
    const ended = itemsAt(pod, 'spec.containers').map((container) => ({
      name: container.name,
      ready: false,
      restartCount: 0,
      state: { terminated: { exitCode: code, reason: code === 0 ? 'Completed' : 'Error' } },
    }));
    const live = cluster.store.get('v1', 'Pod', pod.metadata.name, pod.metadata.namespace);
    if (live)
      cluster.store.putStatus(live, {
        phase,
        containerStatuses: ended,
        conditions: withCondition(live, 'Ready', 'False', 'PodCompleted', ''),
      });
    return;
  }
  const running = itemsAt(pod, 'spec.containers').map((container) => ({
    name: container.name,
    ready: true,
    restartCount: 0,
    image: container.image,
    state: { running: {} },
  }));
  cluster.store.putStatus(pod, {
    phase: 'Running',
    hostIP: kubelet.host.address,
    podIP: pod.spec && recordAt(pod, 'spec').hostNetwork === true ? kubelet.host.address : podAddress(cluster, node),
    containerStatuses: running,
    conditions: withCondition(pod, 'Ready', 'True', '', ''),
  });
}

/** The lowest address of the node's pod network that no pod has. */
function podAddress(cluster: Cluster, node: string): string {
  const cidr = textAt(cluster.store.get('v1', 'Node', node), 'spec.podCIDR');
  const prefix = cidr.split('.').slice(0, 3).join('.');
  const taken = new Set(cluster.store.list('v1', 'Pod').map((pod) => textAt(pod, 'status.podIP')));
  let last = 2;
  while (taken.has(`${prefix}.${last}`)) last += 1;
  return `${prefix}.${last}`;
}

function missingSecret(cluster: Cluster, pod: Thing): string | undefined {
  for (const volume of itemsAt(pod, 'spec.volumes')) {
    const secret = textAt(volume, 'secret.secretName');
    const map = textAt(volume, 'configMap.name');
    if (secret && !cluster.store.get('v1', 'Secret', secret, pod.metadata.namespace))
      return `MountVolume.SetUp failed for volume "${textAt(volume, 'name')}" : secret "${secret}" not found`;
    if (
      map &&
      valueAt(volume, 'configMap.optional') !== true &&
      !cluster.store.get('v1', 'ConfigMap', map, pod.metadata.namespace)
    )
      return `MountVolume.SetUp failed for volume "${textAt(volume, 'name')}" : configmap "${map}" not found`;
  }
  return undefined;
}

function waiting(pod: Thing, message: string): Record<string, unknown>[] {
  return itemsAt(pod, 'spec.containers').map((container) => ({
    name: container.name,
    ready: false,
    restartCount: 0,
    state: { waiting: { reason: 'ContainerCreating', message } },
  }));
}

/** A pod on a lost node is not ready, and after a while it is replaced elsewhere; a DaemonSet's waits for its node. */
function watch(cluster: Cluster, pod: Thing, nodeName: string): void {
  const node = cluster.store.get('v1', 'Node', nodeName);
  const up = textAt(node, 'status.conditions[Ready].status') === 'True';
  const ready = textAt(pod, 'status.conditions[Ready].status') === 'True';
  const key = `evict ${pod.metadata.uid}`;
  if (up !== ready)
    cluster.store.putStatus(pod, {
      conditions: withCondition(pod, 'Ready', up ? 'True' : 'False', up ? '' : 'NodeNotReady', ''),
    });
  if (up) cluster.loop.forget(key);
  else if (
    !node ||
    (pod.metadata.ownerReferences?.[0]?.kind !== 'DaemonSet' && cluster.loop.due(key, cluster.pace.eviction))
  )
    cluster.store.delete(pod);
}
