import { parse } from 'yaml';
import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { type Join, registration } from '../render/k3s-config.ts';
import type { HostFacts, SeenK3s } from './k3s-seen.ts';

const NOTHING: HostFacts = { units: {}, configPrivate: false, etcdData: false, joined: false };

/** What is known of a host; a host that cannot be reached is planned for as an empty one. */
export function factsOf(seen: SeenK3s, name: string): HostFacts {
  const host = seen.hosts[name];
  return host?.reachable ? host.facts : NOTHING;
}

/**
 * How a node gets in. A cluster is started only where none can be: on the first server, and only while no
 * other server has etcd data. A rebuilt first server joins the survivors; otherwise the cluster would split.
 */
export function joinOf(lab: Lab, seen: SeenK3s, node: K3sNode): Join {
  const facts = factsOf(seen, node.name);
  const kept = keptJoin(lab, facts, node.role);
  if (kept) return kept;
  const member = members(lab, seen).find((name) => name !== node.name);
  if (member) return { server: registration(lab, member) };
  const starts = node.role === 'server' && (facts.etcdData || node.name === lab.config.k3s.first_server);
  return starts ? 'init' : { server: registration(lab, lab.config.k3s.first_server) };
}

/** Servers that hold the cluster's data, the one to join first: one that answers, then the first server. */
function members(lab: Lab, seen: SeenK3s): string[] {
  const rank = (name: string): number => {
    if (seen.cluster.answers && seen.cluster.server === name) return 0;
    return name === lab.config.k3s.first_server ? 1 : 2;
  };
  return lab.config.k3s.nodes
    .filter(({ role, name }) => role === 'server' && factsOf(seen, name).etcdData)
    .map(({ name }) => name)
    .sort((a, b) => rank(a) - rank(b));
}

/**
 * The join of a node that is in already. K3s ignores the line from then on, so that it stays as it was: to
 * follow changes elsewhere would only restart the node.
 */
function keptJoin(lab: Lab, facts: HostFacts, role: K3sNode['role']): Join | undefined {
  if (!(role === 'server' ? facts.etcdData : facts.joined)) return undefined;
  const config = parseConfig(facts.config);
  if (role === 'server' && config['cluster-init'] === true) return 'init';
  const known = lab.config.k3s.nodes
    .filter((node) => node.role === 'server')
    .map(({ name }) => registration(lab, name));
  return typeof config.server === 'string' && known.includes(config.server) ? { server: config.server } : undefined;
}

/** A config.yaml as data; one that does not parse is as good as none. */
export function parseConfig(text: string | undefined): Record<string, unknown> {
  try {
    const value: unknown = parse(text ?? '');
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
