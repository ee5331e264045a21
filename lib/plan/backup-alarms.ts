import type { Manifest } from '../backup/manifest.ts';

/** A database that lost more than this share of its rows, or of its tables, since the set before is an alarm. */
const ROWS = 0.2;
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
    if (!now) return [`database ${JSON.stringify(name)} is gone`];
    const [oldTables, tables] = [old, now].map((one) => Object.values(one.tables));
    const shrunk = (what: string, from: number, to: number, share: number): string[] =>
      to < from * (1 - share) ? [`database ${JSON.stringify(name)} has ${to} ${what}; it had ${from}`] : [];
    const sum = (all: { rows: number }[] = []): number => all.reduce((total, { rows }) => total + rows, 0);
    return [
      ...shrunk('tables', oldTables?.length ?? 0, tables?.length ?? 0, TABLES),
      ...shrunk('rows', sum(oldTables), sum(tables), ROWS),
    ];
  });
}
