import { join } from 'node:path';
import type { BackupSet } from '../backup/sets.ts';
import { span } from '../backup/span.ts';
import type { Which } from '../backup/target.ts';
import type { Backup } from '../config/schema.ts';
import type { Report } from '../main.ts';
import type { SeenBackup } from '../observe/backup.ts';
import { otherLineages } from '../plan/backup-lineages.ts';
import { fromThePast } from '../plan/backup-newest.ts';
import { type Standing, standingOf } from '../plan/backup-standing.ts';
import { type RetainedSet, retained } from '../plan/retention.ts';
import { groupLines, listed, rounded, wrapped } from './backup-rows.ts';
import { secondLines, secondStatus, secondStatusLine } from './backup-second.ts';

/** Exit code of `status` where a server's newest proven set is too old. */
const STALE = 3;

/** What lies on a target, a line a set, newest first; why a set does not count stands below it. */
export function listReport(backup: Backup, seen: SeenBackup, from?: Which): Report {
  const data = seen.servers.map(({ name, sets }) => {
    const kept = new Map(
      [...new Set(sets.map(({ lineage }) => lineage))].flatMap((lineage) => [
        ...retained(sets.filter((set) => set.lineage === lineage).map(counted), backup.keep, seen.now),
      ]),
    );
    const copies = seen.second?.sets[name]?.map((set) => listed(set, [], seen.now));
    const past = fromThePast(sets, seen.now);
    const remarks = otherLineages(name, past[0]?.lineage, past);
    return { server: name, sets: sets.map((set) => listed(set, kept.get(set.name) ?? [], seen.now)), remarks, copies };
  });
  const lines = data.flatMap(({ server, sets, remarks, copies }) => [
    `${server}: ${counts(sets.length, from)}`,
    ...[...new Set(sets.map(({ lineage }) => lineage))].flatMap((lineage) => [
      ...groupLines(
        `system identifier ${lineage}`,
        sets.filter((set) => set.lineage === lineage),
        { keeps: 'KEPT AS', fate: 'will be pruned' },
      ),
      ...remarks.filter((remark) => remark.lineage === lineage).flatMap(({ text }) => wrapped(text, '    ')),
    ]),
    // A copy that is not proven is made anew by the next run.
    ...(from !== 'second' && sets.some(({ state }) => state !== 'proven') ? unprovenNote(seen, server) : []),
    ...secondLines(seen, copies ?? []),
  ]);
  return { text: lines.join('\n'), data };
}

/** What can be done with sets that do not count: nothing does it by itself. */
function unprovenNote({ target }: SeenBackup, server: string): string[] {
  const where = target.ok ? join(target.root, server) : server;
  const text =
    'what is not proven is never pruned: backup-postgres verify SET tries once more; or delete its folder in';
  return wrapped(`${text} ${where}`, '  ');
}

/** "no set", "3 sets, newest first", "1 copy on the second target, newest first" */
function counts(count: number, from: Which | undefined): string {
  const [one, more, where] = from === 'second' ? ['copy', 'copies', ' on the second target'] : ['set', 'sets', ''];
  return count === 0 ? `no ${one}${where}` : `${count} ${count === 1 ? one : more}${where}, newest first`;
}

/** How old the newest proven set of each server is. Judged from the target alone, so that it works when the database does not. */
export function statusReport(backup: Backup, seen: SeenBackup): Report {
  const servers = seen.servers.map(({ name, sets }) => {
    const standing = standingOf(name, sets, { now: seen.now, maxAgeHours: backup.max_age_hours });
    const { stale, newest, hours, remarks } = standing;
    const second = secondStatus(backup, seen, name);
    const data = {
      ...{ server: name, stale, newest_proven: newest?.name ?? null, system_identifier: newest?.lineage ?? null },
      ...{ age_hours: hours === undefined ? null : rounded(hours), max_age_hours: backup.max_age_hours },
      ...{ sets: sets.length, not_proven: sets.filter(({ state }) => state !== 'proven').length, remarks },
      second_target: second,
    };
    const lines = standingLines(standing, sets.length);
    return { data, lines: second ? [...lines, ...wrapped(secondStatusLine(name, second), '  ', '')] : lines };
  });
  const stale = servers.some(({ data }) => data.stale || data.second_target?.stale);
  return {
    text: servers.flatMap(({ lines }) => lines).join('\n'),
    data: servers.map(({ data }) => data),
    exit: stale ? STALE : undefined,
  };
}

/** A verdict in a line; below it what else there is to know. */
function standingLines({ server, stale, newest, hours, remarks }: Standing, sets: number): string[] {
  const what = newest ? `${newest.name} is proven, ${span(hours ?? 0)} old` : 'there is no proven set';
  const verdict = `${server}: ${stale ? 'STALE' : 'fresh'}: ${what}; ${sets} ${sets === 1 ? 'set' : 'sets'}`;
  return [verdict, ...remarks.flatMap((remark) => wrapped(remark, '  '))];
}

function counted(set: BackupSet): RetainedSet {
  return { ...set, proven: set.state === 'proven' };
}
