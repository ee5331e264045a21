import { isLeftOf } from '../backup/names.ts';
import type { BackupSet } from '../backup/sets.ts';
import { ROWS } from './backup-alarms.ts';
import { otherLineages } from './backup-lineages.ts';
import { fromThePast, isStale, newestProven } from './backup-newest.ts';

/** How a server's backups stand, judged by what lies on the target alone. */
export type Standing = {
  server: string;
  stale: boolean;
  /** The newest set that counts: proven, and not dated in the future. */
  newest?: BackupSet;
  /** Hours since the data of `newest` was read. */
  hours?: number;
  /** What an owner should know besides: why it is stale, where it is not because there is no `newest`. */
  remarks: string[];
};

const HOUR = 3_600_000;
const WEEK = 7 * 24 * HOUR;

/**
 * The sets of the newest lineage count: where the server was made anew, what was proven of the old one says nothing of
 * today's data.
 * @param sets of all lineages, newest first
 */
export function standingOf(
  server: string,
  sets: readonly BackupSet[],
  { now, maxAgeHours }: { now: number; maxAgeHours: number },
): Standing {
  const past = fromThePast(sets, now);
  const lineage = past[0]?.lineage;
  const own = past.filter((set) => set.lineage === lineage);
  const newest = newestProven(own);
  const stale = isStale(own, maxAgeHours, now, lineage);
  const hours = newest && Math.max(0, now - newest.time) / HOUR;
  return {
    ...{ server, stale, newest, hours },
    remarks: [
      ...(hours !== undefined && hours > maxAgeHours ? [`older than ${maxAgeHours} h`] : []),
      ...unproven(own, newest),
      ...shrunk(server, own, newest, now),
      ...otherLineages(server, lineage, past).map(({ text }) => text),
      ...future(sets, past),
    ],
  };
}

/** Sets that were made since, and do not count. */
function unproven(own: readonly BackupSet[], newest: BackupSet | undefined): string[] {
  const since = own.filter((set) => set.state !== 'proven' && (!newest || set.time > newest.time));
  const [last] = since;
  if (!last) return [];
  const what = since.length === 1 ? 'one newer set is' : `${since.length} newer sets are`;
  return [`${newest ? what : what.replace('newer ', '')} not proven (${last.name}: ${last.problem ?? last.state})`];
}

/** A set that is sound, of a server that lost its data, is told by its run once. Who looks days later is told here. */
function shrunk(server: string, own: readonly BackupSet[], newest: BackupSet | undefined, now: number): string[] {
  const [most] = own
    .filter((set) => set.state === 'proven' && set.time > now - WEEK)
    .sort((a, b) => rowsOf(b) - rowsOf(a) || b.time - a.time);
  if (!newest || !most || rowsOf(newest) >= rowsOf(most) * (1 - ROWS)) return [];
  return [
    `${newest.name} holds ${rowsOf(newest)} rows; ${most.name} held ${rowsOf(most)}. Where that is not meant, ` +
      `restore-postgres ${most.name} --server ${server} --database NAME brings a database back`,
  ];
}

/** Without what restores have left, which is there to be dropped; of an encrypted set all, for it does not say what is in it. */
function rowsOf({ manifest, report }: BackupSet): number {
  if (!manifest) return report?.rows ?? 0;
  return Object.entries(manifest.databases)
    .filter(([name]) => !isLeftOf('restored', name) && !isLeftOf('before', name))
    .flatMap(([, { tables }]) => Object.values(tables))
    .reduce((sum, { rows }) => sum + rows, 0);
}

function future(sets: readonly BackupSet[], past: readonly BackupSet[]): string[] {
  const [furthest] = sets;
  const count = sets.length - past.length;
  if (count === 0 || !furthest) return [];
  return [
    `${count === 1 ? 'one set is' : `${count} sets are`} dated in the future (${furthest.name}) and not counted: ` +
      "this machine's clock is wrong, or that of the one that made them was",
  ];
}
