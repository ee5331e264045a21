import { z } from 'zod';
import type { ApplyContext, Operation } from '../apply.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { liveMembers } from '../observe/etcd-members.ts';
import { nodeState } from '../observe/k3s.ts';
import { type Absence, guardQuorum } from '../plan/quorum-guard.ts';
import type { Ports } from '../ports/types.ts';
import { nodeArgs, uncordon } from './k3s-cordon.ts';

/**
 * Sees once more that etcd can spare a server: since the plan was made another one may have died.
 * @throws HomelabError with the arithmetic, and what to do first; nothing has been done then
 */
export async function spare(lab: Lab, name: string, absence: Absence, ports: Ports): Promise<void> {
  const { ok, arithmetic, fix } = guardQuorum(absence, [name], await liveMembers(lab, ports, name));
  if (ok) return;
  throw new HomelabError(`${name} must not ${absence === 'restart' ? 'be stopped' : 'go'} now. ${arithmetic}`, {
    cause: 'another server went down since the plan was made',
    fix: `${fix}, and run this again`,
  });
}

const stopArgs = nodeArgs.extend({ unit: z.string() });

/** Stops a server's K3s, once etcd can spare it. */
export function stopServer(lab: Lab): Operation {
  return async (args, { ports }) => {
    const { node, unit } = stopArgs.parse(args);
    try {
      await spare(lab, node, 'restart', ports);
      const { code, stderr } = await ports.ssh.run(node, ['systemctl', 'stop', unit], { sudo: true, deadline: 120 });
      if (code !== 0) throw new HomelabError(`${unit} on ${node} does not stop`, { output: stderr.trim() });
    } catch (error) {
      // It goes on as before, and so do its pods.
      await uncordon(node, ports).catch(() => {});
      throw error;
    }
    return undefined;
  };
}

/**
 * Takes a machine that is no more out of the cluster: its Node, and with it the node's password and the member of
 * etcd. One whose Node is Ready is somebody else's machine, and stays.
 */
export function forgetNode(): Operation {
  return async (args, { ports }: ApplyContext) => {
    const { node } = nodeArgs.parse(args);
    const ref = { apiVersion: 'v1', kind: 'Node', name: node };
    const found = await ports.kube.get(ref);
    if (!found) return undefined;
    const { ready } = nodeState(found);
    if (ready)
      throw new HomelabError(
        `${node} is Ready in the cluster, but the machine that answers at its address has no K3s`,
        {
          cause: 'two machines have that name or address',
          fix: 'find the other one',
        },
      );
    // That its API answers shows that etcd has a majority, which must agree to this.
    await ports.kube.delete([ref], 120);
    return undefined;
  };
}
