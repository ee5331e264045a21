import { quorum } from '../config/quorum.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { factsOf } from './k3s-join.ts';
import type { HostFacts, SeenK3s } from './k3s-seen.ts';
import type { Member } from './quorum-guard.ts';

/**
 * etcd's members: as the cluster has them, where its API answers; else the servers with etcd's data, and as many more
 * as etcd itself counts. Ready is who is so by both accounts: a Node is called Ready for a while after its server died.
 */
export function membersOf(lab: Lab, seen: SeenK3s): Member[] {
  const runs = (name: string): boolean => factsOf(seen, name).units.k3s?.state === 'active';
  if (seen.cluster.answers) {
    const own = new Set(lab.config.k3s.nodes.map(({ name }) => name));
    const nodes = seen.cluster.nodes
      .filter(({ member }) => member)
      .map(({ name, ready }) => ({ name, ready: ready && (!own.has(name) || runs(name)) }));
    return counted(nodes, Math.max(...servers(lab.config).map(({ name }) => factsOf(seen, name).members ?? 0)));
  }
  const holders = servers(lab.config).filter(({ name }) => factsOf(seen, name).etcdData);
  const known = Math.max(0, ...holders.map(({ name }) => factsOf(seen, name).members ?? 0));
  const others = servers(lab.config).filter((server) => !holders.includes(server));
  const missing = Array.from({ length: Math.max(0, known - holders.length) }, (_, index) => ({
    name: others[index]?.name ?? 'a server that homelab.yaml does not name',
    ready: false,
  }));
  return [...holders.map(({ name }) => ({ name, ready: runs(name) })), ...missing];
}

/** A Node may be left of a member that etcd has no more: as many as etcd counts, those that are ready first. */
export function counted(nodes: readonly Member[], members: number): Member[] {
  if (members === 0 || nodes.length <= members) return [...nodes];
  const kept = [...nodes].sort((a, b) => Number(b.ready) - Number(a.ready)).slice(0, members);
  return nodes.filter((node) => kept.includes(node));
}

/**
 * A machine without anything of a cluster. Where K3s was started (our stamp lies outside of its folder) and that folder is
 * empty, a disk may just not be mounted: every start leaves something there, also one that fails.
 */
export function isEmpty({ etcdData, joined, startedWith, data }: HostFacts): boolean {
  return !etcdData && !joined && (startedWith === undefined || data === true);
}

/** A cluster whose majority is gone for good: one server has all that is left of it. */
export type LostMajority = { survivor: string; lost: string[]; arithmetic: string };

/**
 * Recognises it by what cannot be otherwise: the API is silent; one server has etcd's data and says that its etcd
 * has more members and no leader; the machines of all others answer, and are empty. As long as one of them is only
 * unreachable, it may come back with what it knows, and nothing is reset.
 */
export function lostMajority(lab: Lab, seen: SeenK3s): LostMajority | undefined {
  const found = lostOrNot(lab, seen);
  return typeof found === 'string' ? undefined : found;
}

/** The same; or what speaks against it. */
export function lostOrNot(lab: Lab, seen: SeenK3s): LostMajority | string {
  if (seen.cluster.answers) return `the API answers, on ${seen.cluster.server}`;
  const all = servers(lab.config).map(({ name }) => name);
  const away = all.find((name) => !seen.hosts[name]?.reachable);
  if (away) return `${away} does not answer: it may come back with what it knows`;
  const [holder, other] = all.filter((name) => factsOf(seen, name).etcdData);
  if (!holder) return "no server has etcd's data";
  if (other) return `${holder} and ${other} both have etcd's data`;
  const { leader, members } = factsOf(seen, holder);
  if (leader !== false) return leader ? `etcd has a leader, says ${holder}` : `etcd on ${holder} does not run`;
  if (members === undefined || members < 2)
    return members ? `${holder} is etcd's only member` : `etcd on ${holder} does not say how many members it knows`;
  const full = all.find((name) => name !== holder && !isEmpty(factsOf(seen, name)));
  if (full) return `${full} is not empty, or its disk is not mounted`;
  // Members that homelab.yaml does not name were not looked at: they may live, and have the majority.
  if (members > all.length) return `etcd has ${members} members, and homelab.yaml names ${all.length} servers`;
  return {
    survivor: holder,
    lost: membersOf(lab, seen)
      .map(({ name }) => name)
      .filter((name) => name !== holder),
    arithmetic: `etcd: ${members} members, ${quorum(members).needed} needed (⌊${members}/2⌋+1), 1 left (${holder})`,
  };
}
