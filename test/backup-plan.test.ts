import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { differences } from '../lib/backup/content.ts';
import { compression } from '../lib/backup/dump-programs.ts';
import { databaseStatements, statementsFor, withoutTablespaces } from '../lib/backup/globals.ts';
import { type Manifest, manifestText, parseManifest, parseReport, reportText } from '../lib/backup/manifest.ts';
import { conninfo, derivedName, dumpFileOf, quoteLiteral, setName, timeOfSet } from '../lib/backup/names.ts';
import { selectDatabases } from '../lib/backup/server-facts.ts';
import { type BackupSet, sha256 } from '../lib/backup/sets.ts';
import type { SeenBackup, SeenServer } from '../lib/observe/backup.ts';
import { planPrune, planRun, planVerify } from '../lib/plan/backup.ts';
import { alarms } from '../lib/plan/backup-alarms.ts';
import { isStale, newestProven } from '../lib/plan/backup-newest.ts';

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 23, 12);

const names = suite('backup: names');
for (const [database, file] of [
  ['app', 'app.dump'],
  ['--help', '%2D-help.dump'],
  ['../x', '%2E%2E%2Fx.dump'],
  ['a\nb', 'a%0Ab.dump'],
  ['ü', '%C3%BC.dump'],
  ['.hidden', '%2Ehidden.dump'],
])
  names(`the dump of ${JSON.stringify(database)} is ${file}`, () => assert.is(dumpFileOf(database ?? ''), file));
names('a set is named by UTC and run, and its time can be read', () => {
  const name = setName(new Date(NOW + 999), '0a1b2c3d');
  assert.is(name, '20261123T120000Z-0a1b2c3d');
  assert.is(timeOfSet(name), NOW);
  assert.is(timeOfSet('notes.txt'), undefined);
});
names('connection strings quote what they hold', () => {
  assert.is(conninfo({ dbname: "a'b\\ host=evil", port: 5 }), "dbname='a\\'b\\\\ host=evil' port='5'");
});
names('literals', () => {
  assert.is(quoteLiteral("it's"), "'it''s'");
  assert.is(quoteLiteral('a\\b'), "E'a\\\\b'");
});
names('derived names fit into 63 bytes, at whole characters', () => {
  const name = derivedName('ü'.repeat(40), '__restore_0a1b2c3d');
  assert.ok(Buffer.byteLength(name) <= 63 && name.endsWith('ü__restore_0a1b2c3d'));
  assert.is(derivedName('app', '__x'), 'app__x');
});
names.run();

const globals = suite('backup: globals.sql');
const SQL = `CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER PASSWORD 'x';
CREATE ROLE "odd; one";
ALTER ROLE "odd; one" WITH LOGIN;
CREATE ROLE plain;
GRANT plain TO "odd; one" GRANTED BY postgres;
CREATE TABLESPACE fast OWNER postgres LOCATION '/ssd';
GRANT ALL ON TABLESPACE fast TO plain;`;
globals('a throw-away server gets no tablespaces, and not the role that it has', () => {
  const lines = withoutTablespaces(SQL, 'postgres').split('\n');
  assert.equal(lines.length, 5);
  assert.match(lines[0] ?? '', /^ALTER ROLE postgres/);
});
globals('missing roles are taken whole, with their memberships', () => {
  assert.equal(statementsFor(SQL, ['odd; one']), [
    'CREATE ROLE "odd; one";',
    'ALTER ROLE "odd; one" WITH LOGIN;',
    'GRANT plain TO "odd; one" GRANTED BY postgres;',
  ]);
  assert.equal(statementsFor(SQL, []), []);
});
globals('statements about a database are taken under its new name', () => {
  const sql = [
    'CREATE DATABASE app;',
    'ALTER DATABASE app OWNER TO x;',
    'ALTER DATABASE app SET a TO b;',
    'ALTER ROLE r IN DATABASE app SET c TO d;',
    'GRANT CONNECT ON DATABASE app TO r;',
    'ALTER DATABASE application SET a TO b;',
  ].join('\n');
  assert.equal(databaseStatements(sql, 'app', 'n"ew'), [
    'ALTER DATABASE "n""ew" SET a TO b;',
    'ALTER ROLE r IN DATABASE "n""ew" SET c TO d;',
    'GRANT CONNECT ON DATABASE "n""ew" TO r;',
  ]);
});
globals.run();

const content = { rows: 10, hash: '7' };
const database = (tables: Manifest['databases'][string]['tables']): Manifest['databases'][string] => ({
  ...{ file: 'a.dump', bytes: 1, sha256: 'a'.repeat(64), owner: 'o', encoding: 'UTF8', collate: 'C', ctype: 'C' },
  ...{ provider: 'c', locale: null, settings: [], extensions: {}, tables, large_objects: { rows: 0, hash: '0' } },
});
const manifest = (databases: Manifest['databases'], more: Partial<Manifest> = {}): Manifest => ({
  ...{ format: 1, run: '0a1b2c3d', lab: 'homelab', server: 'main', system_identifier: '7', started: '', finished: '' },
  ...{ versions: { server: '15.1', client: '15.1' }, bootstrap_role: 'postgres', roles: [], discovered: [] },
  ...{ excluded: [], databases, globals: { file: 'globals.sql', bytes: 1, sha256: 'b'.repeat(64) }, previous: null },
  ...more,
});

const judge = suite('backup: what is compared');
judge('equal contents have no differences', () => {
  assert.equal(differences('a', database({ t: content }), database({ t: { ...content } })), []);
});
for (const [what, tables, message] of [
  ['a missing table', {}, '"a": table t is missing'],
  ['fewer rows', { t: { rows: 9, hash: '7' } }, '"a": table t: 9 rows instead of 10'],
  ['other rows', { t: { rows: 10, hash: '8' } }, '"a": table t: the same number of rows, but not the same content'],
] as const)
  judge(`${what} is named`, () =>
    assert.equal(differences('a', database({ t: content }), database(tables)), [message]),
  );
judge('a first set raises no alarm; the first of a new lineage does', () => {
  assert.equal(alarms(manifest({}), undefined, 0), []);
  assert.match(alarms(manifest({}), undefined, 1)[0] ?? '', /system identifier is new \(7\)/);
});
const rows = (n: number): Manifest['databases'] => ({ a: database({ t: { rows: n, hash: '1' } }) });
for (const [what, before, after, count] of [
  ['the same', rows(100), rows(100), 0],
  ['a little less', rows(100), rows(81), 0],
  ['a fifth gone', rows(100), rows(79), 1],
  ['empty', rows(100), { a: database({}) }, 2],
  ['the database gone', rows(100), {}, 1],
  ['what a restore made beside is dropped', { a__restore_0123abcd: database({}), ...rows(1) }, rows(1), 0],
  ['what a restore kept is dropped', { a_before_20261127T010051Z: database({}), ...rows(1) }, rows(1), 0],
  ['a name that only looks like it', { a_before_2026: database({}), ...rows(1) }, rows(1), 1],
] as const)
  judge(`alarm: ${what}`, () => assert.is(alarms(manifest(after), manifest(before), 0).length, count));
judge('a database that is now excluded is no alarm', () => {
  assert.equal(alarms(manifest({}, { excluded: ['a'] }), manifest(rows(1)), 0), []);
});
judge('a manifest is read as it was written; a damaged one says where', () => {
  const whole = manifest(rows(3));
  assert.equal(parseManifest(manifestText(whole)), whole);
  assert.equal(parseManifest('{'), { damaged: 'it is not JSON' });
  assert.match(JSON.stringify(parseManifest(manifestText(whole).replace('"roles"', '"rolez"'))), /roles|rolez/);
});
judge('a report is sealed: any change to it shows', () => {
  const report = {
    ...{ format: 1 as const, set: 's', ok: true, checked: '', seconds: 1, server_version: '15', manifest_sha256: '' },
    ...{ databases: 1, tables: 1, rows: 1, problems: [], differences: [] },
  };
  const text = reportText(report, sha256);
  assert.equal(parseReport(text, sha256), report);
  for (let i = 0; i < text.length; i++) {
    const flipped = text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ 1) + text.slice(i + 1);
    assert.ok('damaged' in parseReport(flipped, sha256), `byte ${i}`);
  }
});
judge('what cannot be dumped must be excluded by its exact name', () => {
  const facts = { databases: ['a', 'b'].map((name) => ({ name, connectable: name === 'a' })) };
  assert.equal(selectDatabases({ name: 'main', exclude: ['b'] }, facts), { dump: ['a'], excluded: ['b'] });
  assert.throws(() => selectDatabases({ name: 'main', exclude: ['B'] }, facts), /"b" cannot be dumped/);
});
judge('include names the only ones; one that is not there is an error that says what there is', () => {
  const facts = { databases: ['app', 'b'].map((name) => ({ name, connectable: true })) };
  const selected = (include: string[]) => selectDatabases({ name: 'main', include, exclude: [] }, facts);
  assert.equal(selected(['app']), { dump: ['app'], excluded: ['b'] });
  try {
    selected(['App']);
    assert.unreachable();
  } catch (error) {
    assert.match(
      `${(error as Error).message}; ${(error as { fix?: string }).fix}`,
      /no database "App"; .*did you mean "app"\?/,
    );
  }
});
for (const [client, server, expected] of [
  [13, 13, '1'],
  [15, 15, '1'],
  [16, 15, '1'],
  [16, 16, 'zstd:3'],
  [18, 13, '1'],
  [18, 17, 'zstd:3'],
] as const)
  judge(`client ${client}, server ${server}: --compress=${expected}`, () =>
    assert.is(compression(client, server), expected),
  );
judge.run();

const set = (hours: number, more: Partial<BackupSet> = {}): BackupSet => {
  const time = NOW - hours * HOUR;
  const name = setName(new Date(time), '0a1b2c3d');
  return { name, time, server: 'main', lineage: '7', folder: `/t/${name}`, state: 'proven', ...BLANK, ...more };
};
const BLANK = { pinned: false, bytes: 0, databases: [] };
const facts = {
  ...{ ok: true as const, systemIdentifier: '7', version: '15.1', major: 15, superuser: true },
  ...{ bootstrapRole: 'postgres', roles: [], databases: [] },
};
const seen = (server: Partial<SeenServer>, more: Partial<SeenBackup> = {}): SeenBackup => ({
  ...{ now: NOW, remembered: true, newId: 'new', installations: [{ major: 15, version: '15.1', server: true }] },
  target: { ok: true, root: '/t', sentinel: { id: 'i', lab: 'homelab', created: '' }, freeBytes: 1 },
  servers: [{ name: 'main', database: facts, sets: [], ...server }],
  ...more,
});
const backup = {
  ...{ target: { export: 'n/e', path: 'p', require_nfs: true }, schedule: '0 3 * * *', max_age_hours: 26 },
  ...{ keep: { last: 1, daily: 0, weekly: 0, monthly: 0 }, postgresql: [] },
  deadlines: { run_seconds: 100, program_seconds: 50, nas_seconds: 5 },
};

const plans = suite('backup: plans');
for (const [what, sets, stale] of [
  ['no set', [], true],
  ['a fresh one', [set(1)], false],
  ['an old one', [set(27)], true],
  ['a fresh one that is not proven', [set(1, { state: 'unproven' })], true],
  ['a fresh one of another lineage', [set(1, { lineage: '8' })], true],
  ['one from the future only', [set(-500)], true],
] as const)
  plans(`--if-stale with ${what}: ${stale ? 'a new set' : 'nothing'}`, () => {
    assert.is(planRun(backup, seen({ sets: [...sets] }), { ifStale: true }).steps.length > 0, stale);
    assert.is(isStale(sets, 26, NOW, '7'), stale);
  });
plans('without --if-stale there is always a new set', () => {
  assert.is(planRun(backup, seen({ sets: [set(1)] }), { ifStale: false }).steps.length, 5);
});
plans('a new target is marked first, and everything waits for it', () => {
  const { steps } = planRun(backup, seen({}, { target: { ok: true, root: '/t', freeBytes: 1 } }), { ifStale: false });
  assert.equal([steps[0]?.id, steps[1]?.after], ['target/mark', ['target/mark']]);
});
plans('a target that is not there blocks', () => {
  const target = { ok: false as const, reason: 'not mounted', fix: 'mount it' };
  assert.equal(planRun(backup, seen({}, { target }), { ifStale: false }).notes[0]?.level, 'blocker');
});
plans('a server that does not answer keeps its steps, so that others go on', () => {
  const plan = planRun(backup, seen({ database: { ok: false, reason: 'gone' } }), { ifStale: true });
  assert.equal([plan.steps.length, plan.notes[0]?.level, plan.notes[0]?.text], [5, 'warning', 'main: gone']);
});
plans('a new system identifier is a warning, and so is a machine that cannot prove', () => {
  const plan = planRun(backup, seen({ sets: [set(1, { lineage: '8' })] }, { installations: [] }), { ifStale: false });
  assert.equal(
    plan.notes.map(({ level }) => level),
    ['warning', 'warning'],
  );
});
plans('once a new server has sets of its own, those of the one before are a note, until they are retired', () => {
  const notes = (old: Partial<BackupSet>): string[] =>
    planRun(backup, seen({ sets: [set(1), set(300, { lineage: '8', ...old })] }), { ifStale: false }).notes.map(
      ({ level, text }) => `${level}: ${text}`,
    );
  const [note = '', ...more] = notes({});
  assert.match(
    note,
    /^info: main: sets of the system identifier 8 are .* restore-postgres --server main --all --of 8 /,
  );
  assert.equal(more, []);
  assert.equal(notes({ retired: true }), []);
});
plans('a set from the future is the newest only where there is no other', () => {
  const [future, today, old] = [set(-87_600), set(1), set(50)];
  assert.is(newestProven([old, future, today], undefined, NOW)?.name, today.name);
  assert.is(newestProven([future], undefined, NOW)?.name, future.name);
  assert.is(newestProven([future, old], undefined, NOW)?.name, old.name);
});
plans('servers are dumped side by side, and proven one after another', () => {
  const servers = ['main', 'other'].map((name) => ({ name, database: facts, sets: [] }));
  const { steps } = planRun(backup, seen({}, { servers }), { ifStale: false });
  const lanes = (name: string): unknown[] => steps.filter(({ id }) => id.endsWith(name)).map(({ lane }) => lane);
  assert.equal(
    [lanes('/dump'), lanes('/prove')],
    [
      [undefined, undefined],
      ['prove', 'prove'],
    ],
  );
});
plans('databases that homelab.yaml names and the server does not have are warnings', () => {
  const there = { ...facts, databases: [{ name: 'app', connectable: true }] };
  const server = { name: 'main', host: 'db', port: 5432, user: 'postgres' };
  const config = { ...backup, postgresql: [{ ...server, exclude: ['apps'], databases: { other: { jobs: 2 } } }] };
  const { notes } = planRun(config, seen({ database: there }), { ifStale: false });
  assert.equal(
    notes.map(({ level, fix }) => [level, fix]),
    [
      ['warning', 'did you mean "app"?'],
      ['warning', 'known: app'],
    ],
  );
});
plans('prune names what it destroys, and never touches the newest of any lineage', () => {
  const sets = [set(1), set(2), set(3, { lineage: '8' }), set(4, { state: 'unproven' })];
  const { steps } = planPrune(backup, seen({ sets }));
  assert.equal(
    steps.map(({ destroys }) => destroys),
    [[`the backup ${set(2).folder}`]],
  );
});
plans('verify takes the newest of each server, or what is named', () => {
  assert.match(planVerify(seen({ sets: [set(1), set(2)] }), undefined).steps[0]?.id ?? '', new RegExp(set(1).name));
  assert.match(planVerify(seen({ sets: [set(1)] }), 'nope').notes[0]?.text ?? '', /there is no set nope/);
});
plans.run();
