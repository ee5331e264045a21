import { type ConditionStatus, type Thing, textAt, withCondition } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

/** Nodes become Ready a while after their kubelet started, and lost a while after it ended; etcd forgets deleted ones. */
export function nodes(cluster: Cluster): void {
  const { store } = cluster;
  for (const node of store.list('v1', 'Node')) {
    const { name } = node.metadata;
    const kubelet = cluster.kubelets.get(name);
    const wanted = kubelet && !cluster.faults.notReady.includes(name);
    const state = textAt(node, 'status.conditions[Ready].status');
    if (wanted && state !== 'True') {
      if (cluster.loop.due(`ready ${kubelet.generation}`, cluster.pace.node))
        setReady(cluster, node, 'True', 'KubeletReady', 'kubelet is posting ready status');
    } else if (kubelet && !wanted && state === 'True') {
      setReady(cluster, node, 'False', 'KubeletNotReady', 'container runtime is down');
    } else if (!kubelet && state !== 'Unknown') {
      if (cluster.loop.due(`lost ${node.metadata.uid} ${node.metadata.resourceVersion}`, cluster.pace.node))
        setReady(cluster, node, 'Unknown', 'NodeStatusUnknown', 'Kubelet stopped posting node status.');
    }
  }
  forgetDeleted(cluster);
}

function setReady(cluster: Cluster, node: Thing, status: ConditionStatus, reason: string, message: string): void {
  cluster.store.putStatus(node, { conditions: withCondition(node, 'Ready', status, reason, message) });
}

/** A deleted Node takes its password and its etcd member with it. */
function forgetDeleted(cluster: Cluster): void {
  const { store, members } = cluster;
  const there = new Set(store.list('v1', 'Node').map((node) => node.metadata.name));
  for (const secret of store.list('v1', 'Secret', 'kube-system')) {
    const [, name] = /^(.+)\.node-password\.k3s$/.exec(secret.metadata.name) ?? [];
    if (!name || there.has(name)) continue;
    // A kubelet that has not registered yet keeps its own.
    if (!cluster.loop.due(`unregistered ${secret.metadata.uid}`, cluster.pace.unitStart * 4)) continue;
    store.purge(secret);
  }
  for (const name of [...members]) {
    if (there.has(name) || !cluster.loop.due(`no node ${name}`, cluster.pace.unitStart * 4)) continue;
    cluster.loop.forget(`no node ${name}`);
    members.delete(name);
  }
  for (const name of there) cluster.loop.forget(`no node ${name}`);
}
