import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { lastSeen } from '../deadline.ts';
import type { Lab } from '../lab-context.ts';
import { nodeState } from '../observe/k3s.ts';
import type { Ports } from '../ports/types.ts';
import { nodeReady } from './k3s-ready.ts';

const agentArgs = z.object({
  ...{ node: z.string(), unit: z.string(), version: z.string() },
  ...{ patience: z.number(), seconds: z.number() },
});

/** What a restore does that is neither a command nor a file. */
export function restoreOperations(lab: Lab): Record<string, Operation> {
  const ready = nodeReady(lab);
  return {
    'node-ready': ready,
    'agent-back': async (args, context) => {
      const { node, unit, version, patience, seconds } = agentArgs.parse(args);
      const { ports } = context;
      const back = await lastSeen(
        patience,
        () => isReady(node, ports),
        (seen) => seen,
        { clock: ports.clock },
      );
      if (!back) await ports.ssh.run(node, ['systemctl', 'restart', '--no-block', unit], { sudo: true, deadline: 60 });
      return ready({ node, unit, server: false, version, seconds }, context);
    },
  };
}

async function isReady(name: string, { kube }: Pick<Ports, 'kube'>): Promise<boolean> {
  const node = await kube.get({ apiVersion: 'v1', kind: 'Node', name }).catch(() => undefined);
  return node !== undefined && nodeState(node).ready;
}
