import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { counted } from '../plan/k3s-members.ts';
import type { Member } from '../plan/quorum-guard.ts';
import type { Readers } from '../ports/types.ts';
import { nodeState, readPatiently } from './k3s.ts';
import { ETCD_FIGURES } from './k3s-facts.ts';

/** Seconds within which a server says whether its K3s runs. */
const ASK = 15;

const LOOK = `systemctl is-active k3s
if [ -d /var/lib/rancher/k3s/server/db/etcd/member/wal ]; then echo etcd; fi
${ETCD_FIGURES}`;

/**
 * Who is a member of etcd, as the cluster says, or where it is silent, as the servers' disks do; ready is who is so by
 * its Node, and whose K3s also runs now.
 * @param also a server that homelab.yaml may not have any more; it is asked where it has an address
 */
export async function liveMembers(
  lab: Lab,
  { ssh, kube }: Pick<Readers, 'ssh' | 'kube'>,
  also?: string,
): Promise<Member[]> {
  const own = servers(lab.config).map(({ name }) => name);
  const isKnown = also !== undefined && lab.ledger.leases.some(({ name }) => name === also);
  const names = [...new Set(isKnown ? [...own, also] : own)];
  const [nodes, looks] = await Promise.all([
    kube.list('v1', 'Node').then(
      (list) => list.map(nodeState).filter(({ member }) => member),
      () => undefined,
    ),
    Promise.all(
      names.map(async (name) => {
        const argv = ['sh', '-c', LOOK];
        const answer = await readPatiently(ssh, name, argv, { sudo: true, deadline: ASK });
        return [name, answer.ok ? answer.value.stdout.split('\n') : undefined] as const;
      }),
    ),
  ]);
  const look = new Map(looks);
  const runs = (name: string): boolean => look.get(name)?.[0] === 'active';
  // One that cannot be asked may well be a member.
  const holds = (name: string): boolean => look.get(name)?.includes('etcd') ?? true;
  const counts = looks.flatMap(([, said]) => said?.flatMap((line) => /^members=(\d+)$/.exec(line)?.[1] ?? []) ?? []);
  if (nodes)
    return counted(
      nodes.map(({ name, ready }) => ({ name, ready: ready && (!look.has(name) || runs(name)) })),
      Math.max(0, ...counts.map(Number)),
    );
  return own.filter(holds).map((name) => ({ name, ready: runs(name) }));
}
