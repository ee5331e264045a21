import { span } from '../backup/span.ts';
import type { Backup } from '../config/schema.ts';
import type { SeenBackup } from '../observe/backup.ts';
import { isStale, newestProven } from '../plan/backup-newest.ts';
import { groupLines, type Listed, wrapped } from './backup-rows.ts';

/** What `list` and `status` say of the second target. */

/** How old the newest proven copy of a server is; undefined where there is no second target. */
export function secondStatus(backup: Backup, { second, now }: SeenBackup, server: string) {
  if (!second) return undefined;
  const sets = second.sets[server] ?? [];
  const max = backup.second_target?.max_age_hours ?? backup.max_age_hours;
  const newest = newestProven(sets);
  return {
    /** Why it cannot be read. */
    away: second.target.ok ? null : second.target.reason,
    stale: !second.target.ok || isStale(sets, max, now),
    newest_proven: newest?.name ?? null,
    age_hours: newest ? Math.round((now - newest.time) / 36_000) / 100 : null,
    max_age_hours: max,
    sets: sets.length,
    not_proven: sets.filter(({ state }) => state !== 'proven').length,
  };
}

export function secondStatusLine(server: string, status: NonNullable<ReturnType<typeof secondStatus>>): string {
  const name = `${server}, second target`;
  if (status.away !== null) return `${name}: AWAY: ${status.away}`;
  const what =
    status.newest_proven === null
      ? 'there is no proven copy'
      : `the copy ${status.newest_proven} is proven, ${span(status.age_hours ?? 0)} old`;
  const unproven = status.not_proven > 0 ? `, ${status.not_proven} of them not proven` : '';
  const max = status.stale ? `; at most ${status.max_age_hours} h are allowed` : '';
  return `${name}: ${status.stale ? 'STALE' : 'fresh'}: ${what}; ${status.sets} ${status.sets === 1 ? 'copy' : 'copies'}${unproven}${max}`;
}

/** Copies, as sets are listed. */
export function secondLines({ second }: SeenBackup, copies: readonly Listed[]): string[] {
  if (!second) return [];
  if (!second.target.ok) return wrapped(`second target: away: ${second.target.reason}`, '    ', '  ');
  if (copies.length === 0) return ['  second target: no copy'];
  const title = `second target: ${copies.length} ${copies.length === 1 ? 'copy' : 'copies'}`;
  return groupLines(title, copies, { keeps: '', fate: '' });
}
