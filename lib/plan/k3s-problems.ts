import { quorumNote } from '../config/quorum.ts';
import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import type { Note } from '../step.ts';
import { airgapNotes } from './k3s-airgap.ts';
import { skewsOf } from './k3s-clocks.ts';
import { clusterNotes } from './k3s-cluster-problems.ts';
import { criticalNotes } from './k3s-critical.ts';
import { isEmpty } from './k3s-members.ts';
import type { HostFacts, SeenK3s, SeenNode } from './k3s-seen.ts';
import { STAMP } from './k3s-steps.ts';
import { versionObstacle } from './k3s-version.ts';

/** Beyond this certificates that a server just made are "not yet valid" elsewhere, and etcd complains. */
const SKEW_SECONDS = 30;
/** K3s itself, its images and some room; and what not even K3s fits into. */
const FREE_GIB = 5;
const LEAST_GIB = 0.5;

/** What stands in the way (blockers), and what the lab's owner should know. @param limit hosts of --limit */
export function k3sNotes(lab: Lab, seen: SeenK3s, limit: readonly string[] = []): Note[] {
  const { nodes } = lab.config.k3s;
  return [
    quorumNote(lab.config),
    ...nodes.flatMap((node) => nodeNotes(lab, seen, node, limit)),
    ...clusterNotes(lab, seen),
    ...criticalNotes(lab, seen),
    ...airgapNotes(lab, seen),
  ].filter((note) => note !== undefined);
}

function nodeNotes(lab: Lab, seen: SeenK3s, node: K3sNode, limit: readonly string[]): (Note | undefined)[] {
  const host = seen.hosts[node.name];
  if (!host?.reachable) return [unreachable(node, host?.reason ?? 'it was not looked at', limit)];
  const { facts } = host;
  const running = seen.cluster.answers ? seen.cluster.nodes.find((n) => n.name === node.name) : undefined;
  return [
    ...machineNotes(node, facts),
    ...versionNotes(lab, node, facts, running),
    clockNote(seen, node.name, facts),
    ...gpuNotes(node, facts),
  ];
}

/** A server's data count for all others; an agent that is left out by --limit need not be there. */
function unreachable({ name, role }: K3sNode, reason: string, limit: readonly string[]): Note {
  const aside = role === 'agent' && limit.length > 0 && !limit.includes(name);
  const note = aside ? warning : blocker;
  return {
    ...note(`${name} is not reachable: ${reason}`, aside ? 'it is left out now' : 'run provision first'),
    ...{ waitsFor: 'provision', host: name },
  };
}

function machineNotes({ name, role }: K3sNode, facts: HostFacts): (Note | undefined)[] {
  const hostname = facts.hostname?.split('.')[0];
  const other = role === 'server' ? 'k3s-agent' : 'k3s';
  const free = (facts.freeKib ?? Number.POSITIVE_INFINITY) / 2 ** 20;
  const room = `${name} has ${free.toFixed(1)} GiB free under /var/lib`;
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
    facts.readOnly
      ? blocker(
          `the root file system of ${name} is mounted read-only`,
          'often its disk failed: see `dmesg` there, mend it, and boot it again',
        )
      : undefined,
    free < LEAST_GIB
      ? blocker(`${room}: K3s does not fit`, 'make room, or grow disk_gib in homelab.yaml and run provision')
      : free < FREE_GIB
        ? warning(`${room}; images need about ${FREE_GIB}`, 'grow its disk')
        : undefined,
  ];
}

function versionNotes(
  lab: Lab,
  { name }: K3sNode,
  facts: HostFacts,
  running: SeenNode | undefined,
): (Note | undefined)[] {
  const fresh = !facts.joined && !facts.etcdData;
  const bereft = fresh && !isEmpty(facts);
  const installed = running?.version ?? facts.version;
  const obstacle = installed && !fresh ? versionObstacle(installed, lab.config.k3s.version) : undefined;
  return [
    obstacle ? blocker(`${name}: ${obstacle.why}`, obstacle.fix) : undefined,
    bereft
      ? blocker(
          `K3s was started on ${name} before, and nothing of it is in /var/lib/rancher/k3s`,
          `is a disk not mounted? If what was there is gone for good: \`sudo rm ${STAMP}\` on it, and it counts as a new machine`,
        )
      : undefined,
    facts.restoring
      ? blocker(
          `a restore of etcd was begun on ${name}, and is not finished: what lies on the servers is of two times`,
          `run \`npx tsx scripts/etcd-snapshot.ts restore ${facts.restoring}\` again; it goes on`,
        )
      : undefined,
    fresh && !bereft && running?.ready
      ? blocker(
          `${name} is Ready in the cluster, but the machine that answers at its address has no K3s`,
          'two machines seem to have that name or address; find the other one',
        )
      : undefined,
  ];
}

/** A node that is to join with a wrong clock is refused by certificates that are "not yet valid" there. */
function clockNote(seen: SeenK3s, name: string, facts: HostFacts): Note | undefined {
  const skew = skewsOf(seen)[name] ?? 0;
  if (Math.abs(skew) <= SKEW_SECONDS) return undefined;
  const off = `the clock of ${name} is ${Math.abs(Math.round(skew))} s ${skew < 0 ? 'behind' : 'ahead of'} the others`;
  const fix = `see \`timedatectl\` there: does it reach a time server?`;
  return facts.joined || facts.etcdData
    ? warning(`${off}: certificates will be refused`, fix)
    : blocker(`${off}: certificates of the cluster would be refused, so it cannot join`, fix);
}

function gpuNotes({ name, gpu }: K3sNode, { nvidia }: HostFacts): (Note | undefined)[] {
  if (!gpu || nvidia === 'runtime' || nvidia === 'later') return [];
  if (nvidia === 'unseen')
    return [
      warning(
        `${name} has NVIDIA's toolkit, and K3s does not use it although it was there at the start`,
        'see whether /var/lib/rancher/k3s/agent/etc/containerd has a template of somebody (config*.toml.tmpl)',
      ),
    ];
  return [
    {
      level: 'info',
      text: `${name} has a GPU (${gpu}), and no NVIDIA container toolkit: pods cannot use it yet`,
      fix: "install NVIDIA's driver and nvidia-container-toolkit on it (their apt repository), and run this again",
    },
  ];
}

export function blocker(text: string, fix: string): Note {
  return { level: 'blocker', text, fix };
}

export function warning(text: string, fix: string): Note {
  return { level: 'warning', text, fix };
}
