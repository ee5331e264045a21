import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { deleteNode } from '../plan/remove-node-steps.ts';
import type { Outcome, Ports } from '../ports/types.ts';
import { HOLD_FILE } from '../render/k3s-uninstall.ts';
import { evict } from './k3s-drain.ts';
import { spare } from './k3s-spare.ts';

/** `api`: a server that stays; the one that leaves cannot finish its own removal. */
const leaving = z.object({ node: z.string(), api: z.string() });
const leavingServer = leaving.extend({ held: z.boolean() });

/** What remove-node does that must look once more, or say more than kubectl does. */
export function removalOperations(lab: Lab): Record<string, Operation> {
  return {
    'drain-leaving': async (args, { ports }) => {
      const { node, api } = leaving.parse(args);
      // Nothing comes back to it: pods that nothing makes again go too, and were named.
      const run = (argv: readonly string[], deadline: number): Promise<Outcome> =>
        kubectl(api, [...argv, '--force'], deadline, ports);
      await evict(node, run, ports, 'it stays cordoned, and --skip-drain removes it all the same');
      return undefined;
    },
    'delete-server': async (args, { ports }) => {
      const { node, api, held } = leavingServer.parse(args);
      try {
        await spare(lab, node, 'removal', ports);
      } catch (error) {
        // It stays, so systemd may start it again, also with the machine.
        if (held) await release(node, ports).catch(() => {});
        throw error;
      }
      const { code, stdout, stderr } = await kubectl(api, deleteNode(node), 60, ports);
      if (code !== 0)
        throw new HomelabError(`the Node ${node} cannot be deleted`, { output: (stderr || stdout).trim() });
      return undefined;
    },
  };
}

function kubectl(host: string, argv: readonly string[], deadline: number, { ssh }: Ports): Promise<Outcome> {
  return ssh.run(host, ['k3s', 'kubectl', ...argv], { sudo: true, deadline });
}

async function release(node: string, { ssh }: Ports): Promise<void> {
  await ssh.run(node, ['rm', '-f', HOLD_FILE], { sudo: true, deadline: 30 });
  await ssh.run(node, ['systemctl', 'daemon-reload'], { sudo: true, deadline: 60 });
  await ssh.run(node, ['systemctl', 'enable', 'k3s'], { sudo: true, deadline: 60 });
}
