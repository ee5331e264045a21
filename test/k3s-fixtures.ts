import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { loadConfig } from '../lib/config/load.ts';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { emptyLockFile } from '../lib/ledger/lockfile.ts';
import { addressOf } from '../lib/lookup.ts';
import { labPaths, TOOLKIT } from '../lib/paths.ts';
import { workOn } from '../lib/plan/k3s-node.ts';
import type { HostFacts, SeenK3s, SeenNode } from '../lib/plan/k3s-seen.ts';
import { kubeconfigHeader } from '../lib/render/kubeconfig.ts';

const configFile = join(TOOLKIT, 'homelab.yaml');
const committed = loadConfig(configFile).config;
export const TOKEN_HASH = createHash('sha256').update('a token').digest('hex');

/** The lab of the committed homelab.yaml, without files, changed by `change`. */
export function labWith(change: (config: Config) => void = () => {}): Lab {
  const config = structuredClone(committed);
  change(config);
  const { ledger, given } = allocateAll(openLedger(config, []), config.k3s.nodes, '2026-11-23');
  const paths = { ...labPaths(configFile, config.name), state: '/state' };
  return { config, paths, lock: emptyLockFile(config.name), ledger, newLeases: given, today: '2026-11-23' };
}

export const emptyHost: HostFacts = { units: {}, configPrivate: false, etcdData: false, joined: false };

/** Machines that were just made. */
export function seenFresh(lab: Lab): SeenK3s {
  const hosts = lab.config.k3s.nodes.map(({ name }) => [
    name,
    { reachable: true, facts: { ...emptyHost, hostname: name } },
  ]);
  return { hosts: Object.fromEntries(hosts), cluster: { answers: false, reason: 'no server answers' } };
}

/** Everything as homelab.yaml says, after one server initialised the cluster and the others joined it. */
export function seenConverged(lab: Lab): SeenK3s {
  const { nodes, version, first_server } = lab.config.k3s;
  const seen: SeenK3s = { ...seenFresh(lab), tokenHash: TOKEN_HASH };
  seen.cluster = {
    ...{ answers: true, server: first_server, nodes: nodes.map((node) => nodeOf(node, version)) },
    defaultClasses: ['local-path'],
  };
  const inTurn = [...nodes].sort((a, b) => Number(b.name === first_server) - Number(a.name === first_server));
  for (const node of inTurn) {
    const { text, fingerprint, unit } = workOn(lab, { ...seen, cluster: { answers: false, reason: '' } }, node);
    const facts: HostFacts = {
      hostname: node.name,
      version,
      units: { [unit]: { state: 'active', enabled: true } },
      config: text,
      configPrivate: true,
      tokenHash: TOKEN_HASH,
      startedWith: fingerprint,
      secretHash: node.role === 'server' ? TOKEN_HASH : undefined,
      etcdData: node.role === 'server',
      ...(node.role === 'server'
        ? { leader: true, members: lab.config.k3s.nodes.filter((n) => n.role === 'server').length }
        : {}),
      ...(node.gpu ? { nvidia: 'runtime' as const } : {}),
      joined: true,
      kubeconfigHash: node.role === 'server' ? 'abc' : undefined,
    };
    seen.hosts[node.name] = { reachable: true, facts, skewSeconds: 0 };
  }
  const address = addressOf(lab, first_server);
  const header = kubeconfigHeader({ server: first_server, sha256: 'abc', address, lab: lab.config.name });
  return { ...seen, kubeconfig: { header, mode: 0o600 } };
}

/** The same, seen again with facts of a host changed. */
export function withFacts(seen: SeenK3s, name: string, facts: Partial<HostFacts>): SeenK3s {
  const host = seen.hosts[name];
  if (!host?.reachable) throw new Error(`${name} is not reachable`);
  return { ...seen, hosts: { ...seen.hosts, [name]: { ...host, facts: { ...host.facts, ...facts } } } };
}

/** The same, with a node of the cluster changed. */
export function withNode(seen: SeenK3s, name: string, node: Partial<SeenNode>): SeenK3s {
  if (!seen.cluster.answers) throw new Error('no cluster');
  const nodes = seen.cluster.nodes.map((n) => (n.name === name ? { ...n, ...node } : n));
  return { ...seen, cluster: { ...seen.cluster, nodes } };
}

function nodeOf(node: Config['k3s']['nodes'][number], version: string): SeenNode {
  const server = node.role === 'server';
  return {
    ...{
      name: node.name,
      uid: node.name,
      ready: true,
      version,
      taints: [...node.taints],
      member: server,
      voter: server,
    },
    labels: { ...node.labels, ...(server ? { 'node-role.kubernetes.io/control-plane': 'true' } : {}) },
  };
}
