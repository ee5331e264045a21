import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { lookAtNodes } from '../observe/k3s.ts';
import { lostOrNot } from '../plan/k3s-members.ts';
import { nodeArgs } from './k3s-cordon.ts';

/** Seconds within which a node must have answered. */
const LOOK = 60;

const lostArgs = nodeArgs.extend({ unit: z.string(), lost: z.array(z.string()) });

/**
 * Stops the server that has all that is left of etcd, before the reset. Sees once more that it is so: between the plan,
 * the question and this, another one may have come back with its data.
 * @throws HomelabError that says what is otherwise; nothing has been stopped then
 */
export function stopForReset(lab: Lab): Operation {
  return async (args, { ports }) => {
    const { node, unit, lost } = lostArgs.parse(args);
    const found = lostOrNot(lab, await lookAtNodes(lab, ports, LOOK));
    const otherwise = ((): string | undefined => {
      if (typeof found === 'string') return found;
      if (found.survivor !== node) return `${found.survivor} has etcd's data, and ${node} has not`;
      return found.lost.join() === lost.join() ? undefined : `${found.lost.join(', ')} would be lost now`;
    })();
    if (otherwise)
      throw new HomelabError(`etcd is not reset to ${node}: ${otherwise}`, {
        cause: 'a server has changed since the plan was made',
        fix: 'run this again: it looks anew',
      });
    const { code, stderr } = await ports.ssh.run(node, ['systemctl', 'stop', unit], { sudo: true, deadline: 120 });
    if (code !== 0) throw new HomelabError(`${unit} on ${node} does not stop`, { output: stderr.trim() });
    return undefined;
  };
}
