import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { runningUnit } from '../plan/k3s-leftovers.ts';
import type { RemovalSeen } from '../plan/remove-node.ts';
import type { KubeReader, Readers, SshReader } from '../ports/types.ts';
import type { KubeObject } from '../step.ts';
import { liveMembers } from './etcd-members.ts';
import { nodeState, readPatiently } from './k3s.ts';
import { readLeftovers } from './k3s-leftovers.ts';
import { observeLosses } from './losses.ts';
import { podsOn } from './pods.ts';

/** The node in the cluster and on its machine, what would be lost with it, and its lease. */
export async function observeRemoval(
  lab: Lab,
  readers: Readers,
  { name }: { name: string },
  context: Pick<RunContext, 'endpoints'>,
): Promise<RemovalSeen> {
  const { ssh, kube, files } = readers;
  const hasAddress = lab.ledger.leases.some((lease) => lease.name === name);
  const [machine, cluster, losses, lock, doc] = await Promise.all([
    hasAddress ? readLeftovers(name, ssh) : { ok: false as const, reason: 'it has no lease, and so no known address' },
    readCluster(kube, name),
    observeLosses(lab, readers, context),
    files.text(lab.paths.lock),
    files.text(lab.paths.networkDoc),
  ]);
  const isSilent = cluster.answers && machine.ok && cluster.nodes.some((node) => node.name === name && !node.ready);
  const [members, elsewhere] = await Promise.all([
    cluster.answers ? liveMembers(lab, readers, name) : [],
    isSilent && runningUnit(machine.value) === 'k3s' ? readyByItself(name, ssh) : undefined,
  ]);
  return { machine, cluster, members, elsewhere, losses, network: { lock, doc } };
}

/** Whether a server is Ready by its own API server. */
async function readyByItself(name: string, ssh: SshReader): Promise<boolean> {
  const argv = ['k3s', 'kubectl', 'get', 'node', name, '-o', 'json', '--request-timeout=15s'];
  const answer = await readPatiently(ssh, name, argv, { sudo: true, deadline: 30 });
  return answer.ok && answer.value.code === 0 && nodeState(JSON.parse(answer.value.stdout) as KubeObject).ready;
}

async function readCluster(kube: KubeReader, name: string): Promise<RemovalSeen['cluster']> {
  const reachable = await kube.reachable();
  if (!reachable.ok) return { answers: false, reason: reachable.reason };
  try {
    const [nodes, pods] = await Promise.all([kube.list('v1', 'Node'), kube.list('v1', 'Pod')]);
    return {
      ...{ answers: true, server: reachable.value },
      nodes: nodes.map(nodeState),
      pods: podsOn(name, pods),
    };
  } catch (error) {
    if (error instanceof HomelabError) return { answers: false, reason: error.message };
    throw error;
  }
}
