import { type ConditionStatus, type Thing, textAt, withCondition } from '../api/thing.ts';
import type { Cluster, Kubelet } from '../cluster.ts';

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
    if (kubelet) renewLease(cluster, kubelet);
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

/** Milliseconds between two reports of a kubelet: ten seconds, where time is not short. */
const LEASE = 1000;

/** A kubelet renews its lease again and again: a Node may be called Ready for a while after its kubelet ended. */
function renewLease({ store, loop, pace }: Cluster, { node, generation }: Kubelet): void {
  const metadata = { name: node, namespace: 'kube-node-lease' };
  const key = `lease ${generation}`;
  const lease = store.get('coordination.k8s.io/v1', 'Lease', node, metadata.namespace);
  const isFirst = lease?.metadata.annotations?.generation !== generation;
  if (!loop.due(key, isFirst ? pace.node : LEASE)) return;
  loop.forget(key);
  store.put({
    ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' },
    metadata: { ...metadata, annotations: { generation } },
    spec: { holderIdentity: node, renewTime: new Date().toISOString().replace('Z', '000Z') },
  });
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
