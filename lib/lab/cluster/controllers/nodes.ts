import { type ConditionStatus, type Thing, textAt, withCondition } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

/** Nodes become Ready a while after their kubelet started, and lost a while after it ended; etcd forgets deleted ones. */
export function nodes(cluster: Cluster): void {
  const { store } = cluster;
  for (const node of store.list('v1', 'Node')) {
    const { name } = node.metadata;
    if (node.metadata.deletionTimestamp) {
      forget(cluster, node);
      continue;
    }
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
}

function setReady(cluster: Cluster, node: Thing, status: ConditionStatus, reason: string, message: string): void {
  cluster.store.putStatus(node, { conditions: withCondition(node, 'Ready', status, reason, message) });
}

/** A deleted Node takes its password and its etcd member with it: only then may another machine join by its name. */
function forget(cluster: Cluster, node: Thing): void {
  const { name } = node.metadata;
  const password = cluster.store.get('v1', 'Secret', `${name}.node-password.k3s`, 'kube-system');
  if (password) cluster.store.purge(password);
  cluster.members.delete(name);
  cluster.store.purge(node);
}
