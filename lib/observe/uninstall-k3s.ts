import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { kubeconfigFile } from '../plan/k3s.ts';
import type { UninstallSeen } from '../plan/uninstall-k3s.ts';
import type { Readers } from '../ports/types.ts';
import { TOKEN } from '../render/k3s-config.ts';
import { readLeftovers } from './k3s-leftovers.ts';
import { observeLosses } from './losses.ts';

/** What of K3s is on every node, in the cluster, and in .state. */
export async function observeUninstall(
  lab: Lab,
  readers: Readers,
  _args: unknown,
  context: Pick<RunContext, 'endpoints'>,
): Promise<UninstallSeen> {
  const { ssh, kube, files } = readers;
  const own = [join(lab.paths.secrets, TOKEN), kubeconfigFile(lab)];
  const [nodes, reachable, present] = await Promise.all([
    Promise.all(lab.config.k3s.nodes.map(async ({ name }) => [name, await readLeftovers(name, ssh)] as const)),
    kube.reachable(),
    Promise.all(own.map((file) => files.exists(file))),
  ]);
  const anything = nodes.some(([, answer]) => answer.ok && answer.value.length > 0);
  return {
    nodes: Object.fromEntries(nodes),
    cluster: reachable.ok ? { answers: true } : { answers: false, reason: reachable.reason },
    files: own.filter((_, i) => present[i]),
    losses: anything ? await observeLosses(lab, readers, context) : undefined,
  };
}
