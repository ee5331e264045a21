import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { installations } from '../lib/backup/clients.ts';
import { inSession, programConnection } from '../lib/backup/connect.ts';
import { quoteLiteral } from '../lib/backup/names.ts';
import type { HomelabError } from '../lib/errors.ts';
import type { SeenBackup } from '../lib/observe/backup.ts';
import type { Outcome } from '../lib/ports/types.ts';
import restore from '../scripts/restore-postgres.ts';
import {
  anotherServer,
  backupLab,
  commandOf,
  initdbOnce,
  labSuite,
  latestIn,
  lineageIn,
  newestIn,
  type Ran,
  runBeats,
  type StartedLab,
  said,
  setsIn,
} from './backup-harness.ts';
import { listener, makeOddDatabase, ODD_NAME, ODD_ROLE } from './odd-database.ts';

/** Everything that a database may hold, dumped, proven and restored; and what must not be taken for proven. */
const abroad = await listener();
const { real, test } = await labSuite('backup-postgres: odd data, and damage', async () => {
  const lab = await backupLab({ wal_level: 'logical', max_wal_senders: '4' });
  lab.ports.exec = initdbOnce(lab.folder);
  return lab;
});
real.after(() => {
  abroad.server.close();
});
const run = (lab: StartedLab): Promise<Ran<SeenBackup>> => runBeats(lab, commandOf('run'), {});
const query = async (lab: StartedLab, database: string, text: string): Promise<unknown> =>
  inSession(lab.pg.address, database, async (client) => {
    const results = [await client.query({ text, rowMode: 'array' })].flat();
    return results.flatMap(({ rows }) => rows ?? []).flat();
  });
const proofOf = (folder: string): { ok: boolean; problems: string[]; not_compared: string[] } =>
  JSON.parse(readFileSync(join(folder, 'verify.json'), 'utf8')).report;

test('one of each kind of object is proven, and verify.json says what was not compared', async (lab) => {
  await makeOddDatabase(lab.pg, abroad.port);
  const ran = await run(lab);
  assert.equal(said(ran), '');
  const uncompared = proofOf(newestIn(lab.root)).not_compared.join('\n');
  for (const what of [
    /1 foreign tables: their rows are on other servers/,
    /2 materialized views: a restore computes them anew/,
    /1 invalid indexes: pg_dump leaves them out/,
    /1 subscriptions: restored disabled/,
    /materialized views were left without rows: they read foreign servers/,
    /the text of functions.* they are counted/,
  ])
    assert.match(uncompared, what);
  assert.is(latestIn(lab.root), setsIn(lab.root)[0]);
});

test('a server made anew gets all of it, and a restored subscription does not connect', async (lab) => {
  const before = abroad.connections();
  const state = (of: StartedLab): Promise<unknown[]> =>
    Promise.all([
      query(
        of,
        ODD_NAME,
        `SET TRANSACTION READ WRITE; SELECT nextval('public.set_not_called'), nextval('public.called'), nextval('public.never'), nextval('public.round')`,
      ),
      query(
        of,
        ODD_NAME,
        `SELECT array_agg(setconfig::text ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())`,
      ),
      query(
        of,
        ODD_NAME,
        `SELECT datconnlimit, shobj_description(oid, 'pg_database'), has_database_privilege('public', oid, 'CONNECT') FROM pg_database WHERE datname = current_database()`,
      ),
      query(
        of,
        'postgres',
        `SELECT rolconnlimit, rolvaliduntil, rolpassword, shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname = ${quoteLiteral(ODD_ROLE)}`,
      ),
      query(of, 'postgres', `SELECT datname, datistemplate FROM pg_database ORDER BY 1`),
      query(of, ODD_NAME, `SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' AND relname = 'computed'`),
      query(of, ODD_NAME, `SELECT s.subname, s.subenabled FROM pg_subscription s`),
    ]);
  const anew = await anotherServer(lab);
  try {
    const ran = await runBeats(anew, restore, { server: 'main', all: true, of: lineageIn(lab.root).split('/').at(-1) });
    assert.equal(said(ran), '');
    await query(lab, ODD_NAME, 'ALTER SUBSCRIPTION abroad DISABLE').catch(() => {});
    assert.equal(await state(anew), await state(lab));
  } finally {
    await anew.close();
  }
  // The two materialized views that read abroad were tried, the proof's before that; nothing else came.
  assert.ok(abroad.connections() - before <= 2, String(abroad.connections() - before));
});

test('values that change while the dump runs: rows are those of the snapshot, sequences lie between', async (lab) => {
  let stop = false;
  const writing = inSession(lab.pg.address, 'postgres', async (client) => {
    await client.query('CREATE TABLE public.busy (id bigserial, t text)');
    while (!stop) await client.query(`INSERT INTO public.busy (t) SELECT 'x' FROM generate_series(1, 7)`);
  });
  const [tools] = (await installations(lab.ports.exec)).filter(({ server }) => server);
  const pgbench = (args: string[]): Promise<Outcome> => {
    const to = programConnection(lab.pg.address, 'postgres');
    const env = { PGPASSWORD: lab.pg.password };
    return lab.ports.exec.run([join(tools?.folder ?? '', 'pgbench'), ...args, to], { env, deadline: 60 });
  };
  assert.is((await pgbench(['--initialize', '--quiet'])).code, 0);
  const load = pgbench(['--no-vacuum', '--client=2', '--time=4']);
  const ran = await run(lab);
  stop = true;
  await writing;
  assert.is((await load).code, 0);
  assert.equal(said(ran), '');
  await query(
    lab,
    'postgres',
    'DROP TABLE public.busy, pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers'.replaceAll(
      'pgbench_',
      'public.pgbench_',
    ),
  );
});

for (const [what, make, undo, message] of [
  [
    'duplicates under a unique index',
    `CREATE TABLE public.dup (a int); CREATE UNIQUE INDEX dup_a ON public.dup (a); UPDATE pg_index SET indisready = false WHERE indexrelid = 'public.dup_a'::regclass;
     INSERT INTO public.dup VALUES (7), (7); UPDATE pg_index SET indisready = true WHERE indexrelid = 'public.dup_a'::regclass`,
    'DROP TABLE public.dup',
    /"postgres" was not restored: [\s\S]*could not create unique index "dup_a"[\s\S]*\(a\)=\(…\) is duplicated/,
  ],
  [
    'an extension that is not on this machine',
    `CREATE EXTENSION citext SCHEMA public; UPDATE pg_extension SET extname = 'vector', extversion = '0.8.0' WHERE extname = 'citext'`,
    `UPDATE pg_extension SET extname = 'citext' WHERE extname = 'vector'; DROP EXTENSION citext`,
    /"postgres" needs the extension vector \(0\.8\.0\), which this machine does not have: apt install postgresql-\d+-pgvector/,
  ],
] as const)
  test(`${what}: published, not proven, and LATEST stays`, async (lab) => {
    const before = latestIn(lab.root);
    await query(lab, 'postgres', make);
    const ran = await run(lab);
    await query(lab, 'postgres', undo);
    assert.equal(Object.keys(ran.failures), ['main/prove']);
    assert.match(said(ran), message);
    assert.is(latestIn(lab.root), before);
    assert.is(proofOf(newestIn(lab.root)).ok, false);
    rmSync(newestIn(lab.root), { recursive: true });
  });

test('any file flipped, cut short, emptied or gone: it is named, and the set counts for nothing', async (lab) => {
  const folder = newestIn(lab.root);
  const set = folder.split('/').at(-1) ?? '';
  assert.is(setsIn(lab.root).length, 2);
  const files = readdirSync(folder);
  assert.ok(files.includes('globals.sql') && files.includes('SHA256SUMS') && files.length >= 6);
  for (const name of files) {
    const path = join(folder, name);
    const bytes = readFileSync(path);
    const flip = (at: number) => (): void =>
      writeFileSync(
        path,
        bytes.map((byte, i) => (i === at ? byte ^ 0x10 : byte)),
      );
    const damages: [string, () => void][] = [
      ...[0, bytes.length >> 1, bytes.length - 1].map((at): [string, () => void] => [`byte ${at}`, flip(at)]),
      ['one byte shorter', () => truncateSync(path, bytes.length - 1)],
      ['empty', () => truncateSync(path, 0)],
      ['gone', () => rmSync(path)],
    ];
    const proof = readFileSync(join(folder, 'verify.json'));
    for (const [how, damage] of damages) {
      damage();
      const what = `${name}: ${how}`;
      const own = name === 'manifest.json' || name === 'verify.json';
      if (!own) {
        const { failures } = await runBeats(lab, commandOf('verify'), { set });
        const error = failures[`main/verify/${set}`] as HomelabError | undefined;
        assert.match(error?.message ?? '', /is not sound/, what);
        assert.ok(error?.output?.includes(name), what);
        assert.is(latestIn(lab.root), setsIn(lab.root)[0], what);
      }
      const { servers } = await commandOf('list').observe(lab.lab, lab.ports, {}, lab.context);
      const seen = servers[0]?.sets.find((one) => one.name === set);
      assert.is.not(seen?.state ?? 'proven', 'proven', what);
      assert.ok(
        seen?.problem?.includes(name) || (how === 'gone' && name === 'verify.json'),
        `${what}: ${seen?.problem}`,
      );
      writeFileSync(path, bytes);
      writeFileSync(join(folder, 'verify.json'), proof);
    }
  }
  assert.equal((await runBeats(lab, commandOf('verify'), { set })).failures, {});
  assert.is(latestIn(lab.root), set);
});
real.run();
