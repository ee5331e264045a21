import { quorumNote } from '../config/quorum.ts';
import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { TOKEN } from '../render/k3s-config.ts';
import type { Note } from '../step.ts';
import { factsOf } from './k3s-join.ts';
import type { SeenK3s } from './k3s-seen.ts';
import { versionObstacle } from './k3s-version.ts';

/** Beyond this certificates that a server just made are "not yet valid" elsewhere, and etcd complains. */
const SKEW_SECONDS = 30;
/** K3s itself, its images and some room. */
const FREE_GIB = 5;

/** What stands in the way (blockers), and what the lab's owner should know. */
export function k3sNotes(lab: Lab, seen: SeenK3s): Note[] {
  const { nodes } = lab.config.k3s;
  return [
    quorumNote(lab.config),
    ...nodes.flatMap((node) => nodeNotes(lab, seen, node)),
    ...tokenNotes(lab, seen),
    ...strangers(lab, seen),
  ].filter((note) => note !== undefined);
}

function nodeNotes(lab: Lab, seen: SeenK3s, node: K3sNode): (Note | undefined)[] {
  const { name, role } = node;
  const host = seen.hosts[name];
  if (!host?.reachable)
    return [
      {
        ...blocker(`${name} is not reachable: ${host?.reason ?? 'it was not looked at'}`, 'run provision first'),
        ...{ waitsFor: 'provision', host: name },
      },
    ];
  const { facts, skewSeconds = 0 } = host;
  const hostname = facts.hostname?.split('.')[0];
  const other = role === 'server' ? 'k3s-agent' : 'k3s';
  const running = seen.cluster.answers ? seen.cluster.nodes.find((n) => n.name === name) : undefined;
  const fresh = !facts.joined && !facts.etcdData;
  const installed = fresh ? facts.version : (running?.version ?? facts.version);
  const obstacle = installed && !fresh ? versionObstacle(installed, lab.config.k3s.version) : undefined;
  const free = (facts.freeKib ?? Number.POSITIVE_INFINITY) / 2 ** 20;
  return [
    hostname && hostname !== name
      ? blocker(
          `${name} calls itself ${hostname}: is this the right machine?`,
          'look at its cloud-init, or run provision',
        )
      : undefined,
    facts.units[other]
      ? blocker(
          `${name} has the unit ${other}, homelab.yaml says ${role}`,
          `drain it, run \`sudo ${other}-uninstall.sh\`${other === 'k3s' ? ' (this deletes its etcd data)' : ''} on it, and run this again`,
        )
      : undefined,
    obstacle ? blocker(`${name}: ${obstacle.why}`, obstacle.fix) : undefined,
    fresh && running?.ready
      ? blocker(
          `${name} is Ready in the cluster, but the machine that answers at its address has no K3s`,
          'two machines seem to have that name or address; find the other one',
        )
      : undefined,
    Math.abs(skewSeconds) > SKEW_SECONDS
      ? warning(
          `the clock of ${name} is ${Math.abs(Math.round(skewSeconds))} s ${skewSeconds < 0 ? 'behind' : 'ahead'}; certificates will be refused`,
          'check `timedatectl` there',
        )
      : undefined,
    free < FREE_GIB
      ? warning(
          `${name} has ${free.toFixed(1)} GiB free under /var/lib; images need about ${FREE_GIB}`,
          'grow its disk',
        )
      : undefined,
  ];
}

function tokenNotes(lab: Lab, seen: SeenK3s): Note[] {
  const file = `${lab.paths.secrets}/${TOKEN}`;
  const members = lab.config.k3s.nodes.filter((n) => n.role === 'server' && factsOf(seen, n.name).etcdData);
  if (!seen.tokenHash) {
    if (members.length === 0 || adoptable(lab, seen)) return [];
    const names = members.map(({ name }) => name).join(', ');
    return [
      blocker(
        `${names} ${members.length === 1 ? 'has' : 'have'} a cluster whose token is unknown here`,
        `put the part after "::server:" of /var/lib/rancher/k3s/server/token there into ${file} (mode 0600)`,
      ),
    ];
  }
  return members
    .filter(({ name }) => ![undefined, seen.tokenHash].includes(factsOf(seen, name).tokenHash))
    .map(({ name }) =>
      blocker(
        `${name} has a cluster with another token than ${file}`,
        `if the cluster is the one that you want, delete ${file}: its token is taken over then`,
      ),
    );
}

/** The server whose config.yaml has the token of a cluster that is there, when we have none ourselves. */
export function adoptable(lab: Lab, seen: SeenK3s): string | undefined {
  if (seen.tokenHash) return undefined;
  return lab.config.k3s.nodes.find(({ name, role }) => {
    const facts = factsOf(seen, name);
    return role === 'server' && facts.etcdData && facts.tokenHash !== undefined;
  })?.name;
}

function strangers(lab: Lab, seen: SeenK3s): Note[] {
  if (!seen.cluster.answers) return [];
  const known = new Set(lab.config.k3s.nodes.map(({ name }) => name));
  return seen.cluster.nodes
    .filter(({ name }) => !known.has(name))
    .map(({ name }) =>
      warning(
        `${name} is in the cluster and not in homelab.yaml`,
        `add it, or take it out: \`k3s kubectl drain ${name} --ignore-daemonsets --delete-emptydir-data\`, \`k3s kubectl delete node ${name}\``,
      ),
    );
}

function blocker(text: string, fix: string): Note {
  return { level: 'blocker', text, fix };
}

function warning(text: string, fix: string): Note {
  return { level: 'warning', text, fix };
}
