import type { BackupSet } from '../backup/sets.ts';
import type { Backup } from '../config/schema.ts';
import type { Report } from '../main.ts';
import type { SeenBackup } from '../observe/backup.ts';
import { isStale, newestProven } from '../plan/backup.ts';
import { type RetainedSet, retained } from '../plan/retention.ts';

/** Exit code of `status` where a server's newest proven set is too old. */
const STALE = 3;

/** What lies on the target, a line a set, newest first. */
export function listReport(backup: Backup, seen: SeenBackup): Report {
  const data = seen.servers.map(({ name, sets }) => {
    const kept = new Map(
      [...new Set(sets.map(({ lineage }) => lineage))].flatMap((lineage) => [
        ...retained(sets.filter((set) => set.lineage === lineage).map(counted), backup.keep, seen.now),
      ]),
    );
    return { server: name, sets: sets.map((set) => listed(set, kept.get(set.name) ?? [])) };
  });
  const lines = data.flatMap(({ server, sets }) => [
    `${server}: ${sets.length === 0 ? 'no set' : `${sets.length} ${sets.length === 1 ? 'set' : 'sets'}`}`,
    ...sets.map(
      (set) =>
        `  ${set.name}  ${set.state.padEnd(8)}  ${size(set.bytes).padStart(9)}  ${set.databases.length} databases  ` +
        `of server ${set.lineage}  ${set.kept.length > 0 ? `kept: ${set.kept.join(', ')}` : 'will be pruned'}` +
        `${set.problem ? `  (${set.problem})` : ''}`,
    ),
  ]);
  return { text: lines.join('\n'), data };
}

/** How old the newest proven set of each server is. Judged from the target alone, so that it works when the database does not. */
export function statusReport(backup: Backup, seen: SeenBackup): Report {
  const servers = seen.servers.map(({ name, sets }) => {
    const newest = newestProven(sets);
    return {
      server: name,
      stale: isStale(sets, backup.max_age_hours, seen.now),
      newest_proven: newest?.name ?? null,
      age_hours: newest ? Math.round((seen.now - newest.time) / 36_000) / 100 : null,
      max_age_hours: backup.max_age_hours,
      sets: sets.length,
      not_proven: sets.filter(({ state }) => state !== 'proven').length,
    };
  });
  const lines = servers.map((one) => {
    const verdict = one.stale ? 'STALE' : 'fresh';
    const what = one.newest_proven
      ? `${one.newest_proven} is proven, ${one.age_hours} h old`
      : 'there is no proven set';
    return `${one.server}: ${verdict}: ${what} (at most ${one.max_age_hours} h); ${one.sets} ${one.sets === 1 ? 'set' : 'sets'}, ${one.not_proven} of them not proven`;
  });
  return { text: lines.join('\n'), data: servers, exit: servers.some(({ stale }) => stale) ? STALE : undefined };
}

function counted(set: BackupSet): RetainedSet {
  return { ...set, proven: set.state === 'proven' };
}

function listed({ name, server, lineage, state, bytes, databases, problem, folder }: BackupSet, kept: string[]) {
  return { name, server, lineage, state, bytes, databases, kept, problem, folder };
}

function size(bytes: number): string {
  if (bytes < 2 ** 20) return `${Math.ceil(bytes / 1024)} KiB`;
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
