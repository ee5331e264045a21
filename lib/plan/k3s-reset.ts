import { KEEP, RESET_ALONE } from '../render/k3s-files.ts';
import type { Step } from '../step.ts';

/** Where the toolkit keeps things on a node. */
export const OURS = '/var/lib/homelab';
/** What is done right before it is stopped (lib/operations/k3s-reset.ts). */
export const LOOKS_AGAIN = 'looks once more: etcd has no leader, and all other servers answer and are empty';
/** Seconds in which etcd is made anew with one member. */
const RESET = 300;

/**
 * etcd goes on with one member, which keeps what it has; a copy of that is put aside before. K3s refuses a reset with
 * `server:` in config.yaml, and while it runs.
 * @param why the arithmetic
 * @param after what makes both so
 */
export function resetSteps(host: string, why: string, lost: readonly string[], after: readonly string[]): Step[] {
  const [other] = lost;
  const remote = (argv: string[], deadline: number): Step['action'] => ({
    ...{ kind: 'remote', host, argv, sudo: true, deadline },
  });
  const keep: Step = {
    ...{ id: `${host}/keep`, title: `copy etcd's data to ${OURS}`, why, host, after: [...after] },
    action: remote(['sh', '-c', KEEP, 'sh', OURS], 300),
  };
  const reset: Step = {
    ...{ id: `${host}/reset`, title: `reset etcd to ${host} alone (it keeps its data)`, why, host },
    after: [...after, keep.id],
    destroys: [
      lost.length === 1
        ? `the membership of ${other} in etcd, whose machine is empty; no confirmed write, for both had to have it`
        : `the membership of ${lost.join(', ')} in etcd, whose machines are empty; and writes that only they had: ${host} may be behind`,
    ],
    action: remote(
      ['sh', '-c', RESET_ALONE, 'sh', 'timeout', '-k', '10', String(RESET), 'k3s', 'server', '--cluster-reset'],
      RESET + 30,
    ),
  };
  return [keep, reset];
}
