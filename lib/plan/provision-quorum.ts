import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import type { Note } from '../step.ts';
import type { LossesSeen } from './losses.ts';
import { guardQuorum, type Member } from './quorum-guard.ts';
import type { VmChange } from './terraform-json.ts';

/** Whether a change takes a VM away for a while, or for good. */
export function takesAway({ action, restarts }: VmChange): boolean {
  return action === 'replace' || action === 'delete' || restarts === true;
}

/**
 * Why VMs must not go at once: etcd would stop, and need not. A VM that goes takes its member of etcd along, but not
 * out of it: only remove-node does that, and so a VM that is destroyed counts as one that is down.
 * @param changes of VMs; those that are made or changed while they run do not count
 */
export function quorumNotes(lab: Lab, changes: readonly VmChange[], seen: LossesSeen | undefined): Note[] {
  const members = membersOf(lab, seen);
  const away = changes.filter((change) => takesAway(change) && members.some(({ name }) => name === change.name));
  if (away.length === 0) return [];
  const names = away.map(({ name }) => name);
  const { ok, stops, arithmetic, fix } = guardQuorum('restart', names, members);
  const source = seen?.members.ok ? '' : ' (by homelab.yaml: the cluster could not be asked)';
  const [first = '', ...others] = names;
  const lost = away.filter(({ restarts }) => !restarts).map(({ name }) => name);
  if (!ok)
    return [
      {
        level: 'blocker',
        text: `${wording(away)} ${names.join(', ')} at once: ${arithmetic}${source}`,
        fix: [
          ...lost.map((name) => `npx tsx scripts/remove-node.ts ${name} first`),
          ...(others.length > 0
            ? [`--limit ${first}, then install-k3s until it is Ready; then ${others.join(', then ')} in the same way`]
            : [fix]),
        ]
          .filter(Boolean)
          .join('; '),
      },
    ];
  if (!stops || lost.length === 0) return [];
  return [
    {
      level: 'warning',
      text: `${wording(away)} ${names.join(', ')}: ${arithmetic}${source}`,
      fix: `first ${lost.map((name) => `npx tsx scripts/remove-node.ts ${name}`).join('; ')}: taken out of etcd while that has a majority, the API goes on without it`,
    },
  ];
}

function wording(changes: readonly VmChange[]): string {
  const kinds = [
    ...new Set(changes.map(({ action }) => ({ replace: 'replace', delete: 'destroy' })[action as string] ?? 'restart')),
  ];
  return `Terraform would ${kinds.join(' and ')}`;
}

/** As the cluster has them; where it does not answer, and there is one, as homelab.yaml does. */
function membersOf(lab: Lab, seen: LossesSeen | undefined): Member[] {
  if (!seen) return [];
  if (seen.members.ok) return seen.members.value;
  // Before install-k3s there is nothing to guard.
  if (!seen.clusterMade || isEmptyEverywhere(seen.members.reason)) return [];
  return servers(lab.config).map(({ name }) => ({ name, ready: true }));
}

/** "k3s-cp-01: K3s is not installed; k3s-cp-02: K3s is not installed" */
function isEmptyEverywhere(reason: string): boolean {
  return reason.split('; ').every((part) => part.endsWith('K3s is not installed'));
}
