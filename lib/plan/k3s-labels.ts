import type { K3sNode } from '../config/schema.ts';
import type { Step } from '../step.ts';
import { parseConfig } from './k3s-join.ts';
import type { SeenNode } from './k3s-seen.ts';

/**
 * Steps that correct labels and taints of a node that is in the cluster; config.yaml's are read at
 * registration only. What was in our config.yaml and is no longer wanted is taken away; what others
 * set stays.
 * @param server a server whose API answers
 * @param was the node's config.yaml before this run
 */
export function labelSteps(node: K3sNode, seen: SeenNode, server: string, was: string | undefined): Step[] {
  const before = parseConfig(was);
  const labels = [
    ...Object.entries(node.labels).flatMap(([key, value]) => (seen.labels[key] === value ? [] : [`${key}=${value}`])),
    ...words(before['node-label'])
      .map((label) => label.split('=')[0] ?? '')
      .filter((key) => !(key in node.labels) && key in seen.labels)
      .map((key) => `${key}-`),
  ];
  const wanted = node.taints.map(spelledOut);
  const taints = [
    ...wanted.filter((taint) => !seen.taints.includes(taint)),
    ...words(before['node-taint'])
      .map(spelledOut)
      // One of the same key and effect is overwritten by the wanted one.
      .filter((taint) => seen.taints.includes(taint) && !wanted.some((w) => identity(w) === identity(taint)))
      .map((taint) => `${identity(taint)}-`),
  ];
  return [...correction('label', labels, node.name, server), ...correction('taint', taints, node.name, server)];
}

/** A taint as the API shows it: the "=" is there also without a value. */
export function spelledOut(taint: string): string {
  const [left = '', effect = ''] = taint.split(':');
  return `${left.includes('=') ? left : `${left}=`}:${effect}`;
}

function correction(verb: 'label' | 'taint', changes: string[], node: string, server: string): Step[] {
  if (changes.length === 0) return [];
  return [
    {
      id: `${node}/${verb}s`,
      title: `correct its ${verb}s: ${changes.join(' ')}`,
      why: `${verb}s are not as in homelab.yaml`,
      host: node,
      action: {
        kind: 'remote',
        host: server,
        argv: ['k3s', 'kubectl', verb, 'node', node, ...changes, '--overwrite'],
        sudo: true,
        deadline: 60,
      },
    },
  ];
}

function identity(taint: string): string {
  const [left = '', effect = ''] = taint.split(':');
  return `${left.split('=')[0]}:${effect}`;
}

function words(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
