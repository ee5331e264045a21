import type { Lab } from '../lab-context.ts';
import { readLeftovers } from '../observe/k3s-leftovers.ts';
import type { UninstallArgs, UninstallSeen } from '../plan/uninstall-k3s.ts';
import type { Ports, SshReader } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** Nothing of K3s is left on the nodes, nor in .state. */
export async function verifyUninstalled(
  lab: Lab,
  { ssh, files }: Pick<Ports, 'ssh' | 'files'>,
  { limit = [] }: UninstallArgs,
  seen: UninstallSeen,
): Promise<Proof[]> {
  const names = lab.config.k3s.nodes
    .map(({ name }) => name)
    .filter((name) => limit.length === 0 || limit.includes(name));
  const there = await Promise.all(seen.files.map((file) => files.exists(file)));
  const kept = seen.files.filter((_, i) => there[i]);
  return [
    ...(await Promise.all(names.map((name) => nothingLeft(name, ssh)))),
    ...(limit.length > 0
      ? []
      : [
          {
            claim: 'its token and its kubeconfig are removed from .state',
            ok: kept.length === 0,
            detail: kept.join(', '),
          },
        ]),
  ];
}

/** No unit, no process, no folder of K3s is on a host. */
export async function nothingLeft(host: string, ssh: SshReader): Promise<Proof> {
  const answer = await readLeftovers(host, ssh);
  const claim = `no unit, no process and no folder of K3s is on ${host}`;
  if (!answer.ok) return { claim, ok: false, detail: answer.reason, host };
  return { claim, ok: answer.value.length === 0, detail: answer.value.slice(0, 6).join(', '), host };
}
