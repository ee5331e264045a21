import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import type { Report } from '../main.ts';
import { courseOf, type RestoreArgs } from '../plan/etcd-restore.ts';
import type { RestoreSeen } from '../plan/etcd-restore-seen.ts';
import { staleAfter, staleness } from '../plan/etcd-snapshots.ts';
import { age, newestOf, type SnapshotsSeen } from '../plan/etcd-snapshots-seen.ts';
import { keptFolder } from './etcd-restore.ts';
import { etcdSnapshotsOf, snapshotPlace } from './etcd-snapshots.ts';

/** Exit codes of `status`: a snapshot is missing or too old; it could not be asked. */
const STALE = 3;
const UNKNOWN = 1;

type Listed = { name: string; server: string; where: 'nas' | 'server'; bytes: number; time: number; whole: boolean };

/** Every snapshot that there is, on the servers and on the NAS, the newest first. */
export function snapshotListReport(lab: Lab, seen: SnapshotsSeen): Report {
  const local = Object.entries(seen.servers).flatMap(([server, answer]): Listed[] =>
    answer.ok ? answer.value.local.map((one) => ({ ...one, server, where: 'server', whole: true })) : [],
  );
  const remote = seen.nas?.ok ? seen.nas.value.map((one): Listed => ({ ...one, where: 'nas' })) : [];
  const all = [...remote, ...local].sort((a, b) => b.time - a.time || a.server.localeCompare(b.server));
  const silent = Object.entries(seen.servers).flatMap(([name, answer]) =>
    answer.ok ? [] : [`${name} could not be asked: ${answer.reason}`],
  );
  const rows = all.map(({ name, server, where, bytes, time, whole }) => [
    ...[name, server, where === 'nas' ? 'NAS' : 'on it', size(bytes), `${age(seen.now - time)} old`],
    whole ? '' : 'not whole: its SHA-256 or its token is missing',
  ]);
  const nas = seen.nas && !seen.nas.ok ? [`the NAS could not be asked: ${seen.nas.reason}`] : [];
  const lines = [...columns(rows), ...(rows.length === 0 ? ['no snapshot'] : []), ...silent, ...nas];
  const data = all.map(({ time, ...one }) => ({
    ...one,
    taken: new Date(time * 1000).toISOString(),
    age_hours: hours(seen.now - time),
  }));
  return {
    text: lines.join('\n'),
    data: { snapshots: data, unknown: [...silent, ...nas], place: lab.config.k3s.etcd_snapshots && snapshotPlace(lab) },
    exit: nas.length > 0 ? UNKNOWN : undefined,
  };
}

/** How old the newest snapshot of each server on the NAS is: judged from there alone, so that a dead cron job shows. */
export function snapshotStatusReport(lab: Lab, seen: SnapshotsSeen): Report {
  const { schedule } = etcdSnapshotsOf(lab);
  const place = snapshotPlace(lab);
  const most = staleAfter(lab, seen.now);
  const { nas } = seen;
  const all = servers(lab.config).map(({ name }) => {
    const answer = seen.servers[name];
    const lastRun = answer?.ok ? answer.value.lastRun : undefined;
    const newest = nas?.ok ? newestOf(nas.value, name, seen.now) : undefined;
    return {
      server: name,
      ...{ stale: nas?.ok ? staleness(lab, seen, name) !== undefined : null, newest: newest?.name ?? null },
      ...{ age_hours: newest ? hours(seen.now - newest.time) : null, max_age_hours: most },
      scheduled: answer?.ok ? answer.value.cron !== undefined : null,
      last_run: lastRun ? { ...lastRun, time: new Date(lastRun.time * 1000).toISOString() } : null,
    };
  });
  const lines = all.map(({ server, stale, newest, age_hours, scheduled, last_run }) => {
    const what = newest ? `${newest} is ${age_hours} h old` : 'there is no snapshot of it';
    const failed = last_run && last_run.code !== 0 ? `; its last run failed: ${last_run.said || 'it was ended'}` : '';
    const silent = scheduled === false ? '; nothing takes any: run etcd-snapshot install' : '';
    return `${server}: ${stale === null ? 'UNKNOWN' : stale ? 'STALE' : 'fresh'}: ${stale === null ? 'the NAS could not be asked' : what} (at most ${most} h)${failed}${silent}`;
  });
  const unknown = nas && !nas.ok ? [`${place}: ${nas.reason}`] : [];
  return {
    text: [...lines, ...unknown].join('\n'),
    data: { place, schedule, servers: all, unknown },
    exit: unknown.length > 0 ? UNKNOWN : all.some(({ stale }) => stale) ? STALE : undefined,
  };
}

/** Where the data of before is, which nobody deletes. */
export function restoreReport(
  lab: Lab,
  seen: RestoreSeen,
  args: RestoreArgs,
  applied: readonly unknown[],
): Report | undefined {
  if (applied.length === 0) return undefined;
  const { id, source, target, others } = courseOf(lab, seen, args);
  const folder = keptFolder(id);
  const on = [target, ...others];
  return {
    text: `the cluster is that of ${source.name}; the data of before is in ${folder} on ${on.join(', ')}: delete it when all is well`,
    data: { snapshot: source.name, kept: folder, on },
  };
}

function hours(seconds: number): number {
  return Math.round(seconds / 36) / 100;
}

function size(bytes: number): string {
  return bytes < 2 ** 20 ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function columns(rows: readonly string[][]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
