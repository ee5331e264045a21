import type { Manifest, ProofReport } from '../backup/manifest.ts';
import { isLeftOf } from '../backup/names.ts';

/** A database that lost more than this share of its rows, or of its tables, since the set before is an alarm. */
export const ROWS = 0.2;
const TABLES = 0.1;

/**
 * What is suspicious about a set that is sound by itself: it may be the sound copy of an emptied server. Told once,
 * because the next set is compared with this one.
 * @param before the newest proven set of the same lineage before it
 * @param otherLineages how many other system identifiers the server's name has had
 */
export function alarms(set: Manifest, before: Manifest | undefined, otherLineages: number): string[] {
  if (!before)
    return otherLineages === 0
      ? []
      : [`the server's system identifier is new (${set.system_identifier}): it was made anew, or it is another server`];
  return Object.entries(before.databases).flatMap(([name, old]) => {
    if (set.excluded.includes(name)) return [];
    const now = Object.hasOwn(set.databases, name) ? set.databases[name] : undefined;
    // What a restore left is there to be dropped by hand: an alarm then would teach that alarms mean nothing.
    if (!now && (isLeftOf('restored', name) || isLeftOf('before', name))) return [];
    if (!now) return [`database ${JSON.stringify(name)} is gone`];
    const [oldTables, tables] = [old, now].map((one) => Object.values(one.tables));
    const shrunk = (what: string, from: number, to: number, share: number): string[] =>
      to < from * (1 - share) ? [`database ${JSON.stringify(name)} has ${to} ${what}; it had ${from}`] : [];
    return [
      ...shrunk('tables', oldTables?.length ?? 0, tables?.length ?? 0, TABLES),
      ...shrunk('rows', rowsOf(oldTables), rowsOf(tables), ROWS),
    ];
  });
}

/** The same, in sums only, where the set before is encrypted: nothing else of it can be read. */
export function alarmsBySums(set: Manifest, before: Pick<ProofReport, 'databases' | 'tables' | 'rows'>): string[] {
  const databases = Object.values(set.databases);
  const tables = databases.flatMap((database) => Object.values(database.tables));
  const shrunk = (what: string, from: number, to: number, share: number): string[] =>
    to < from * (1 - share) ? [`there are ${to} ${what}; there were ${from}`] : [];
  return [
    ...shrunk('databases', before.databases, databases.length + set.excluded.length, 0),
    ...shrunk('tables', before.tables, tables.length, TABLES),
    ...shrunk('rows', before.rows, rowsOf(tables), ROWS),
  ];
}

function rowsOf(tables: readonly { rows: number }[] = []): number {
  return tables.reduce((total, { rows }) => total + rows, 0);
}
