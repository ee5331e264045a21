import type { Operation } from '../apply.ts';
import { HomelabError, messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { nodeState } from '../observe/k3s.ts';
import { podsOn } from '../observe/pods.ts';
import { DRAIN_COMMAND, drainCommand, drainTrouble, movable } from '../plan/k3s-drain.ts';
import type { Outcome, Ports } from '../ports/types.ts';
import { cordon, kubectl, nodeArgs, uncordon } from './k3s-cordon.ts';
import { spare } from './k3s-spare.ts';

/** Pods that an error names, at the most. */
const SHOWN = 10;

/**
 * Moves a node's pods elsewhere, for an upgrade: cordons it, with our mark, and evicts. What cannot be moved in time
 * is named, the node is let in again, and nothing has been stopped. A node that is alone or not Ready keeps its pods:
 * there is nobody to take them, or nobody to end them.
 */
export function drain(lab: Lab): Operation {
  return async (args, { ports }) => {
    const { node } = nodeArgs.parse(args);
    const nodes = (await ports.kube.list('v1', 'Node')).map(nodeState);
    const own = nodes.find(({ name }) => name === node);
    const others = nodes.filter((other) => other.name !== node && other.ready && !other.cordoned);
    if (!own?.ready || others.length === 0) return undefined;
    if (own.member) await spare(lab, node, 'restart', ports);
    // Somebody else's cordon stays when we are done: it is without our mark.
    if (!own.cordoned) await cordon(node, ports);
    try {
      await evict(node, (argv, deadline) => kubectl([...argv], deadline, ports), ports, 'it goes on as before');
    } catch (error) {
      await uncordon(node, ports).catch(() => {});
      throw error;
    }
    return undefined;
  };
}

type Kubectl = (argv: readonly string[], deadline: number) => Promise<Outcome>;

/**
 * Evicts the pods of a node.
 * @param outcome how the node is left where it fails
 * @throws HomelabError that names those that stay
 */
export async function evict(node: string, run: Kubectl, { kube }: Pick<Ports, 'kube'>, outcome: string): Promise<void> {
  const said = await run(drainCommand(node), DRAIN_COMMAND).then(
    ({ code, stdout, stderr }) => (code === 0 ? undefined : `${stderr}\n${stdout}`.trim()),
    // It may have taken longer than it said that it would, or the server that was asked is gone.
    (error: unknown) => messageOf(error),
  );
  if (said === undefined) return;
  const stay = await kube.list('v1', 'Pod').then(
    (pods) => movable(podsOn(node, pods)).map(({ name }) => name),
    () => [],
  );
  const more = stay.length > SHOWN ? `, and ${stay.length - SHOWN} more` : '';
  const named = stay.length > 0 ? `; still there: ${stay.slice(0, SHOWN).join(', ')}${more}` : '';
  throw new HomelabError(`the pods of ${node} cannot be moved to other nodes${named}; ${outcome}`, {
    fix: 'see what they wait for (`k3s kubectl describe pod`), and run this again',
    ...drainTrouble(said),
    output: said.split('\n').slice(-8).join('\n'),
  });
}
