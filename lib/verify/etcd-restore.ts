import { lastSeen } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import { isReady, isTrue } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { readIdentity } from '../observe/etcd-restore.ts';
import { courseOf, type RestoreArgs } from '../plan/etcd-restore.ts';
import type { RestoreSeen } from '../plan/etcd-restore-seen.ts';
import { factsOf } from '../plan/k3s-join.ts';
import type { Ports } from '../ports/types.ts';
import type { KubeObject, Proof } from '../step.ts';

/** Controllers act a moment after a node is Ready. */
const PATIENCE = 120;

/** The cluster is the one of the snapshot, with the servers that took part as its members, and with its agents. */
export async function verifyRestored(
  lab: Lab,
  { kube, clock }: Pick<Ports, 'kube' | 'clock'>,
  args: RestoreArgs,
  seen: RestoreSeen,
): Promise<Proof[]> {
  const look = async (): Promise<Proof[]> => {
    try {
      const [nodes, namespaces, identity] = await Promise.all([
        kube.list('v1', 'Node'),
        kube.list('v1', 'Namespace'),
        readIdentity(kube),
      ]);
      return restoredProofs(lab, args, seen, { nodes, namespaces, identity });
    } catch (error) {
      return [{ claim: 'the API server answers', ok: false, detail: messageOf(error) }];
    }
  };
  return lastSeen(PATIENCE, look, (proofs) => proofs.every(({ ok, skipped }) => ok || skipped), { clock });
}

/** Pure: what the objects prove. */
export function restoredProofs(
  lab: Lab,
  args: RestoreArgs,
  seen: RestoreSeen,
  { nodes, namespaces, identity }: { nodes: KubeObject[]; namespaces: KubeObject[]; identity?: string },
): Proof[] {
  const { source, target, others } = courseOf(lab, seen, args);
  const members = [target, ...others];
  const agents = lab.config.k3s.nodes
    .filter(({ name, role }) => role === 'agent' && factsOf(seen.k3s, name).units['k3s-agent'])
    .map(({ name }) => name);
  const nameOf = ({ metadata }: KubeObject): string => metadata.name;
  const voters = nodes.filter((node) => isTrue(node, 'EtcdIsVoter') && isReady(node)).map(nameOf);
  const known = new Set(lab.config.k3s.nodes.map(({ name }) => name));
  const strangers = nodes.map(nameOf).filter((name) => !known.has(name));
  const later = namespaces.filter(({ metadata }) => {
    const made = Date.parse(String(metadata.creationTimestamp)) / 1000;
    return made > source.time && made < seen.snapshots.now;
  });
  return [
    ...[...members, ...agents].map((name): Proof => {
      const node = nodes.find((one) => nameOf(one) === name);
      const ok = node !== undefined && isReady(node);
      const detail = ok ? '' : node ? 'it is not Ready' : 'it is not in the cluster';
      return { claim: `${name} is Ready`, ok, detail, host: name };
    }),
    {
      claim: `etcd's voting members that are Ready are ${members.join(', ')}`,
      ok: members.every((name) => voters.includes(name)) && voters.every((name) => members.includes(name)),
      detail: voters.join(', ') || 'none',
    },
    {
      claim: 'no Namespace is there that was made after the snapshot',
      ok: later.length === 0,
      detail: later.map(nameOf).join(', ') || `${namespaces.length} Namespaces`,
    },
    sameCluster(seen.identity, identity),
    ...strangers.map(
      (name): Proof => ({
        ...{ claim: `${name} is a node of homelab.yaml`, ok: false, skipped: true },
        detail: `the snapshot has it: npx tsx scripts/remove-node.ts ${name} takes it out`,
      }),
    ),
  ];
}

/** Another one is no failure: after a disaster an empty cluster was there before, or none. */
function sameCluster(before: string | undefined, now: string | undefined): Proof {
  const ok = before !== undefined && before === now;
  const detail = ok ? now : before ? 'the one before was another' : 'not tried: it did not answer before';
  return { claim: 'it is the cluster that was there before, by the uid of kube-system', ok, skipped: !ok, detail };
}
