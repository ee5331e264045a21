import { skewsOf } from './k3s-clocks.ts';
import type { HostFacts, SeenK3s } from './k3s-seen.ts';
import { REJECTED } from './k3s-signs.ts';

/** `not tried`: there was no program to try it with, or nobody to run it. */
export type PortAnswer = 'open' | 'refused' | 'no answer' | 'no route' | 'not tried';
export type PortProbe = { from: string; to: string; port: number; answer: PortAnswer };

/** What is known of a node that does not come up; collected by lib/observe/k3s-trouble.ts. */
export type Trouble = {
  node: string;
  role: 'server' | 'agent';
  unit: 'k3s' | 'k3s-agent';
  address: string;
  /** How many servers homelab.yaml has. */
  servers: number;
  /** What was waited for, and seen last. */
  problem: string;
  /** All nodes, looked at anew. */
  seen: SeenK3s;
  /** The end of the unit's journal. */
  journal: string;
  /** How often systemd started the unit again. */
  restarts?: number;
  ports: PortProbe[];
  /** Whether servers reach the node's kubelet through the network of the pods. */
  overlay: { from: string; answer: PortAnswer }[];
  /** The cluster keeps a password for a node of that name. */
  password: boolean;
};

/** What was read of the node itself; undefined: it does not answer. */
export function ownFacts({ node, seen }: Trouble): HostFacts | undefined {
  const host = seen.hosts[node];
  return host?.reachable ? host.facts : undefined;
}

/** What systemd says of its unit. */
export function stateOf(trouble: Trouble): string {
  return ownFacts(trouble)?.units[trouble.unit]?.state ?? '';
}

/** How its token compares with that of a server that has a cluster; undefined: there is none to compare with. */
export function tokenIsEqual(trouble: Trouble): boolean | undefined {
  const own = ownFacts(trouble)?.tokenHash;
  const theirs = Object.entries(trouble.seen.hosts).flatMap(([name, host]) =>
    name !== trouble.node && host.reachable && host.facts.etcdData
      ? [host.facts.secretHash ?? host.facts.tokenHash]
      : [],
  );
  const known = theirs.filter((hash) => hash !== undefined);
  return own === undefined || known.length === 0 ? undefined : known.includes(own);
}

/**
 * Whether the cluster has a node of that name on another machine: its Node, or only the password that it came with.
 * That a password is kept says nothing by itself, it may be the machine's own; that it was rejected does.
 */
export function clashOf(trouble: Trouble): 'Node' | 'password' | undefined {
  const { seen, node, journal, password } = trouble;
  const facts = ownFacts(trouble);
  const known = seen.cluster.answers ? seen.cluster.nodes.find(({ name }) => name === node) : undefined;
  if (known?.machineId && facts?.machineId && known.machineId !== facts.machineId) return 'Node';
  if (!REJECTED.test(journal)) return undefined;
  return password && !known ? 'password' : 'Node';
}

/** How far its clock is ahead of the others', in seconds. */
export function skewOf({ node, seen }: Trouble): number {
  return Math.round(skewsOf(seen)[node] ?? 0);
}
