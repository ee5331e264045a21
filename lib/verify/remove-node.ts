import { quorum } from '../config/quorum.ts';
import { lastSeen } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import { isReady, isTrue } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import type { RemovalArgs, RemovalSeen } from '../plan/remove-node.ts';
import type { Ports } from '../ports/types.ts';
import type { KubeObject, Proof } from '../step.ts';
import { nothingLeft } from './uninstall-k3s.ts';

/** Pods move, and a leader is elected: what holds within this time is proven. */
const PATIENCE = 120;

/** The node is in no list any more, what is left of the cluster is well, and nothing of K3s is on its machine. */
export async function verifyRemoved(
  _lab: Lab,
  { kube, ssh, clock }: Pick<Ports, 'kube' | 'ssh' | 'clock'>,
  { name }: RemovalArgs,
  seen: RemovalSeen,
): Promise<Proof[]> {
  const look = async (): Promise<Proof[]> => {
    try {
      const password = {
        apiVersion: 'v1',
        kind: 'Secret',
        name: `${name}.node-password.k3s`,
        namespace: 'kube-system',
      };
      return removalProofs(name, await kube.list('v1', 'Node'), (await kube.get(password)) !== undefined);
    } catch (error) {
      return [{ claim: 'the API server answers', ok: false, detail: messageOf(error) }];
    }
  };
  const proofs = await lastSeen(PATIENCE, look, (all) => all.every(({ ok }) => ok), { clock });
  return seen.machine.ok ? [...proofs, await nothingLeft(name, ssh)] : proofs;
}

/** Pure: what the objects prove. */
export function removalProofs(name: string, nodes: readonly KubeObject[], hasPassword: boolean): Proof[] {
  const names = nodes.map(({ metadata }) => metadata.name);
  const unready = nodes.filter((node) => !isReady(node)).map(({ metadata }) => metadata.name);
  const members = nodes.filter(({ metadata }) => metadata.labels?.['node-role.kubernetes.io/etcd'] === 'true');
  const voting = members.filter((node) => isTrue(node, 'EtcdIsVoter') && isReady(node));
  const { needed } = quorum(members.length);
  return [
    {
      claim: `${name} is not in the cluster, and its password is forgotten`,
      ok: !names.includes(name) && !hasPassword,
      detail: names.includes(name) ? 'its Node is there' : hasPassword ? 'its password is kept' : names.join(', '),
    },
    {
      claim: 'every other node is Ready',
      ok: unready.filter((one) => one !== name).length === 0,
      detail: unready.length > 0 ? `not Ready: ${unready.join(', ')}` : names.join(', '),
    },
    ...(members.length === 0
      ? []
      : [
          {
            claim: `etcd has a majority of its ${members.length} ${members.length === 1 ? 'member' : 'members'}`,
            ok: voting.length >= needed && voting.length === members.length,
            detail: `voting: ${voting.map(({ metadata }) => metadata.name).join(', ') || 'none'}; ${needed} needed`,
          },
        ]),
  ];
}
