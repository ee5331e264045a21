import { Cron } from 'croner';
import type { EtcdSnapshots } from '../config/schema.ts';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { findExport } from '../lookup.ts';
import { commandLine } from '../quote.ts';

/** Where templates/etcd-snapshots.sh is on a server, and what calls it there. */
export const SNAPSHOT_SCRIPT = '/usr/local/sbin/homelab-etcd-snapshots';
export const SNAPSHOT_CRON = '/etc/cron.d/homelab-etcd-snapshots';
/** What it says of its last run. */
export const SNAPSHOT_STATE = '/var/lib/homelab/etcd-snapshots.state';
/** Snapshots that the schedule takes; those of other names are a person's, and never pruned. */
export const SCHEDULED = 'homelab';
/** Seconds for one snapshot: some hundred MiB, there and back. */
export const SAVE_DEADLINE = 1800;

/** @throws UsageError when homelab.yaml has no `k3s.etcd_snapshots` */
export function etcdSnapshotsOf({ config }: Pick<Lab, 'config'>): EtcdSnapshots {
  if (config.k3s.etcd_snapshots) return config.k3s.etcd_snapshots;
  throw new UsageError('homelab.yaml has no `k3s.etcd_snapshots`: snapshots of etcd go nowhere', {
    fix: 'add it; the homelab.yaml of the toolkit shows its keys',
  });
}

/** "synology:/volume1/k3s-backups/etcd/homelab": where a person finds them. */
export function snapshotPlace(lab: Pick<Lab, 'config'>): string {
  const { nas, path, folder } = placeOf(lab);
  return `${nas.name}:${path}/${folder}`;
}

/** What is asked of the script. */
export type Errand =
  | { kind: 'save'; node: string; name?: string }
  | { kind: 'list' }
  | { kind: 'token'; node: string; snapshot: string }
  | { kind: 'fetch'; node: string; snapshot: string; file: string };

/** The script's arguments for an errand. */
export function errandArgs(lab: Pick<Lab, 'config'>, errand: Errand): string[] {
  const { nas, path, folder } = placeOf(lab);
  // Soft: a NAS that is gone is a failure, not a process that hangs. What arrived is compared anyway.
  const options = [`nfsvers=${nas.nfs_version}`, 'soft', 'timeo=150', 'retrans=3', 'retry=0'];
  // Locks of NFSv3 need a daemon on the client.
  if (nas.nfs_version === '3') options.push('nolock');
  const common = [errand.kind, `${nas.address}:${path}`, options.join(','), folder];
  switch (errand.kind) {
    case 'save':
      return [...common, errand.node, String(etcdSnapshotsOf(lab).keep), ...(errand.name ? [errand.name] : [])];
    case 'list':
      return common;
    case 'token':
      return [...common, errand.node, errand.snapshot];
    case 'fetch':
      return [...common, errand.node, errand.snapshot, errand.file];
  }
}

/** The script sent to a host as it is, whether it is installed there or not; its text goes to stdin. */
export function errandCommand(lab: Pick<Lab, 'config'>, errand: Errand): string[] {
  return ['sh', '-s', '--', ...errandArgs(lab, errand)];
}

/** /etc/cron.d/homelab-etcd-snapshots of a server. Every server takes its own: one that is down stops no other. */
export function snapshotCron(lab: Pick<Lab, 'config'>, node: string): string {
  const { schedule } = etcdSnapshotsOf(lab);
  const call = ['timeout', String(SAVE_DEADLINE), SNAPSHOT_SCRIPT, ...errandArgs(lab, { kind: 'save', node })];
  return [
    '# Written by etcd-snapshot install from homelab.yaml; what is changed here is overwritten.',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    // What it says is in syslog too; cron takes "%" for the end of the command.
    `${schedule} root ${commandLine(call).replaceAll('%', '\\%')} >/dev/null 2>&1`,
    '',
  ].join('\n');
}

/** Hours between two times of a schedule, the longest that there are: nights and weekends count. */
export function intervalHours(schedule: string, now: number): number {
  const times = new Cron(schedule, { mode: '5-part', timezone: 'UTC', paused: true }).nextRuns(
    200,
    new Date(now * 1000),
  );
  const gaps = times.slice(1).map((time, i) => time.getTime() - (times[i]?.getTime() ?? 0));
  return Math.max(...gaps) / 3_600_000;
}

function placeOf(lab: Pick<Lab, 'config'>) {
  const { export: reference, path } = etcdSnapshotsOf(lab);
  const { nas, export: found } = findExport(lab.config, reference);
  return { nas, path: found.path, folder: `${path.replace(/\/+$/, '')}/${lab.config.name}` };
}
