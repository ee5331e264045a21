import type { Lab } from '../lab-context.ts';
import type { Args } from '../main.ts';
import type { Answer } from '../ports/types.ts';
import { UNINSTALL } from '../render/k3s-uninstall.ts';
import type { Note, Plan, Step } from '../step.ts';
import { etcdLines } from './k3s-leftovers.ts';
import { type LossesSeen, lossNotes, untiedLines, volumeLines } from './losses.ts';
import { shownPath } from './shown-path.ts';

export type UninstallArgs = Args & { limit?: string[] };

export type UninstallSeen = {
  /** What of K3s is left on each node of homelab.yaml. */
  nodes: Record<string, Answer<string[]>>;
  cluster: { answers: true } | { answers: false; reason: string };
  /** Our token and kubeconfig, where they are there. */
  files: string[];
  /** Asked only where there is something. */
  losses?: LossesSeen;
};

/** Seconds for K3s's own script: it ends every container, and unmounts. */
const UNINSTALL_SECONDS = 600;

/** Takes K3s off every node, agents first, and what we keep of the cluster. */
export function planUninstall(lab: Lab, seen: UninstallSeen, { limit = [] }: UninstallArgs): Plan {
  const { nodes } = lab.config.k3s;
  const wanted = nodes.filter(({ name }) => limit.length === 0 || limit.includes(name));
  const has = (name: string): boolean => left(seen, name).length > 0;
  const notes: Note[] = [...silent(seen, wanted), ...outside(lab, seen, limit)];
  const steps: Step[] = [];
  for (const role of ['agent', 'server'] as const) {
    const before = steps.map(({ id }) => id);
    for (const { name } of wanted.filter((node) => node.role === role && has(node.name)))
      steps.push({
        ...uninstallStep(name, `${left(seen, name).length} things of K3s are on it`, before),
        destroys: lost(seen, name, role),
        confirm: [lab.config.name],
      });
  }
  const files = limit.length === 0 ? seen.files : [];
  if (files.length > 0)
    steps.push({
      id: 'forget',
      title: `remove ${files.map((file) => shownPath(lab, file)).join(' and ')}`,
      why: 'there is no cluster any more that they are of',
      after: steps.map(({ id }) => id),
      destroys: ['the token of the cluster: snapshots that are not on the NAS could not be restored without it'],
      action: { kind: 'operation', name: 'forget-cluster', args: { files }, deadline: 30 },
    });
  if (steps.length > 0) notes.push(...strangers(lab, seen), ...lossNotes(lab.config.backup, seen.losses));
  if (steps.length === 0 && notes.length === 0) notes.push({ level: 'info', text: 'nothing of K3s is on these nodes' });
  return { steps, notes };
}

/** Takes K3s off one host. What is lost with it is said by whoever asks for it. */
export function uninstallStep(host: string, why: string, after: string[]): Step {
  return {
    id: `${host}/uninstall`,
    ...{ title: 'uninstall K3s, and remove what we put there for it', why, host, after },
    action: { kind: 'remote', host, argv: ['sh', '-s'], stdin: UNINSTALL, sudo: true, deadline: UNINSTALL_SECONDS },
  };
}

function left({ nodes }: UninstallSeen, name: string): string[] {
  const answer = nodes[name];
  return answer?.ok ? answer.value : [];
}

function lost(seen: UninstallSeen, name: string, role: 'server' | 'agent'): string[] {
  const volumes = volumeLines(name, seen.losses) ?? [`${name}: every volume of local-path on it`];
  if (role === 'agent') return volumes.length > 0 ? volumes : [`${name}: its place in the cluster`];
  return [
    `${name}: its copy of every object of the cluster`,
    ...etcdLines(name, left(seen, name)),
    ...volumes,
    ...untiedLines(seen.losses),
  ];
}

function silent(seen: UninstallSeen, wanted: readonly { name: string }[]): Note[] {
  return wanted.flatMap(({ name }): Note[] => {
    const answer = seen.nodes[name];
    if (answer?.ok) return [];
    return [
      {
        level: 'blocker',
        host: name,
        text: `${name} is not reachable: ${answer?.reason ?? 'it was not looked at'}`,
        fix: 'start it; or leave it out: --limit with the names of the others',
      },
    ];
  });
}

/** Servers of the cluster on which nobody looks: what is taken off the others stays there, and the token is gone with it. */
function strangers(lab: Lab, { losses }: UninstallSeen): Note[] {
  const own = lab.config.k3s.nodes.map(({ name }) => name);
  const members = losses?.members.ok ? losses.members.value.map(({ name }) => name) : [];
  return members
    .filter((name) => !own.includes(name))
    .map((name) => ({
      level: 'warning',
      text: `${name} is a server of the cluster, and homelab.yaml has no such node: it keeps K3s, and its copy of every object`,
      fix: `first add it to k3s.nodes; or take it out: npx tsx scripts/remove-node.ts ${name}`,
    }));
}

/** With --limit: a part of a cluster that lives is taken out of it, not torn off. */
function outside(lab: Lab, seen: UninstallSeen, limit: readonly string[]): Note[] {
  if (limit.length === 0) return [];
  const rest = lab.config.k3s.nodes.filter(({ name }) => !limit.includes(name) && left(seen, name).length > 0);
  const others = rest.map(({ name }) => name).join(', ');
  const names = limit.filter((name) => left(seen, name).length > 0);
  if (names.length === 0) return [];
  // A server that does not answer now may have the cluster, and need those that go.
  const dark = lab.config.k3s.nodes
    .filter(({ name, role }) => role === 'server' && !limit.includes(name) && !seen.nodes[name]?.ok)
    .map(({ name }) => name);
  const isGone = !seen.cluster.answers && dark.length === 0 && rest.every(({ role }) => role === 'agent');
  if (isGone) return [];
  if (rest.length === 0)
    return dark.map((name) => ({
      level: 'warning',
      text: `${name} cannot be asked: if it comes back, it has its part of a cluster whose other servers may be gone`,
      fix: 'start it first, and leave --limit out, unless it is gone for good',
    }));
  return [
    {
      level: 'blocker',
      text: `${names.join(', ')} would be torn out of a cluster that ${others} ${rest.length === 1 ? 'is' : 'are'} in`,
      fix: `${names.map((name) => `npx tsx scripts/remove-node.ts ${name}`).join('; ')}; without --limit the whole cluster goes`,
    },
  ];
}
