import { quorum } from '../config/quorum.ts';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { Args } from '../main.ts';
import type { Answer } from '../ports/types.ts';
import { HOLD_FILE } from '../render/k3s-uninstall.ts';
import type { Note, Plan } from '../step.ts';
import { suggestion } from '../suggest.ts';
import type { SeenPod } from './k3s-drain.ts';
import { runningUnit } from './k3s-leftovers.ts';
import type { SeenNode } from './k3s-seen.ts';
import { type LossesSeen, lossNotes } from './losses.ts';
import type { NetworkSeen } from './network.ts';
import { guardQuorum, type Member } from './quorum-guard.ts';
import { clusterSteps, leaseSteps, machineSteps } from './remove-node-steps.ts';

export type RemovalArgs = Args & { name: string; skipDrain: boolean; limit?: string[] };

export type RemovalSeen = {
  /** What of K3s is on its machine; not ok: nobody can tell, the machine does not answer. */
  machine: Answer<string[]>;
  cluster: { answers: true; server: string; nodes: SeenNode[]; pods: SeenPod[] } | { answers: false; reason: string };
  /** etcd's members, as the servers themselves say; none where the cluster is silent. */
  members: Member[];
  /** It is not Ready by the cluster, and Ready by its own API server: they are two clusters. */
  elsewhere?: boolean;
  losses: LossesSeen;
  network: NetworkSeen;
};

/**
 * Takes a node out for good: cordon and drain, while it is there to end its pods; its Node, and with it its password
 * and its member of etcd; K3s on its machine; its lease, when nobody uses it any more.
 * @throws UsageError for a name that nobody knows
 */
export function planRemoval(lab: Lab, seen: RemovalSeen, args: RemovalArgs): Plan {
  const { name } = args;
  known(lab, seen, args);
  const course = courseOf(lab, seen, name);
  const notes = [...problems(lab, seen, name, course), ...remarks(lab, seen, name, course)];
  const steps = [...clusterSteps(seen, args, course), ...machineSteps(seen, name, course)];
  const last = steps.map(({ id }) => id);
  steps.push(...leaseSteps(lab, seen, name, last));
  if (steps.some(({ destroys }) => destroys)) notes.push(...lossNotes(lab.config.backup, seen.losses));
  if (steps.length === 0 && !notes.some(({ level }) => level === 'blocker'))
    notes.unshift({ level: 'info', text: `${name} is not in the cluster, and nothing of K3s is on its machine` });
  return { steps, notes };
}

/** What is known of the node, put together. */
export type Course = {
  node?: SeenNode;
  isServer: boolean;
  members: Member[];
  /** Another server, whose API is asked: the one that leaves cannot finish its own removal. */
  api?: string;
  inConfig: boolean;
};

function courseOf(lab: Lab, { cluster, members }: RemovalSeen, name: string): Course {
  const nodes = cluster.answers ? cluster.nodes : [];
  const node = nodes.find((one) => one.name === name);
  const servers = nodes.filter(isServer);
  const ours = new Set(lab.config.k3s.nodes.map((one) => one.name));
  const others = servers.filter((one) => one.name !== name && one.ready && ours.has(one.name)).map((one) => one.name);
  const preferred = cluster.answers && cluster.server !== name ? cluster.server : undefined;
  return {
    ...{ node, isServer: node !== undefined && isServer(node), members },
    api: preferred ?? others[0],
    inConfig: ours.has(name),
  };
}

function isServer({ labels }: SeenNode): boolean {
  return labels['node-role.kubernetes.io/control-plane'] === 'true';
}

function known(lab: Lab, { cluster }: RemovalSeen, { name, limit = [] }: RemovalArgs): void {
  if (limit.length > 0)
    throw new UsageError('--limit: remove-node is about one node, which it names', { fix: `leave it out` });
  const names = [
    ...lab.config.k3s.nodes.map((one) => one.name),
    ...lab.lock.leases.map((one) => one.name),
    ...(cluster.answers ? cluster.nodes.map((one) => one.name) : []),
  ];
  if (names.includes(name)) return;
  throw new UsageError(
    `there is no node "${name}" in homelab.yaml, in homelab.lock.yaml or ${cluster.answers ? 'in the cluster' : `(as far as can be told) in the cluster: ${cluster.reason}`}`,
    { fix: suggestion(name, new Set(names)) },
  );
}

/** Why it must not be done, or not yet. */
function problems(lab: Lab, seen: RemovalSeen, name: string, { node, isServer, members, api }: Course): Note[] {
  const { cluster, machine } = seen;
  const blocker = (text: string, fix: string): Note => ({ level: 'blocker', text, fix });
  if (!cluster.answers)
    return [
      blocker(
        `the cluster does not answer, so ${name} cannot be taken out of it: ${cluster.reason}`,
        'start its servers; when etcd has lost its majority for good: make their VMs anew (provision), and install-k3s goes on with what is left; when that has no data: npx tsx scripts/etcd-snapshot.ts restore; when the whole cluster is to go: npx tsx scripts/uninstall-k3s.ts',
      ),
    ];
  const unit = machine.ok ? runningUnit(machine.value) : undefined;
  if (unit === 'k3s' && (!node || seen.elsewhere))
    return [
      blocker(
        `k3s runs on ${name}, and ${node ? `is not Ready by ${cluster.server}, but by its own API` : `the cluster of ${cluster.server} does not know it`}: it may be another cluster, with the majority of this one${machine.ok && machine.value.includes(HOLD_FILE) ? ', or what is left of a removal that was ended half-way' : ''}`,
        `see \`sudo k3s kubectl get nodes\` on both. When what ${name} has may go: \`sudo systemctl stop k3s\` on it, and run this again`,
      ),
    ];
  if (!node) return [];
  if (isServer && (!api || members.filter((one) => one.name !== name).length === 0))
    return [
      blocker(
        `${name} is the last server: without it there is no cluster`,
        'add another one first; or take the whole cluster away: npx tsx scripts/uninstall-k3s.ts',
      ),
    ];
  const notes: Note[] = [];
  if (members.some((member) => member.name === name)) {
    const { ok, arithmetic, fix } = guardQuorum('removal', [name], members);
    notes.push(ok ? { level: 'info', text: arithmetic } : blocker(arithmetic, fix ?? 'see that every server is Ready'));
  }
  if (node.ready && !machine.ok)
    notes.push(
      blocker(
        `${name} is Ready, and its machine cannot be reached to stop K3s there: ${machine.reason}; it would come back by itself`,
        lab.config.k3s.nodes.some((one) => one.name === name)
          ? `mend its SSH (provision learns its host key); or destroy it: npx tsx scripts/provision.ts --destroy --limit ${name}`
          : 'mend its SSH, or shut the machine down',
      ),
    );
  return notes;
}

/** What the owner should know. */
function remarks(lab: Lab, seen: RemovalSeen, name: string, { node, isServer, members, inConfig }: Course): Note[] {
  const notes: Note[] = [];
  const lease = lab.lock.leases.find((one) => one.name === name);
  if (node && !node.ready)
    notes.push({
      level: 'warning',
      text: `${name} is not Ready: it cannot be drained; its pods are deleted with its Node, and whatever still runs there is not ended by that`,
      ...(seen.machine.ok ? {} : { fix: 'see that the machine stays off: K3s on it would join again' }),
    });
  const left = members.filter((member) => member.name !== name).length;
  if (isServer && left > 0) {
    const { needed, survives } = quorum(left);
    notes.push({
      level: survives === 0 ? 'warning' : 'info',
      text: `${left} ${left === 1 ? 'server is' : 'servers are'} left: ${needed} of ${left} must answer, and ${survives === 0 ? 'none' : survives} may be lost`,
    });
  }
  if (inConfig)
    notes.push({
      level: 'info',
      text: `${name} is still in homelab.yaml: provision and install-k3s make it anew, at the same address`,
      fix: `to be rid of it take it out of k3s.nodes${name === lab.config.k3s.first_server ? ', name another k3s.first_server,' : ''} and run provision; then npx tsx scripts/network.ts release ${name}`,
    });
  else if (lease && seen.machine.ok)
    notes.push({
      level: 'info',
      text: `its lease (${lease.address}) stays while its machine answers there`,
      fix: `run provision, which destroys the VM; then this again, or npx tsx scripts/network.ts release ${name}`,
    });
  return notes;
}
