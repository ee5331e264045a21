import type { BackupSet } from '../backup/sets.ts';

/** Clocks of two machines may differ by so much, in milliseconds, before a set is "from the future". */
const SKEW = 3_600_000;
const HOUR = 3_600_000;

/**
 * The newest set that was restored and compared, of `lineage` or of any. One from a future that `now` has not reached
 * (the clock was wrong then) is the newest only where there is no other.
 */
export function newestProven(sets: readonly BackupSet[], lineage?: string, now = Infinity): BackupSet | undefined {
  const proven = sets
    .filter((set) => set.state === 'proven' && (lineage === undefined || set.lineage === lineage))
    .sort((a, b) => b.time - a.time);
  return proven.find(({ time }) => time <= now + SKEW) ?? proven[0];
}

/** Whether a server's newest proven set is older than it may be; one from the future proves nothing about today. */
export function isStale(sets: readonly BackupSet[], maxAgeHours: number, now: number, lineage?: string): boolean {
  const newest = newestProven(fromThePast(sets, now), lineage);
  return newest === undefined || now - newest.time > maxAgeHours * HOUR;
}

/** Without those of a clock that was wrong. */
export function fromThePast(sets: readonly BackupSet[], now: number): BackupSet[] {
  return sets.filter(({ time }) => time <= now + SKEW);
}
