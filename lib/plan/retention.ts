/** Which backup sets stay. Pure: times are milliseconds since 1970, UTC; weeks and months are integers, never spans of days. */

export type RetainedSet = {
  name: string;
  time: number;
  /** Restored and compared. Others neither count nor go. */
  proven: boolean;
  pinned?: boolean;
};

/** How many of each: the newest `last`, and the newest set of each of the last N days, weeks and months that have one. */
export type Keep = { last: number; daily: number; weekly: number; monthly: number };

/** However the policy is set, this many of the newest proven sets stay. */
const FLOOR = 1;

const DAY = 86_400_000;
const dayOf = (time: number): number => Math.floor(time / DAY);
/** Monday to Sunday: day 0 was a Thursday. */
const weekOf = (time: number): number => Math.floor((dayOf(time) + 3) / 7);
const monthOf = (time: number): number => {
  const date = new Date(time);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
};

/**
 * @param sets one lineage, in any order
 * @param now a set from the future (a clock that jumped) stays, and displaces nothing
 * @returns the names that stay, each with its reasons
 */
export function retained(sets: readonly RetainedSet[], keep: Keep, now: number): Map<string, string[]> {
  const reasons = new Map<string, string[]>();
  const add = (set: RetainedSet, reason: string): void => {
    reasons.set(set.name, [...(reasons.get(set.name) ?? []), reason]);
  };
  for (const set of sets) {
    if (!set.proven) add(set, 'not proven');
    if (set.pinned) add(set, 'pinned');
    if (set.time > now) add(set, 'from the future');
  }
  const counted = sets.filter((set) => set.proven && set.time <= now).sort(newestFirst);
  for (const set of counted.slice(0, Math.max(keep.last, FLOOR))) add(set, 'last');
  for (const set of newestOfEach(counted, dayOf, keep.daily)) add(set, 'day');
  for (const set of newestOfEach(counted, weekOf, keep.weekly)) add(set, 'week');
  for (const set of newestOfEach(counted, monthOf, keep.monthly)) add(set, 'month');
  return reasons;
}

/** The sets that may go, oldest first, at most `cap` of them: one wrong policy must not empty a target in one night. */
export function expendable(sets: readonly RetainedSet[], keep: Keep, now: number, cap: number): RetainedSet[] {
  const stay = retained(sets, keep, now);
  return sets
    .filter((set) => !stay.has(set.name))
    .sort((a, b) => newestFirst(b, a))
    .slice(0, cap);
}

function newestFirst(a: RetainedSet, b: RetainedSet): number {
  return b.time - a.time || (a.name < b.name ? 1 : a.name > b.name ? -1 : 0);
}

function newestOfEach(
  newestFirst: readonly RetainedSet[],
  period: (time: number) => number,
  count: number,
): RetainedSet[] {
  const found: RetainedSet[] = [];
  let last: number | undefined;
  for (const set of newestFirst) {
    if (found.length >= count) break;
    if (period(set.time) === last) continue;
    last = period(set.time);
    found.push(set);
  }
  return found;
}
