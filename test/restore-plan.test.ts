import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { packageOf } from '../lib/backup/extensions.ts';
import { statementsFor, statementsOf, withoutGrantor } from '../lib/backup/globals.ts';
import type { Manifest } from '../lib/backup/manifest.ts';
import { spelled } from '../lib/backup/names.ts';
import { createDatabase } from '../lib/backup/restore.ts';
import type { BackupSet } from '../lib/backup/sets.ts';
import type { Backup } from '../lib/config/schema.ts';
import { theServer } from '../lib/observe/backup.ts';
import { planRestore, type RestoreArgs, type SeenRestore } from '../lib/plan/restore.ts';

const NOW = Date.UTC(2026, 10, 23, 12);

const database = (more: Partial<Manifest['databases'][string]> = {}): Manifest['databases'][string] => ({
  ...{ file: 'a.dump', bytes: 1, sha256: 'a'.repeat(64), owner: 'o', encoding: 'UTF8', collate: 'C', ctype: 'C' },
  ...{
    provider: 'c',
    locale: null,
    settings: [],
    extensions: { plpgsql: '1.0' },
    tables: { t: { rows: 5, hash: '1' } },
  },
  ...{ large_objects: { rows: 0, hash: '0' }, objects: { indexes: 1 }, ...more },
});
const manifest = (databases: Manifest['databases'], server = '15.1', client = server): Manifest => ({
  ...{ format: 1, run: '0a1b2c3d', lab: 'homelab', server: 'main', system_identifier: '7', started: '', finished: '' },
  ...{ versions: { server, client }, bootstrap_role: 'postgres', roles: ['postgres', 'app'], discovered: [] },
  ...{ excluded: [], databases, globals: { file: 'globals.sql', bytes: 1, sha256: 'b'.repeat(64) }, previous: null },
});
const set = (whole: Manifest, more: Partial<BackupSet> = {}): BackupSet => ({
  ...{ name: '20261123T030000Z-0a1b2c3d', time: NOW - 9 * 3_600_000, server: 'main', lineage: '7', folder: '/t' },
  ...{ state: 'proven', pinned: false, bytes: 1, databases: Object.keys(whole.databases), manifest: whole, ...more },
});
const seen = (sets: BackupSet[], has: string[] = [], empty: string[] = []): SeenRestore => ({
  ...{ now: NOW, remembered: true, newId: 'new', installations: [{ major: 15, version: '15.1', server: true }] },
  target: { ok: true, root: '/t', sentinel: { id: 'i', lab: 'homelab', created: '' }, freeBytes: 1 },
  servers: [
    {
      ...{ name: 'main', sets },
      database: {
        ...{ ok: true, systemIdentifier: '7', version: '15.1', major: 15, superuser: true, bootstrapRole: 'postgres' },
        ...{ roles: ['postgres'], databases: has.map((name) => ({ name, connectable: true })) },
      },
    },
  ],
  ...{ runId: '0a0b0c0d', there: ['main', 'old'] },
  occupancy: { databases: Object.fromEntries(has.map((name) => [name, { sessions: 2, empty: empty.includes(name) }])) },
});
const args = (more: Partial<RestoreArgs>): RestoreArgs => ({ server: 'main', ...more });

const servers = suite('restore: into which server');
for (const [has, named, found] of [
  [['main'], undefined, 'main'],
  [['main', 'media'], 'media', 'media'],
  [['main', 'media'], undefined, /^which server is meant\? backup\.postgresql has main, media$/],
  [['main'], 'media', /^--server media: backup\.postgresql has no such server; /],
] as const)
  servers(`${named ?? 'none named'}, of ${has.join(' and ')}`, () => {
    const backup = { postgresql: has.map((name) => ({ name })) } as unknown as Backup;
    if (typeof found === 'string') assert.is(theServer(backup, named).name, found);
    else assert.throws(() => theServer(backup, named), found);
  });
servers.run();

const plans = suite('restore: plans');
const one = set(manifest({ app: database() }));
for (const [what, has, empty, more, steps, typed] of [
  ['nothing in its place', [], [], {}, 'hash roles app/restore app/compare app/place', undefined],
  ['an empty one', ['app'], ['app'], {}, 'hash roles app/restore app/compare app/place', undefined],
  ['one with data', ['app'], [], {}, 'hash roles app/restore app/compare', undefined],
  [
    'one with data, and --swap',
    ['app'],
    [],
    { swap: true },
    'hash roles app/restore app/compare app/place',
    ['app', '7'],
  ],
] as const)
  plans(`a database goes where there is ${what}`, () => {
    const plan = planRestore(seen([one], [...has], [...empty]), args({ database: ['app'], ...more }));
    assert.is(plan.steps.map(({ id }) => id.replace('main/', '')).join(' '), steps);
    assert.equal(plan.steps.at(-1)?.confirm, typed);
    assert.is(
      plan.steps.some(({ destroys }) => destroys),
      typed !== undefined,
    );
  });

plans('a server without a set: the names that have some are told', () => {
  const [note] = planRestore(seen([]), args({ all: true })).notes;
  assert.is(note?.text, '/t holds no set of main');
  assert.match(
    note?.fix ?? '',
    /^it holds sets of old: to restore one of these, call the server so in backup\.postgresql/,
  );
});
plans('whose backup is wanted is asked while there are sets of another server, until these are retired', () => {
  const other = set(manifest({ app: database() }), { lineage: '6', name: 'other' });
  const [note] = planRestore(seen([one, other]), args({ all: true })).notes;
  assert.match(note?.text ?? '', /^whose backup is wanted\?/);
  const plan = planRestore(seen([one, { ...other, retired: true }]), args({ all: true }));
  assert.equal([plan.notes, plan.steps[0]?.id], [[], 'main/hash']);
});
plans('--all and --database are a wrong call', () => {
  assert.throws(() => planRestore(seen([one]), args({ all: true, database: ['app'] })), /were both given/);
});

for (const [what, whole, refusal, fix] of [
  [
    'a server that is older than the set',
    manifest({ app: database() }, '16.2'),
    'main is PostgreSQL 15.1, older than 16.2',
    'run PostgreSQL 16 or newer there',
  ],
  [
    'a set that no pg_restore here can read',
    manifest({ app: database() }, '15.1', '17.0'),
    'the set was written by pg_dump 17.0; this machine has only 15.1',
    'apt install postgresql-client-17',
  ],
] as const)
  plans(`refused: ${what}`, () => {
    const [note] = planRestore(seen([set(whole)]), args({ all: true })).notes;
    assert.is(note?.level, 'blocker');
    assert.ok(note?.text.includes(refusal) && note.fix?.includes(fix), `${note?.text} (${note?.fix})`);
  });

plans('a database may be given as it is shown', () => {
  const odd = set(manifest({ '--help': database(), '%2D-help': database() }));
  const placed = (name: string): string | undefined =>
    planRestore(seen([odd]), args({ database: [name] })).steps.at(-1)?.title;
  assert.match(placed('--help') ?? '', /to %2D-help$/);
  assert.match(placed('%2D-help') ?? '', /to %252D-help$/, 'a name that is there is meant itself');
  assert.match(placed('%252D-help') ?? '', /to %252D-help$/);
});

plans('--all leaves what the set has nothing of and the server has, and says so', () => {
  const bare = database({ tables: {}, objects: {} });
  const plan = planRestore(
    seen([set(manifest({ postgres: bare, app: database() }))], ['postgres'], ['postgres']),
    args({ all: true }),
  );
  assert.not(plan.steps.some(({ id }) => id.includes('postgres')));
  assert.ok(plan.notes.some(({ text }) => text.startsWith('postgres: the set has nothing in it')));
  const nothing = planRestore(seen([set(manifest({ postgres: bare }))], ['postgres']), args({ all: true }));
  assert.equal([nothing.steps.length, nothing.notes[0]?.level], [0, 'warning']);
});

plans('a set that holds less than the one before is a warning, and names that one', () => {
  const before = set(manifest({ app: database({ tables: { t: { rows: 500, hash: '1' } } }) }), {
    time: NOW - 40 * 3_600_000,
    name: 'before',
  });
  const [note] = planRestore(seen([one, before]), args({ all: true })).notes;
  assert.is(note?.text, `${one.name} holds less than the set before: database "app" has 5 rows; it had 500`);
  assert.match(note?.fix ?? '', /before$/);
});
plans.run();

const text = suite('restore: names and statements');
for (const [name, shown] of [
  ['app', 'app'],
  ['größe_1', 'größe_1'],
  ['a,b', 'a%2Cb'],
  ['-x', '%2Dx'],
  ['new\nline', 'new%0Aline'],
] as const)
  text(`${JSON.stringify(name)} is shown, and typed, as ${shown}`, () => assert.is(spelled(name), shown));
for (const [what, more, end] of [
  ['libc', {}, ''],
  ['ICU', { provider: 'i', locale: 'de' }, " LOCALE_PROVIDER icu ICU_LOCALE 'de'"],
  [
    'ICU with rules',
    { provider: 'i', locale: 'de', icu_rules: '&a < b' },
    " LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < b'",
  ],
  ['its own provider', { provider: 'b', locale: 'C.UTF-8' }, " LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"],
] as const)
  text(`a database with the collation of ${what} is made like it was`, () => {
    const made = createDatabase('a "b"', database(more));
    assert.is(
      made,
      `CREATE DATABASE "a ""b""" OWNER "o" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'${end}`,
    );
  });
text('statements end where they end, whatever stands in quotes', () => {
  const sql = `-- a; comment\n\\restrict x;y\nCREATE ROLE "a;\n""b""";\nCOMMENT ON ROLE x IS 'it''s; --\nhere';\nALTER ROLE x PASSWORD E'\\';';\n`;
  assert.equal(statementsOf(sql), [
    '\\restrict x;y',
    'CREATE ROLE "a;\n""b""";',
    "COMMENT ON ROLE x IS 'it''s; --\nhere';",
    "ALTER ROLE x PASSWORD E'\\';';",
  ]);
});
text('privileges on parameters come along with a role, those on tablespaces do not', () => {
  const sql = 'GRANT SET ON PARAMETER x TO app GRANTED BY postgres;\nGRANT ALL ON TABLESPACE y TO app;';
  assert.equal(statementsFor(sql, ['app']), ['GRANT SET ON PARAMETER x TO app GRANTED BY postgres;']);
});
text('a grantor can be left out', () => {
  assert.is(withoutGrantor('GRANT a TO b WITH ADMIN OPTION GRANTED BY "c ""d""";'), 'GRANT a TO b WITH ADMIN OPTION;');
});
for (const [extension, fix] of [
  ['hstore', 'apt install postgresql-16 postgresql-contrib'],
  ['postgis_topology', 'apt install postgresql-16-postgis-3'],
  ['pg_cron', 'apt install postgresql-16-cron'],
  ['some_thing', 'install its package for PostgreSQL 16 (often postgresql-16-some-thing)'],
] as const)
  text(`what to install for ${extension}`, () => assert.is(packageOf(extension, 16), fix));
text.run();
