import { itemsAt, type Thing, textAt, textsAt, valueAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

/** Nodes on which a pod may run, and words for those on which it may not. */
export function candidates(cluster: Cluster, pod: Thing, daemon = false): { nodes: string[]; reasons: string[] } {
  const reasons: string[] = [];
  const nodes = cluster.store.list('v1', 'Node').flatMap((node) => {
    const reason = obstacle(pod, node, daemon);
    if (reason) reasons.push(reason);
    return reason ? [] : [node.metadata.name];
  });
  return { nodes, reasons };
}

function obstacle(pod: Thing, node: Thing, daemon: boolean): string | undefined {
  const selector = textsAt(pod, 'spec.nodeSelector');
  const labels = node.metadata.labels ?? {};
  if (Object.entries(selector).some(([key, value]) => labels[key] !== value) || !affine(pod, labels))
    return "node(s) didn't match Pod's node affinity/selector";
  const taint = itemsAt(node, 'spec.taints').find(
    (t) => (t.effect === 'NoSchedule' || t.effect === 'NoExecute') && !tolerated(pod, t),
  );
  if (taint) return `node(s) had untolerated taint(s) {${textAt(taint, 'key')}: ${textAt(taint, 'value')}}`;
  if (wantsGpu(pod) && !hasGpu(node)) return 'Insufficient nvidia.com/gpu';
  if (daemon) return undefined;
  if (valueAt(node, 'spec.unschedulable') === true) return 'node(s) were unschedulable';
  if (textAt(node, 'status.conditions[Ready].status') !== 'True')
    return 'node(s) had untolerated taint(s) {node.kubernetes.io/not-ready: }';
  return undefined;
}

function affine(pod: Thing, labels: Record<string, string>): boolean {
  const terms = itemsAt(
    pod,
    'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms',
  );
  return terms.length === 0 || terms.some((term) => itemsAt(term, 'matchExpressions').every((e) => matches(e, labels)));
}

function matches(expression: Record<string, unknown>, labels: Record<string, string>): boolean {
  const value = labels[textAt(expression, 'key')];
  const values = Array.isArray(expression.values) ? expression.values : [];
  switch (expression.operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    default:
      return true;
  }
}

function tolerated(pod: Thing, taint: Record<string, unknown>): boolean {
  return itemsAt(pod, 'spec.tolerations').some((toleration) => {
    const key = textAt(toleration, 'key');
    const effect = textAt(toleration, 'effect');
    if (effect && effect !== taint.effect) return false;
    if (toleration.operator === 'Exists') return key === '' || key === taint.key;
    return key === taint.key && textAt(toleration, 'value') === textAt(taint, 'value');
  });
}

function wantsGpu(pod: Thing): boolean {
  return itemsAt(pod, 'spec.containers').some((container) => {
    const limits = textsAt(container, 'resources.limits');
    return Number(limits['nvidia.com/gpu'] ?? 0) > 0;
  });
}

function hasGpu(node: Thing): boolean {
  return Number(textsAt(node, 'status.allocatable')['nvidia.com/gpu'] ?? 0) > 0;
}

/** The emptiest of the nodes; of equals the first by name. */
export function emptiest(cluster: Cluster, nodes: readonly string[]): string | undefined {
  const pods = cluster.store.list('v1', 'Pod');
  const load = (node: string): number => pods.filter((pod) => textAt(pod, 'spec.nodeName') === node).length;
  return [...nodes].sort((a, b) => load(a) - load(b) || (a < b ? -1 : 1))[0];
}

/** "0/3 nodes are available: 1 node(s) …, 2 node(s) …." */
export function unschedulable(cluster: Cluster, reasons: readonly string[]): string {
  const total = cluster.store.list('v1', 'Node').length;
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return `0/${total} nodes are available: ${[...counts].map(([reason, count]) => `${count} ${reason}`).join(', ') || 'no nodes'}.`;
}
