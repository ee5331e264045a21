import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { TOKEN } from '../render/k3s-config.ts';
import type { Note } from '../step.ts';
import { factsOf } from './k3s-join.ts';
import type { SeenK3s, SeenNode } from './k3s-seen.ts';

/** What is wrong with the cluster as a whole, or with what it shares. */
export function clusterNotes(lab: Lab, seen: SeenK3s): Note[] {
  return [...splitNotes(seen), ...gone(lab, seen), ...tokenNotes(lab, seen), ...strangers(lab, seen)];
}

/** A first server was started anew while its peers ran, or a majority came back that a restore had left out. */
function splitNotes({ views = {} }: SeenK3s): Note[] {
  const [first, ...others] = Object.entries(views);
  if (!first) return [];
  return others
    .filter((other) => areApart(first, other))
    .map(([server]) => ({
      level: 'blocker',
      text: `${first[0]} and ${server} run two clusters, not one`,
      fix: `decide which one has what you need (\`k3s kubectl get pods -A\` on each); on the server of the other run \`sudo k3s-uninstall.sh\`, which deletes what only that one has, and run this again`,
    }));
}

/** A server, and the nodes as its API has them. */
type View = readonly [server: string, nodes: readonly SeenNode[]];

/**
 * Whether two servers run two clusters: a node that both know is another object; or it is the same one, of before a
 * restore or a reset, and each server is Ready by its own account and not by the other's.
 */
export function areApart(one: View, other: View): boolean {
  const uids = new Map(one[1].map(({ name, uid }) => [name, uid]));
  const both = other[1].filter(({ name }) => uids.has(name));
  if (both.length === 0 || both.some(({ name, uid }) => uids.get(name) !== uid)) return true;
  const sees = ([, nodes]: View, [name]: View): boolean => nodes.find((node) => node.name === name)?.ready === true;
  return sees(one, one) && !sees(one, other) && sees(other, other) && !sees(other, one);
}

/** No server has etcd's data any more, and nodes had a cluster: a new one would be empty, and not theirs. */
function gone(lab: Lab, seen: SeenK3s): Note[] {
  const all = servers(lab.config);
  if (!all.every(({ name }) => seen.hosts[name]?.reachable && !factsOf(seen, name).etcdData)) return [];
  // A restore has moved it, and says so itself.
  if (all.some(({ name }) => factsOf(seen, name).restoring)) return [];
  const orphans = lab.config.k3s.nodes.filter(({ name }) => factsOf(seen, name).joined);
  if (orphans.length === 0) return [];
  const names = orphans.map(({ name }) => name).join(', ');
  const uninstall = (['server', 'agent'] as const).flatMap((role) => {
    const own = orphans.filter((node) => node.role === role).map(({ name }) => name);
    const command = role === 'server' ? 'k3s-uninstall.sh' : 'k3s-agent-uninstall.sh';
    return own.length > 0 ? [`\`sudo ${command}\` on ${own.join(', ')}`] : [];
  });
  return [
    {
      level: 'blocker',
      text: `no server has etcd's data any more, and ${names} ${orphans.length === 1 ? 'was' : 'were'} in a cluster: its objects are lost, unless a snapshot was kept elsewhere`,
      fix: `restore a snapshot of etcd (npx tsx scripts/etcd-snapshot.ts restore); or, to begin anew with an empty cluster, run ${uninstall.join(' and ')}, and run this again`,
    },
  ];
}

function tokenNotes(lab: Lab, seen: SeenK3s): Note[] {
  const file = `${lab.paths.secrets}/${TOKEN}`;
  const members = servers(lab.config).filter((n) => factsOf(seen, n.name).etcdData);
  if (!seen.tokenHash) {
    if (members.length === 0 || adoptable(lab, seen)) return [];
    const names = members.map(({ name }) => name).join(', ');
    return [
      {
        level: 'blocker',
        text: `${names} ${members.length === 1 ? 'has' : 'have'} a cluster whose token is unknown here`,
        fix: `put the part after "::server:" of /var/lib/rancher/k3s/server/token there into ${file} (mode 0600)`,
      },
    ];
  }
  return members
    .filter(({ name }) => ![undefined, seen.tokenHash].includes(tokenOf(seen, name)))
    .map(({ name }) => ({
      level: 'blocker',
      text: `${name} has a cluster with another token than ${file}: whoever joins with that one is refused`,
      fix: `if the cluster is the one that you want, delete ${file}: its token is taken over then`,
    }));
}

/** The hash of the token that a server's cluster has; config.yaml may have been changed since it was started. */
function tokenOf(seen: SeenK3s, name: string): string | undefined {
  const { secretHash, tokenHash } = factsOf(seen, name);
  return secretHash ?? tokenHash;
}

/** The server that has the token of a cluster that is there, when we have none ourselves. */
export function adoptable(lab: Lab, seen: SeenK3s): string | undefined {
  if (seen.tokenHash) return undefined;
  return servers(lab.config).find(({ name }) => factsOf(seen, name).etcdData && tokenOf(seen, name) !== undefined)
    ?.name;
}

function strangers(lab: Lab, seen: SeenK3s): Note[] {
  if (!seen.cluster.answers) return [];
  const known = new Set(lab.config.k3s.nodes.map(({ name }) => name));
  return seen.cluster.nodes
    .filter(({ name }) => !known.has(name))
    .map(({ name }) => ({
      level: 'warning',
      text: `${name} is in the cluster and not in homelab.yaml`,
      fix: `add it, or take it out: npx tsx scripts/remove-node.ts ${name}`,
    }));
}
