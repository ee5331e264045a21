import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import type { Args } from '../main.ts';
import { observeSnapshots } from '../observe/etcd-snapshots.ts';
import { staleAfter, staleness } from '../plan/etcd-snapshots.ts';
import { newestOf, type SnapshotsSeen } from '../plan/etcd-snapshots-seen.ts';
import type { Ports } from '../ports/types.ts';
import { snapshotCron, snapshotPlace } from '../render/etcd-snapshots.ts';
import type { Proof } from '../step.ts';

/** Every server has its cron job, and a snapshot on the NAS that is young enough. */
export async function verifyInstalled(
  lab: Lab,
  ports: Pick<Ports, 'ssh' | 'clock'>,
  { limit = [] }: Args & { limit?: string[] },
): Promise<Proof[]> {
  const wanted = servers(lab.config).filter(({ name }) => limit.length === 0 || limit.includes(name));
  if (!lab.config.k3s.etcd_snapshots || wanted.length === 0) return [];
  const proofs = installedProofs(lab, await observeSnapshots(lab, ports));
  return proofs.filter(({ host }) => wanted.some(({ name }) => name === host));
}

/** Pure: what was seen proves. */
export function installedProofs(lab: Lab, seen: SnapshotsSeen): Proof[] {
  const { nas } = seen;
  return servers(lab.config).flatMap(({ name }): Proof[] => {
    const answer = seen.servers[name];
    const claim = `${name} has a snapshot at ${snapshotPlace(lab)}, less than ${staleAfter(lab, seen.now)} h old`;
    const newest = nas?.ok ? newestOf(nas.value, name, seen.now) : undefined;
    const isFresh = nas?.ok === true && staleness(lab, seen, name) === undefined;
    const scheduled = answer?.ok === true && answer.value.cron === snapshotCron(lab, name);
    return [
      {
        claim,
        ok: isFresh,
        detail: nas?.ok ? (newest?.name ?? 'there is none') : `it could not be asked: ${nas?.reason}`,
        host: name,
      },
      {
        claim: `cron takes one of ${name} at "${lab.config.k3s.etcd_snapshots?.schedule}"`,
        ok: scheduled,
        detail: scheduled ? '' : answer?.ok ? 'its cron file says something else' : (answer?.reason ?? ''),
        host: name,
      },
    ];
  });
}

/** A snapshot lies on the NAS that was not there before. */
export async function verifySaved(
  lab: Lab,
  ports: Pick<Ports, 'ssh' | 'clock'>,
  before: SnapshotsSeen,
): Promise<Proof[]> {
  const { nas } = await observeSnapshots(lab, ports);
  const known = new Set(before.nas?.ok ? before.nas.value.map(({ server, name }) => `${server}/${name}`) : []);
  const came = nas?.ok ? nas.value.filter((one) => one.whole && !known.has(`${one.server}/${one.name}`)) : [];
  return [
    {
      claim: `a new snapshot is at ${snapshotPlace(lab)}, whole`,
      ok: came.length > 0,
      detail: nas?.ok ? came.map(({ name }) => name).join(', ') || 'none came' : (nas?.reason ?? ''),
    },
  ];
}
