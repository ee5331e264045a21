import { quorum } from '../config/quorum.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import type { Note } from '../step.ts';
import { factsOf } from './k3s-join.ts';
import { type LostMajority, lostMajority, membersOf } from './k3s-members.ts';
import type { NodeWork } from './k3s-node.ts';
import type { SeenK3s } from './k3s-seen.ts';
import { guardQuorum } from './quorum-guard.ts';

/**
 * Goes through the plan as it will run, and counts etcd's members before each restart of a server: who is started
 * before counts as ready by then, who is forgotten no more. The step itself counts once more.
 * @param work servers in the order in which they are worked on
 */
export function guardRestarts(
  lab: Lab,
  seen: SeenK3s,
  work: readonly NodeWork[],
): { arithmetic: Map<string, string>; notes: Note[] } {
  const arithmetic = new Map<string, string>();
  const notes: Note[] = [];
  const lost = lostMajority(lab, seen);
  let members = membersOf(lab, seen);
  for (const { node, reset, forget, stop, start, ready, upgrade } of work) {
    const { name, role } = node;
    if (role !== 'server') continue;
    if (reset) {
      members = [{ name, ready: true }];
      continue;
    }
    if (forget) members = members.filter((member) => member.name !== name);
    if (stop) {
      const verdict = guardQuorum('restart', [name], members);
      arithmetic.set(name, verdict.arithmetic);
      notes.push(
        verdict.ok
          ? {
              level: 'info',
              text: `${name} restarts. ${verdict.arithmetic}${verdict.stops ? ', and the API with it, until it is back' : ''}`,
            }
          : {
              level: 'blocker',
              text: `${name} must not be restarted now. ${verdict.arithmetic}`,
              fix: joinFirst(work, upgrade) ?? verdict.fix,
            },
      );
    }
    if ((start || ready) && seen.hosts[name]?.reachable)
      members = [...members.filter((member) => member.name !== name), { name, ready: true }];
  }
  return { arithmetic, notes: [...lostNotes(lab, seen, lost), ...notes] };
}

/** A rebuilt server joins last in an upgrade, for its version is newer: without it, the others cannot be spared. */
function joinFirst(work: readonly NodeWork[], upgrade: string | undefined): string | undefined {
  const rebuilt = work.filter(({ node, forget }) => node.role === 'server' && forget).map(({ node }) => node.name);
  if (!upgrade || rebuilt.length === 0) return undefined;
  return `set k3s.version to ${upgrade} and run this first, so that ${rebuilt.join(', ')} can join; upgrade afterwards`;
}

/** A majority that is gone: what the plan does about it, or what only a person can decide. */
function lostNotes(lab: Lab, seen: SeenK3s, lost: LostMajority | undefined): Note[] {
  if (!lost) return undecided(lab, seen);
  const { survivor, arithmetic } = lost;
  const installed = factsOf(seen, survivor).version;
  const older: Note[] = [
    {
      level: 'blocker',
      text: `${survivor} alone has the cluster, and runs ${installed}: mend it before it is upgraded`,
      fix: `set k3s.version to ${installed}, run this, and upgrade afterwards`,
    },
  ];
  return [
    {
      level: 'warning',
      text: `${lost.lost.join(', ')} ${lost.lost.length === 1 ? 'was' : 'were'} replaced, and etcd has no majority. ${arithmetic}: it takes nobody out, and nobody in`,
      fix: `the way out is in this plan: a copy of its data, then etcd with ${survivor} alone, which the others join`,
    },
    ...(installed === lab.config.k3s.version ? [] : older),
  ];
}

/** No majority, and no way out that is safe to take by itself. */
function undecided(lab: Lab, seen: SeenK3s): Note[] {
  const all = servers(lab.config);
  const holders = all.filter(({ name }) => factsOf(seen, name).etcdData);
  const leaderless = holders.filter(({ name }) => factsOf(seen, name).leader === false);
  const [first] = leaderless;
  if (seen.cluster.answers || !first || !all.every(({ name }) => seen.hosts[name]?.reachable)) return [];
  const { members } = factsOf(seen, first.name);
  if (members === undefined ? holders.length === all.length : holders.length >= quorum(members).needed) return [];
  const left = holders.map(({ name }) => name).join(', ');
  const counted =
    members === undefined ? 'more members than are left' : `${members} members, ${quorum(members).needed} needed`;
  return [
    {
      level: 'blocker',
      text: `etcd has no majority: ${counted}, left: ${left}`,
      fix: [
        `if the others are gone for good: \`systemctl stop k3s\` on ${left}; on ${first.name} take the line "server:" out of config.yaml and run`,
        '`k3s server --cluster-reset`;',
        holders.length > 1 ? 'on the other move /var/lib/rancher/k3s/server/db away;' : '',
        '`systemctl start k3s`, and run this again. If it was just started, wait a minute first',
      ]
        .filter(Boolean)
        .join(' '),
    },
  ];
}
