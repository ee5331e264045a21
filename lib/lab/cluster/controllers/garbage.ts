import { apiVersionOf } from '../api/kinds.ts';
import { type Thing, textAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

/** Takes away what lost its namespace, its owner or its kind. */
export function garbage(cluster: Cluster): void {
  const { store } = cluster;
  const all = store.all();
  const uids = new Set(all.map(({ metadata }) => metadata.uid));
  const kinds = new Set(cluster.api.kinds().map((kind) => `${apiVersionOf(kind)} ${kind.kind}`));
  for (const object of all) {
    const { ownerReferences = [] } = object.metadata;
    const orphaned = ownerReferences.length > 0 && ownerReferences.every(({ uid }) => !uids.has(uid));
    if (!kinds.has(`${object.apiVersion} ${object.kind}`)) store.purge(object);
    else if (orphaned) store.delete(object);
  }
  for (const namespace of all.filter(({ kind, metadata }) => kind === 'Namespace' && metadata.deletionTimestamp)) {
    const { name } = namespace.metadata;
    const inside = store.all().filter(({ metadata }) => metadata.namespace === name);
    for (const object of inside) store.delete(object);
    if (textAt(namespace, 'status.phase') !== 'Terminating') store.putStatus(namespace, { phase: 'Terminating' });
    if (store.all().every(({ metadata }) => metadata.namespace !== name)) store.purge(namespace);
  }
  lostPods(cluster, all);
}

/** Pods of a Node that was deleted. */
function lostPods(cluster: Cluster, all: readonly Thing[]): void {
  const nodes = new Set(cluster.store.list('v1', 'Node').map(({ metadata }) => metadata.name));
  for (const object of all) {
    const node = textAt(object, 'spec.nodeName');
    if (object.kind === 'Pod' && node && !nodes.has(node)) cluster.store.delete(object);
  }
}
