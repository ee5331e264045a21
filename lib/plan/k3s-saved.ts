import type { Lab } from '../lab-context.ts';
import { KEEP } from '../render/k3s-files.ts';
import type { Note, Step } from '../step.ts';
import { emptiedText } from './k3s-drain.ts';
import { factsOf } from './k3s-join.ts';
import type { NodeWork } from './k3s-node.ts';
import { OURS } from './k3s-reset.ts';
import type { SeenK3s } from './k3s-seen.ts';

/** On which server etcd is saved before an upgrade: the first that runs. None runs: its data is copied as it lies. */
export function snapshotOf(seen: SeenK3s, work: readonly NodeWork[]): NodeWork | undefined {
  if (!work.some(({ node, upgrade }) => node.role === 'server' && upgrade)) return undefined;
  return work.find(({ node }) => {
    const { etcdData, units } = factsOf(seen, node.name);
    return node.role === 'server' && etcdData && units.k3s?.state === 'active';
  });
}

export function snapshotStep(lab: Lab, { node: { name }, upgrade }: NodeWork, gate: readonly string[]): Step {
  const label = `before-${lab.config.k3s.version.replaceAll('+', '-')}`;
  return {
    id: 'snapshot',
    // Without a host of its own: --limit to another server must not leave it out.
    title: `save a snapshot of etcd on ${name} (${label}, in server/db/snapshots)`,
    why: `${upgrade ?? 'another version'} is replaced, and K3s cannot go back`,
    after: [...gate],
    action: {
      ...{ kind: 'remote', host: name, sudo: true, deadline: 180 },
      argv: ['k3s', 'etcd-snapshot', 'save', '--name', label],
    },
  };
}

/**
 * What replaces a snapshot where the API is silent: the data of servers that are down, which would be the new version's
 * before a snapshot can be taken. For all of them, also with --limit: none may have all that the others have.
 */
export function copySteps(seen: SeenK3s, work: readonly NodeWork[]): Step[] {
  if (seen.cluster.answers || !work.some(({ node, upgrade }) => node.role === 'server' && upgrade)) return [];
  const down = work.filter(({ node, reset, start, stop }) => {
    return node.role === 'server' && factsOf(seen, node.name).etcdData && start && !stop && !reset;
  });
  return down.map(({ node: { name } }) => ({
    id: `copy-${name}`,
    title: `copy etcd's data on ${name} to ${OURS}`,
    why: 'another version will run, and K3s does not: it cannot take a snapshot',
    action: {
      ...{ kind: 'remote', host: name, sudo: true, deadline: 300 },
      argv: ['sh', '-c', KEEP, 'sh', OURS, 'upgrade'],
    },
  }));
}

/** An upgrade without a snapshot, and what there is instead. */
export function unsavedNotes(
  work: readonly NodeWork[],
  snapshot: NodeWork | undefined,
  copies: readonly Step[],
): Note[] {
  const upgrade = work.find((one) => one.node.role === 'server' && one.upgrade && !one.reset)?.upgrade;
  if (snapshot || !upgrade) return [];
  const fix = `set k3s.version to ${upgrade} and run this first, which starts them; upgrade afterwards`;
  if (copies.length === 0)
    return [
      {
        level: 'blocker',
        text: 'no server runs, so etcd cannot be saved before the upgrade',
        fix: `${fix}; or \`sudo systemctl stop k3s\` where it does not come up: then its data is copied as it lies`,
      },
    ];
  return [
    {
      level: 'warning',
      text: `no server runs, so there is no snapshot of etcd before the upgrade: its data is copied as it lies, and can be put back by hand only`,
      fix: `better: ${fix}`,
    },
  ];
}

/**
 * What pods lose although nothing is destroyed: a drain takes their emptyDirs along. Nobody is asked for it, for it is
 * caches mostly; what else it is, its owner sees here.
 */
export function emptiedNotes({ pods }: SeenK3s, work: readonly NodeWork[], limit: readonly string[]): Note[] {
  const asked = ({ node }: NodeWork): boolean => limit.length === 0 || limit.includes(node.name);
  const drained = work.filter((one) => one.drain && asked(one)).map(({ node }) => node.name);
  if (!pods || drained.length === 0) return [];
  if (!pods.ok)
    return [
      { level: 'warning', text: `which pods lose what they keep in an emptyDir could not be asked: ${pods.reason}` },
    ];
  return drained.flatMap((name): Note[] => {
    const emptied = emptiedText(pods.value[name] ?? []);
    if (!emptied) return [];
    return [
      {
        level: 'warning',
        text: `${name} is drained, and lost is ${emptied}`,
        fix: 'what must outlive its pod belongs into a volume; copy it before, if it matters',
      },
    ];
  });
}
