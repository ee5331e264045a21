import type { Note } from '../step.ts';
import type { Config } from './schema.ts';

export type Quorum = { servers: number; needed: number; survives: number };

/** How many of an etcd cluster's members must answer, and how many may be lost. */
export function quorum(servers: number): Quorum {
  const needed = Math.floor(servers / 2) + 1;
  return { servers, needed, survives: servers - needed };
}

/** The warning about an even number of servers, with the arithmetic and the way out; none for an odd number. */
export function quorumNote(config: Pick<Config, 'k3s'>): Note | undefined {
  const { nodes } = config.k3s;
  const { servers, needed, survives } = quorum(nodes.filter((node) => node.role === 'server').length);
  if (servers === 0 || servers % 2 === 1) return undefined;
  const more = quorum(servers + 1);
  return {
    level: 'warning',
    text: `${servers} K3s servers: etcd needs ${needed} of ${servers} (⌊${servers}/2⌋+1), so the cluster survives the loss of ${survives}${survives === 0 ? ': either one lost stops the API' : `, no more than ${servers - 1} would`}`,
    fix: `${wayOut(nodes)}: ${more.needed} of ${more.servers} are enough then, and ${more.survives} may be lost`,
  };
}

/** Which node is easiest made a server: a tainted agent keeps other workloads off as before. */
function wayOut(nodes: Config['k3s']['nodes']): string {
  const agents = nodes.filter((node) => node.role === 'agent');
  const agent = agents.find((node) => node.taints.length > 0) ?? agents[0];
  const servers = nodes.length - agents.length;
  if (!agent) return `add a ${ordinal(servers + 1)} server to k3s.nodes`;
  const taints = agent.taints.length > 0 ? '' : ', with taints';
  return `make ${agent.name} a ${ordinal(servers + 1)}, tainted server (role: server${taints})`;
}

function ordinal(n: number): string {
  return ['zeroth', 'first', 'second', 'third', 'fourth', 'fifth', 'sixth', 'seventh'][n] ?? `${n}th`;
}
