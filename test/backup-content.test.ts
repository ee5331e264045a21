import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { differences, notCompared, type SequenceValues, sequenceRanges } from '../lib/backup/content.ts';
import { missingExtensions, settingsFor } from '../lib/backup/extensions.ts';
import type { Manifest } from '../lib/backup/manifest.ts';

type Database = Manifest['databases'][string];
const database = (more: Partial<Database> = {}): Database => ({
  ...{ file: 'a.dump', bytes: 1, sha256: 'a'.repeat(64), owner: 'o', encoding: 'UTF8', collate: 'C', ctype: 'C' },
  ...{ provider: 'c', locale: null, settings: [], extensions: {}, tables: {} },
  ...{ large_objects: { rows: 0, hash: '0' }, objects: {}, grants: { rows: 1, hash: '1' }, ...more },
});
const values = (next: Record<string, bigint>, cycle = false): SequenceValues =>
  new Map(Object.entries(next).map(([name, value]) => [name, { next: value, cycle }]));

const test = suite('backup: what a proof compares');
for (const [what, from, to, found, problem] of [
  ['as it was', 5n, 5n, 5n, undefined],
  ['between its values before and after', 5n, 9n, 7n, undefined],
  ['between them, counting down', 9n, 5n, 7n, undefined],
  ['at the end of bigint', 2n ** 63n, 2n ** 63n, 2n ** 63n, undefined],
  ['behind', 5n, 9n, 4n, '"a": sequence s hands out 4 next instead of 5 to 9'],
  ['ahead', 5n, 5n, 6n, '"a": sequence s hands out 6 next instead of 5'],
  ['gone', 5n, 5n, undefined, '"a": sequence s is missing'],
] as const)
  test(`a sequence that is ${what}`, () => {
    const sequences = sequenceRanges(values({ s: from }), values({ s: to }));
    const now = values(found === undefined ? {} : { s: found });
    assert.equal(differences('a', database({ sequences }), database(), { sequences: now }), problem ? [problem] : []);
  });
test('a sequence that went round while it was dumped may have any value', () => {
  assert.equal(sequenceRanges(values({ s: 3n }, true), values({ s: 1n }, true)), {});
  assert.equal(sequenceRanges(values({ s: 3n }, true), values({ s: 3n }, true)), { s: { from: '3', to: '3' } });
});
for (const [what, before, after, problem] of [
  ['views', { views: 2 }, { views: 1 }, '"a": 1 views instead of 2'],
  ['triggers', { triggers: 1 }, {}, '"a": 0 triggers instead of 1'],
  ['invalid indexes, which are not dumped', { 'invalid indexes': 1 }, {}, undefined],
] as const)
  test(`fewer ${what}`, () => {
    const found = differences('a', database({ objects: { ...before } }), database({ objects: { ...after } }));
    assert.equal(found, problem ? [problem] : []);
  });
test('owners and grants are compared where both servers are of one version', () => {
  const other = database({ grants: { rows: 1, hash: '2' } });
  assert.equal(differences('a', database(), other), [
    '"a": owners and grants: the same number of lines, but not the same content',
  ]);
  assert.equal(differences('a', database(), other, { sameVersion: false }), []);
  assert.equal(notCompared('a', database({ sequences: {} }), false), ['"a": owners and grants']);
});
test('a set of before sequences, objects and grants were recorded is compared as far as it goes', () => {
  const { objects: _objects, grants: _grants, ...old } = database();
  assert.equal(differences('a', old, database({ objects: { views: 1 } }), { sequences: values({ s: 1n }) }), []);
  assert.equal(notCompared('a', old, true), ['"a": owners and grants', '"a": values of sequences']);
});
test('an extension that is not here is named; jobs of pg_cron stay off', () => {
  const jobs = database({ extensions: { pg_cron: '1.4', plpgsql: '1.0' } });
  assert.match(
    missingExtensions('a', jobs, new Set(['plpgsql']), 15).join('\n'),
    /^"a" needs the extension pg_cron \(1\.4\).*postgresql-15-cron$/,
  );
  const databases = { b: database(), 'odd name': jobs };
  const settings = settingsFor({ databases } as unknown as Manifest);
  assert.equal(settings, {
    shared_preload_libraries: 'pg_cron',
    'cron.database_name': 'odd name',
    'cron.launch_active_jobs': 'off',
  });
});
test.run();
