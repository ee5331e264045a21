import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { expendable, type Keep, type RetainedSet, retained } from '../lib/plan/retention.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 10, 23);
const at = (text: string, more: Partial<RetainedSet> = {}): RetainedSet => ({
  name: text,
  time: Date.parse(`${text}Z`),
  proven: true,
  ...more,
});
const none: Keep = { last: 0, daily: 0, weekly: 0, monthly: 0 };
const kept = (sets: readonly RetainedSet[], keep: Keep, now = NOW): string[] =>
  [...retained(sets, keep, now).keys()].sort();

const table = suite('retention');

table('the newest proven set stays whatever the policy says', () => {
  assert.equal(kept([at('2026-11-01T03:00:00'), at('2026-11-02T03:00:00')], none), ['2026-11-02T03:00:00']);
});

table('the newest of each day, and days without a set do not count', () => {
  const sets = ['2026-11-20T03:00:00', '2026-11-20T15:00:00', '2026-11-10T03:00:00', '2026-11-01T03:00:00'].map((t) =>
    at(t),
  );
  assert.equal(kept(sets, { ...none, daily: 2 }), ['2026-11-10T03:00:00', '2026-11-20T15:00:00']);
});

table('weeks go from Monday to Sunday', () => {
  const sets = ['2026-11-15T23:59:59', '2026-11-16T00:00:00', '2026-11-22T23:59:59'].map((t) => at(t));
  assert.equal(kept(sets, { ...none, weekly: 2 }), ['2026-11-15T23:59:59', '2026-11-22T23:59:59']);
});

table('months are calendar months, over the turn of the year', () => {
  const sets = ['2025-12-01T00:00:00', '2025-12-31T23:59:59', '2026-01-01T00:00:00'].map((t) => at(t));
  assert.equal(kept(sets, { ...none, monthly: 2 }), ['2025-12-31T23:59:59', '2026-01-01T00:00:00']);
});

table('unproven, pinned and future sets stay and displace nothing', () => {
  const sets = [
    at('2026-11-01T03:00:00'),
    at('2026-11-02T03:00:00', { proven: false }),
    at('2020-01-01T03:00:00', { pinned: true }),
    at('2036-01-01T03:00:00'),
  ];
  assert.equal(kept(sets, none), sets.map((s) => s.name).sort());
});

table('deletions are capped, oldest first', () => {
  const sets = Array.from({ length: 9 }, (_, i) => at(`2026-11-0${i + 1}T03:00:00`));
  assert.equal(
    expendable(sets, none, NOW, 2).map((s) => s.name),
    ['2026-11-01T03:00:00', '2026-11-02T03:00:00'],
  );
});

table('10,000 sets in well under 2 s', () => {
  const sets = Array.from({ length: 10_000 }, (_, i) => ({
    name: `s${i}`,
    time: NOW - i * 3_600_000,
    proven: i % 7 > 0,
  }));
  const began = performance.now();
  retained(sets, { last: 3, daily: 7, weekly: 5, monthly: 12 }, NOW);
  assert.ok(performance.now() - began < 500);
});

table.run();

/** Times cluster around few days, so that periods collide; a few lie in the future. */
const aSet = fc.record({
  time: fc.oneof(
    fc.integer({ min: -40 * 8, max: 8 }).map((n) => NOW + n * (DAY / 8)),
    fc.integer({ min: -3000, max: 400 }).map((n) => NOW + n * DAY),
  ),
  proven: fc.boolean(),
  pinned: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});
const someSets = fc
  .array(aSet, { maxLength: 24 })
  .map((sets) => sets.map((set, i): RetainedSet => ({ ...set, name: `set-${String(i).padStart(2, '0')}` })));
const count = fc.integer({ min: 0, max: 13 });
const aPolicy = fc.record({ last: count, daily: count, weekly: count, monthly: count });

const RUNS = 20_000;
const property = suite('retention: invariants');
const holds = (name: string, check: fc.IProperty<[RetainedSet[], Keep]>): void => {
  property(`${name} (${RUNS} cases)`, () => fc.assert(check, { numRuns: RUNS }));
};
const includes = (all: ReadonlySet<string>, part: Iterable<string>): boolean => [...part].every((n) => all.has(n));
const names = (sets: readonly RetainedSet[], keep: Keep, now = NOW): Set<string> =>
  new Set(retained(sets, keep, now).keys());
const countedOf = (sets: readonly RetainedSet[]): RetainedSet[] =>
  sets.filter((s) => s.proven && s.time <= NOW).sort((a, b) => b.time - a.time || (a.name < b.name ? 1 : -1));

holds(
  'the newest proven survives, and the floor holds',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const stay = names(sets, keep);
    return includes(
      stay,
      countedOf(sets)
        .slice(0, Math.max(1, keep.last))
        .map((s) => s.name),
    );
  }),
);
holds(
  'idempotent, and free of order',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const stay = names(sets, keep);
    const again = names(
      sets.filter((s) => stay.has(s.name)),
      keep,
    );
    const turned = names([...sets].reverse(), keep);
    return again.size === stay.size && turned.size === stay.size && includes(stay, turned) && includes(stay, again);
  }),
);
holds(
  'monotone in the policy, in each part of it',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const stay = names(sets, keep);
    return (['last', 'daily', 'weekly', 'monthly'] as const).every((part) =>
      includes(names(sets, { ...keep, [part]: keep[part] + 1 }), stay),
    );
  }),
);
holds(
  'what is pinned, not proven or from the future stays',
  fc.property(someSets, aPolicy, (sets, keep) =>
    includes(
      names(sets, keep),
      sets.filter((s) => s.pinned || !s.proven || s.time > NOW).map((s) => s.name),
    ),
  ),
);
holds(
  'a clock that jumps back deletes nothing extra',
  fc.property(someSets, aPolicy, (sets, keep) => includes(names(sets, keep, NOW - 9 * DAY), names(sets, keep))),
);
holds(
  'pruning night by night, a few at a time, keeps what pruning once in the end does',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const nights = sets.filter((s) => s.time <= NOW).sort((a, b) => a.time - b.time || (a.name < b.name ? -1 : 1));
    let left: RetainedSet[] = [];
    for (const night of nights) {
      left.push(night);
      const gone = new Set(expendable(left, keep, night.time, 2).map((s) => s.name));
      left = left.filter((s) => !gone.has(s.name));
    }
    return includes(new Set(left.map((s) => s.name)), names(nights, keep));
  }),
);
holds(
  'repeated, capped pruning ends where one without a cap does, and stays there',
  fc.property(someSets, aPolicy, (sets, keep) => {
    let left = [...sets];
    for (let i = 0; i <= sets.length; i++) {
      const gone = new Set(expendable(left, keep, NOW, 3).map((s) => s.name));
      left = left.filter((s) => !gone.has(s.name));
    }
    const stay = names(sets, keep);
    return left.length === stay.size && left.every((s) => stay.has(s.name));
  }),
);
holds(
  'failed runs displace nothing',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const failed = Array.from({ length: 7 }, (_, i) => ({ name: `failed-${i}`, time: NOW - i, proven: false }));
    const stay = names(sets, keep);
    return (
      includes(names([...sets, ...failed], keep), stay) && names([...sets, ...failed], keep).size === stay.size + 7
    );
  }),
);
holds(
  'a clock that jumps forward deletes nothing extra, and costs each tier one set at the most',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const past = sets.filter((s) => s.time <= NOW);
    const stay = names(past, keep);
    const later = names(past, keep, NOW + 3650 * DAY);
    const jumped = names([...past, { name: 'jumped', time: NOW + 3650 * DAY, proven: true }], keep, NOW + 3651 * DAY);
    return later.size === stay.size && includes(later, stay) && [...stay].filter((n) => !jumped.has(n)).length <= 4;
  }),
);
holds(
  'days, weeks and months that have a set stay covered',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const counted = countedOf(sets);
    const stay = names(sets, keep);
    const covered = (period: (set: RetainedSet) => number, n: number): boolean => {
      const wanted = [...new Set(counted.map(period))].slice(0, n);
      const have = new Set(counted.filter((s) => stay.has(s.name)).map(period));
      return wanted.every((p) => have.has(p));
    };
    const day = (s: RetainedSet): number => Math.floor(s.time / DAY);
    const month = (s: RetainedSet): number => new Date(s.time).getUTCFullYear() * 12 + new Date(s.time).getUTCMonth();
    const week = (s: RetainedSet): number => Math.floor((day(s) + 3) / 7);
    return covered(day, keep.daily) && covered(week, keep.weekly) && covered(month, keep.monthly);
  }),
);
holds(
  'what goes and what stays is everything, and a cap only shortens',
  fc.property(someSets, aPolicy, (sets, keep) => {
    const stay = names(sets, keep);
    const all = expendable(sets, keep, NOW, Number.POSITIVE_INFINITY);
    const capped = expendable(sets, keep, NOW, 3);
    return all.length + stay.size === sets.length && capped.every((set, i) => set === all[i]);
  }),
);
property.run();
