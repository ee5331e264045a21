import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { HomelabError } from '../errors.ts';
import { nodeState } from '../observe/k3s.ts';
import { cordonPatch, uncordonPatch, unmarkPatch } from '../plan/k3s-drain.ts';
import type { Outcome, Ports } from '../ports/types.ts';

export const nodeArgs = z.object({ node: z.string() });

/** The operation that lets pods in again. */
export function uncordonNode(): Operation {
  return async (args, { ports }) => {
    await uncordon(nodeArgs.parse(args).node, ports);
    return undefined;
  };
}

/** Keeps new pods away from a node, with our mark on it: the next run knows that it may take that back. */
export async function cordon(node: string, ports: Ports): Promise<void> {
  await patch(node, cordonPatch, ports);
}

/** Takes our own cordon back, or our mark where somebody did that already; somebody else's cordon stays. */
export async function uncordon(node: string, ports: Ports): Promise<void> {
  const found = await ports.kube.get({ apiVersion: 'v1', kind: 'Node', name: node });
  const { cordoned, marked } = found ? nodeState(found) : {};
  if (cordoned === 'by us') await patch(node, uncordonPatch, ports);
  else if (marked) await patch(node, unmarkPatch, ports);
}

async function patch(node: string, change: object, ports: Ports): Promise<void> {
  const argv = ['patch', 'node', node, '--type=merge', '-p', JSON.stringify(change)];
  const { code, stderr } = await kubectl(argv, 60, ports);
  if (code !== 0) throw new HomelabError(`Node ${node} cannot be changed`, { output: stderr.trim() });
}

/** kubectl on the server that answers: what it does has no place among objects that are applied. */
export async function kubectl(args: string[], deadline: number, { ssh, kube }: Ports): Promise<Outcome> {
  const server = await kube.reachable();
  if (!server.ok) throw new HomelabError(`no K3s server answers: ${server.reason}`);
  return ssh.run(server.value, ['k3s', 'kubectl', ...args], { sudo: true, deadline });
}
