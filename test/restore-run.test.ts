import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { connect, inSession } from '../lib/backup/connect.ts';
import { quoteIdent } from '../lib/backup/names.ts';
import { swapDatabases } from '../lib/backup/swap.ts';
import { HomelabError } from '../lib/errors.ts';
import { ODD_DATABASES } from '../lib/lab/postgres.ts';
import type { Script } from '../lib/main.ts';
import type { RestoreArgs, SeenRestore } from '../lib/plan/restore.ts';
import restore from '../scripts/restore-postgres.ts';
import { anotherServer, commandOf, labSuite, type Ran, runBeats, type StartedLab } from './backup-harness.ts';
import { nodeArgv } from './node-argv.ts';

/** Against a real PostgreSQL server. */
const { real, test } = await labSuite('restore-postgres, for real');

const TABLE = '"Shop ""x"""."r"';
const ROWS = `SELECT count(*) FROM ${TABLE}`;
const script: Script<SeenRestore, RestoreArgs> = restore;
const run = (lab: StartedLab, args: Partial<RestoreArgs>): Promise<Ran<SeenRestore>> =>
  runBeats(lab, script, { server: 'main', ...args });
const blocker = ({ plan }: Ran<SeenRestore>): string => {
  const note = plan.notes.find(({ level }) => level === 'blocker');
  return `${note?.text} (${note?.fix})`;
};
const query = async (lab: StartedLab, database: string, text: string): Promise<Record<string, string>[]> =>
  inSession(lab.pg.address, database, async (client) => (await client.query<Record<string, string>>(text)).rows);
const databases = async (lab: StartedLab): Promise<string[]> =>
  (await query(lab, 'postgres', 'SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1')).map((row) =>
    String(row.datname),
  );
const identifier = async (lab: StartedLab): Promise<string> =>
  String((await query(lab, 'postgres', 'SELECT system_identifier AS id FROM pg_control_system()'))[0]?.id);
const failure = (ran: Ran<SeenRestore>, step: string): HomelabError => {
  assert.equal(Object.keys(ran.failures), [step]);
  const error = ran.failures[step];
  assert.instance(error, HomelabError);
  return error as HomelabError;
};
const takeBackup = async (lab: StartedLab): Promise<Record<string, unknown>> =>
  (await runBeats(lab, commandOf('run'), {})).failures;
const folderOf = async (lab: StartedLab): Promise<string> => {
  const sets = join(lab.root, 'main', await identifier(lab), 'sets');
  return join(sets, readdirSync(sets).sort()[0] ?? '');
};

test('without a proven set nothing is restored', async (lab) => {
  await lab.pg.seed(ODD_DATABASES);
  assert.match(
    blocker(await run(lab, { database: ['app'] })),
    /holds no set of main \(backup-postgres run makes one\)$/,
  );
  assert.equal(await takeBackup(lab), {});
});

test('which database has to be said, and what there are is', async (lab) => {
  assert.match(
    blocker(await run(lab, {})),
    /^it was not said which database is wanted \(add --database NAME, or --all; \S+ has: .*%2D-help.*app/,
  );
  assert.match(blocker(await run(lab, { database: ['App'] })), /has no database "App" \(did you mean "app"\?\)/);
  const missing = '20200101T000000Z-00000000';
  assert.match(blocker(await run(lab, { database: ['app'], set: missing })), /^main has no set 20200101T000000Z/);
  assert.match(
    blocker(await run(lab, { all: true, of: '123' })),
    /^there are no sets of the server 123 \(there are: \d+ /,
  );
});

test('a restore goes into a fresh database, and leaves the old one alone', async (lab) => {
  await query(lab, 'app', `DELETE FROM ${TABLE} WHERE "r" > 10`);
  const before = await databases(lab);
  const ran = await run(lab, { database: ['app'] });
  assert.equal(ran.failures, {});
  assert.equal(
    ran.applied.map(({ id }) => id),
    ['main/hash', 'main/app/restore', 'main/app/compare'],
  );
  assert.match(ran.plan.notes[0]?.text ?? '', /^app stays as it is: it is not empty/);
  const added = (await databases(lab)).filter((name) => !before.includes(name));
  assert.equal(added, [`app__restore_${ran.seen.runId}`]);
  assert.equal(await query(lab, added[0] ?? '', ROWS), [{ count: '2000' }]);
  assert.equal(await query(lab, 'app', ROWS), [{ count: '10' }]);
  assert.equal(
    ran.proofs.map(({ ok }) => ok),
    [true],
  );
});

test('--swap asks for the names of the database and of the system, and says what it ends', async (lab) => {
  const session = inSession(lab.pg.address, 'app', async (client) => {
    await client.query('SELECT pg_sleep(0.5)');
  });
  const seen = await script.observe(lab.lab, lab.ports, { server: 'main', database: ['app'], swap: true }, lab.context);
  const { steps, notes } = script.plan(lab.lab, seen, { server: 'main', database: ['app'], swap: true });
  await session;
  assert.equal(steps.at(-1)?.confirm, ['app', await identifier(lab)]);
  assert.match(
    steps.at(-1)?.destroys?.[0] ?? '',
    /^to applications, app as it is now: they reach the restored one, and it is kept as app_before_\S+ \(1 session on it will be ended\)/,
  );
  assert.match(notes[0]?.text ?? '', /^1 session on app of main will be ended/);
  assert.match(notes[1]?.text ?? '', /beside the original, or by a run that did not end: app__restore_/);
  assert.match(notes[1]?.fix ?? '', /DROP DATABASE "app__restore_/);
});

test('--swap exchanges the names under clients that connect again at once, and keeps the old database', async (lab) => {
  let stop = false;
  const client = async (): Promise<void> => {
    while (!stop) await inSession(lab.pg.address, 'app', (c) => c.query('SELECT pg_sleep(60)')).catch(() => {});
  };
  const clients = Array.from({ length: 4 }, client);
  const ran = await run(lab, { database: ['app'], swap: true });
  stop = true;
  await query(
    lab,
    'postgres',
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep.60' AND pid <> pg_backend_pid()",
  );
  await Promise.all(clients);
  assert.equal(ran.failures, {});
  assert.equal(await query(lab, 'app', ROWS), [{ count: '2000' }]);
  const kept = (await databases(lab)).filter((name) => name.startsWith('app_before_'));
  assert.is(kept.length, 1);
  assert.equal(await query(lab, kept[0] ?? '', ROWS), [{ count: '10' }]);
  assert.match(
    script.report?.(lab.lab, ran.seen, { server: 'main', database: ['app'], swap: true }, ran.applied)?.text ?? '',
    /^app: is the restored one; the old one is app_before_/,
  );
});

test('owner, settings and missing roles come along, and a name that is free is taken', async (lab) => {
  for (const name of (await databases(lab)).filter((one) => one !== 'postgres'))
    await query(lab, 'postgres', `DROP DATABASE ${quoteIdent(name)}`);
  await query(lab, 'postgres', `DROP ROLE "read ""only"""; DROP ROLE app_owner; DROP ROLE "d'Artagnan; --"`);
  const ran = await run(lab, { database: ['app'] });
  assert.equal(ran.failures, {});
  assert.ok(ran.applied.some(({ id }) => id === 'main/roles'));
  assert.equal(await databases(lab), ['app', 'postgres']);
  const settings = await query(
    lab,
    'postgres',
    `SELECT unnest(setconfig) AS s, pg_get_userbyid(datdba) AS owner FROM pg_db_role_setting r JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'app' ORDER BY 1`,
  );
  assert.equal(settings, [
    { s: 'search_path=shop, public', owner: 'app_owner' },
    { s: 'work_mem=8MB', owner: 'app_owner' },
  ]);
  const grants = `SELECT pg_has_role('read "only"', 'app_owner', 'member') AS member, has_table_privilege('read "only"', '${TABLE}', 'SELECT') AS read`;
  assert.equal(JSON.stringify(await query(lab, 'app', grants)), '[{"member":true,"read":true}]');
});

test('a server made anew: --all asks whose sets, then brings back roles and every database', async (lab) => {
  const anew = await anotherServer(lab);
  try {
    const old = await identifier(lab);
    // What the chart of a database makes by itself.
    await query(anew, 'postgres', 'CREATE DATABASE app');
    assert.match(
      blocker(await run(anew, { all: true })),
      new RegExp(`^whose backup is wanted\\? ${old}: \\S+, 7 databases, \\d+ rows \\(add --of ${old} for \\d+ rows\\)`),
    );
    const set = (await folderOf(lab)).split('/').at(-1) ?? '';
    assert.match(
      blocker(await run(anew, { all: true, set })),
      new RegExp(`^${set} is of the server ${old}; main, as it runs now, is \\d+ \\(.*--of ${old}`),
    );
    const ran = await run(anew, { all: true, of: old });
    assert.equal(ran.failures, {});
    assert.ok(
      ran.plan.steps.every(({ destroys }) => !destroys),
      'nothing that was there is lost',
    );
    assert.equal(
      ran.proofs.map(({ ok }) => ok),
      ODD_DATABASES.map(() => true),
    );
    const now = await databases(anew);
    assert.equal(
      now.filter((name) => !/^app_before_/.test(name)),
      [...ODD_DATABASES, 'postgres'].sort(),
    );
    assert.is(now.length, ODD_DATABASES.length + 2, 'the empty one is kept');
    for (const name of ODD_DATABASES) assert.equal(await query(anew, name, ROWS), [{ count: '2000' }], name);
    // Once more: everything is there, and stays.
    const again = await run(anew, { all: true, of: old, set });
    assert.equal(
      again.plan.steps.filter(({ id }) => id.endsWith('/place')),
      [],
    );
  } finally {
    await anew.close();
  }
});

test('a database that is made while it is restored is not replaced', async (lab) => {
  const id = await identifier(lab);
  await query(lab, 'postgres', 'CREATE DATABASE late; ').then(() =>
    query(lab, 'postgres', 'CREATE DATABASE late_into'),
  );
  const swap = { database: 'late', into: 'late_into', before: 'late_before', systemIdentifier: id };
  const refused = (over: 'nothing' | 'empty'): Promise<unknown> =>
    swapDatabases(lab.pg.address, { ...swap, over }).then(
      () => 'replaced',
      (error) => error.message,
    );
  assert.match(String(await refused('nothing')), /"late" was made, or filled, meanwhile/);
  await query(lab, 'late', 'CREATE TABLE public.t ()');
  assert.match(String(await refused('empty')), /"late" was made, or filled, meanwhile/);
  const other = swapDatabases(lab.pg.address, { ...swap, systemIdentifier: '1', over: 'any' });
  assert.match(String(await other.catch((error) => error.message)), /is another server now/);
  assert.equal(
    (await databases(lab)).filter((name) => name.startsWith('late')),
    ['late', 'late_into'],
  );
  for (const name of ['late', 'late_into']) await query(lab, 'postgres', `DROP DATABASE ${name}`);
});

test('the database postgres is exchanged too', async (lab) => {
  await query(lab, 'postgres', 'CREATE TABLE public.kept (id int); INSERT INTO public.kept VALUES (1)');
  await query(lab, 'template1', 'CREATE DATABASE filled; ');
  const id = await identifier(lab);
  await swapDatabases(lab.pg.address, {
    database: 'postgres',
    into: 'filled',
    before: 'pg_was',
    systemIdentifier: id,
    over: 'any',
  });
  assert.equal(await query(lab, 'pg_was', 'SELECT id::text FROM public.kept'), [{ id: '1' }]);
  const back = { database: 'postgres', into: 'pg_was', before: 'filled', systemIdentifier: id, over: 'any' as const };
  await swapDatabases(lab.pg.address, back);
  await query(lab, 'postgres', 'DROP TABLE public.kept').then(() => query(lab, 'postgres', 'DROP DATABASE filled'));
});

test('names of 63 bytes that are alike stay apart', async (lab) => {
  const long = ['a', 'b'].map((end) => `${'n'.repeat(62)}${end}`);
  for (const name of long) await query(lab, 'postgres', `CREATE DATABASE ${name}`);
  for (const name of long) await query(lab, name, `CREATE TABLE public.t AS SELECT '${name}'::text AS name`);
  assert.equal(
    await takeBackup(lab).then((failures) => Object.keys(failures)),
    ['main/compare'],
    'databases went before',
  );
  const ran = await run(lab, { database: long, swap: true });
  assert.equal(ran.failures, {});
  for (const name of long) assert.equal(await query(lab, name, 'SELECT name FROM public.t'), [{ name }]);
  const kept = (await databases(lab)).filter((name) => /^n+_before_/.test(name));
  assert.is(kept.length, 2);
  for (const name of [...long, ...kept]) await query(lab, 'postgres', `DROP DATABASE ${quoteIdent(name)}`);
});

for (const [what, damage, message] of [
  ['truncated', (bytes: Buffer) => bytes.subarray(0, bytes.length - 1), /^app\.dump: its SHA-256/],
  ['flipped', (bytes: Buffer) => Buffer.from(bytes.map((b, i) => (i === 99 ? b ^ 1 : b))), /^app\.dump: its SHA-256/],
  ['missing', () => undefined, /^app\.dump: it is missing/],
] as const)
  test(`a dump that is ${what} is refused before anything is made; what else is in the set can be had`, async (lab) => {
    const dump = join(await folderOf(lab), 'app.dump');
    const set = dump.split('/').at(-2);
    const bytes = readFileSync(dump);
    const damaged = damage(bytes);
    if (damaged) writeFileSync(dump, damaged);
    else rmSync(dump);
    const before = await databases(lab);
    const refused = await run(lab, { set, database: ['a=b'] });
    const other = await run(lab, { set, database: ['a=b'], unproven: true });
    const itself = await run(lab, { set, database: ['app'], unproven: true });
    writeFileSync(dump, bytes);
    assert.match(failure(refused, 'main/hash').output ?? '', message);
    assert.match(failure(itself, 'main/hash').output ?? '', message);
    assert.equal(other.failures, {});
    assert.equal(
      (await databases(lab)).filter((name) => !before.includes(name)),
      ['a=b'],
    );
    await query(lab, 'postgres', 'DROP DATABASE "a=b"');
  });

test('a set that was never proven needs a word for it, one that is another’s is never taken', async (lab) => {
  const folder = await folderOf(lab);
  const set = folder.split('/').at(-1);
  const proof = readFileSync(join(folder, 'verify.json'));
  rmSync(join(folder, 'verify.json'));
  const never = await run(lab, { set, database: ['app'] });
  const taken = await run(lab, { set, database: ['app'], unproven: true });
  writeFileSync(join(folder, 'verify.json'), proof);
  assert.match(
    blocker(never),
    /is unproven: it was never restored; nothing is restored from it \(backup-postgres verify/,
  );
  assert.equal(taken.failures, {});
  const manifest = readFileSync(join(folder, 'manifest.json'), 'utf8');
  writeFileSync(join(folder, 'manifest.json'), manifest.replace('"server": "main"', '"server": "other"'));
  const other = await run(lab, { set, database: ['app'], unproven: true });
  writeFileSync(join(folder, 'manifest.json'), manifest);
  assert.match(blocker(other), /is damaged: .*nothing can be restored from it/);
});

for (const signal of ['SIGKILL', 'SIGINT'] as const)
  test(`${signal} in the middle: nothing is renamed, and what is left is named`, async (lab) => {
    const before = (await databases(lab)).filter((name) => name.includes('__restore_'));
    const [node = '', ...argv] = nodeArgv('test/restore-child.ts');
    const child = spawn(node, [...argv, lab.folder, String(lab.pg.port)], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text) => {
      said += text;
    });
    const ended = once(child, 'exit');
    // The new database is there: its restore is under way, and held up by a lock that we took.
    const watcher = await connect(lab.pg.address, 'postgres');
    let into: string | undefined;
    for (let i = 0; i < 600 && !into && child.exitCode === null; i++) {
      into = (await databases(lab)).find((name) => /__restore_/.test(name) && !before.includes(name));
      await new Promise((done) => setTimeout(done, 10));
    }
    child.kill(signal);
    await ended;
    await watcher.end();
    assert.ok(into);
    const ran = await script.observe(lab.lab, lab.ports, { server: 'main', database: ['app'] }, lab.context);
    const { notes } = script.plan(lab.lab, ran, { server: 'main', database: ['app'] });
    const note = notes.find(({ text }) => text.includes('by a run that did not end'));
    assert.ok(note?.text.includes(into ?? ''), note?.text);
    assert.ok(note?.fix?.includes(`DROP DATABASE "${into}"`));
    assert.equal(
      (await databases(lab)).filter((name) => /_before_/.test(name)),
      [],
    );
    if (signal === 'SIGINT')
      assert.match(said, /nothing was renamed; to remove it: DROP DATABASE IF EXISTS "app__restore_/);
  });

real.run();
