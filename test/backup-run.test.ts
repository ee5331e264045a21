import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { connectServer, inSession } from '../lib/backup/connect.ts';
import { takeServerLock } from '../lib/backup/lock.ts';
import { quoteIdent } from '../lib/backup/names.ts';
import { scratchBase, sweepScratch } from '../lib/backup/scratch.ts';
import type { HomelabError } from '../lib/errors.ts';
import { ODD_DATABASES } from '../lib/lab/postgres.ts';
import type { SeenBackup } from '../lib/observe/backup.ts';
import { Secrets } from '../lib/secret.ts';
import {
  type BackupLab,
  commandOf,
  failing,
  labSuite,
  latestIn,
  lineageIn,
  type Ran,
  runBeats,
  said,
  setsIn,
} from './backup-harness.ts';
import { nodeArgv } from './node-argv.ts';

/** Against a real PostgreSQL server, each step in the order of a lab's life. */
const { real, test } = await labSuite('backup-postgres, for real');
const run = (lab: BackupLab, args = {}): Promise<Ran<SeenBackup>> => runBeats(lab, commandOf('run'), args);

test('a first run makes the target, dumps every database, and proves the set', async (lab) => {
  await lab.pg.seed(ODD_DATABASES);
  const ran = await run(lab);
  assert.equal(ran.failures, {});
  assert.equal(
    ran.applied.map(({ id }) => id),
    ['target/mark', 'main/dump', 'main/publish', 'main/prove', 'main/compare', 'main/prune'],
  );
  assert.equal(
    ran.proofs.map(({ ok }) => ok),
    [true],
  );
  const [set = ''] = setsIn(lab.root);
  assert.equal(latestIn(lab.root), set);
  const manifest = JSON.parse(readFileSync(join(lineageIn(lab.root), 'sets', set, 'manifest.json'), 'utf8'));
  assert.equal(Object.keys(manifest.databases).sort(), [...ODD_DATABASES, 'postgres'].sort());
  assert.equal(manifest.databases.app.settings, ['search_path', 'work_mem']);
  assert.equal(manifest.databases.app.large_objects.rows, 3);
});

test('files are 0600, and no password is among them', async (lab) => {
  const folder = join(lineageIn(lab.root), 'sets', setsIn(lab.root)[0] ?? '');
  assert.is(statSync(folder).mode & 0o777, 0o700);
  for (const name of readdirSync(folder)) {
    assert.is(statSync(join(folder, name)).mode & 0o777, 0o600, name);
    assert.not(readFileSync(join(folder, name)).includes(lab.pg.password), name);
  }
  assert.equal(readdirSync(join(lineageIn(lab.root), '.incoming')), []);
});

test('databases that vanished are an alarm once, and nothing is pruned then', async (lab) => {
  await inSession(lab.pg.address, 'postgres', async (client) => {
    for (const name of ODD_DATABASES.slice(2)) await client.query(`DROP DATABASE ${quoteIdent(name)}`);
  });
  failing(await run(lab), ['main/compare'], /is proven, but database "--help" is gone; .*"a=b" is gone/);
  assert.is(setsIn(lab.root).length, 2);
  assert.equal((await run(lab)).failures, {});
  assert.is(setsIn(lab.root).length, 2);
});

test('--if-stale plans nothing while the newest set is fresh, and says so', async (lab) => {
  const ran = await run(lab, { ifStale: true });
  assert.equal(ran.plan.steps, []);
  assert.match(ran.plan.notes[0]?.text ?? '', /^main: \S+ is proven and \d min old; nothing to do$/);
});

test('--if-stale plans a set once it is older than max_age_hours', async (lab) => {
  const later = { ...lab.ports, clock: { ...lab.ports.clock, now: () => new Date(Date.now() + 27 * 3_600_000) } };
  const seen = await commandOf('run').observe(lab.lab, later, { ifStale: true }, lab.context);
  const plan = commandOf('run').plan(lab.lab, seen, { ifStale: true });
  assert.equal(plan.steps.length, 5);
  assert.match(plan.steps[0]?.why ?? '', /is 27\.0 h old/);
});

test('status says fresh and 0, list names the set', async (lab) => {
  const seen = await commandOf('status').observe(lab.lab, lab.ports, {}, lab.context);
  const status = commandOf('status').report?.(lab.lab, seen, {}, []);
  assert.match(status?.text ?? '', /^main: fresh: /);
  assert.is(status?.exit, undefined);
  assert.match(commandOf('list').report?.(lab.lab, seen, {}, [])?.text ?? '', /\n {2}\S{25} {2}proven .* 3 {2}last/);
});

test('rows that are written while the dump runs do not disturb the proof', async (lab) => {
  const before = setsIn(lab.root);
  let stop = false;
  const writing = inSession(lab.pg.address, 'app', async (client) => {
    for (let i = 0; !stop; i++) await client.query(`INSERT INTO "Shop ""x"""."r" ("r") VALUES ($1)`, [100_000 + i]);
  });
  const ran = await run(lab);
  stop = true;
  await writing;
  assert.equal(ran.failures, {});
  assert.is(setsIn(lab.root).length, 2, 'keep.last is 2');
  assert.is(setsIn(lab.root)[0], before[1], 'the oldest went');
});

test('a database that is locked by another run is left alone, with exit code 75', async (lab) => {
  const { client } = await connectServer(lab.pg.address);
  await takeServerLock(client, 'main');
  const before = setsIn(lab.root);
  const ran = await run(lab);
  await client.end();
  failing(ran, ['main/dump'], /is being backed up already \(server process \d+, from 127\.0\.0\.1, since /);
  assert.is((ran.failures['main/dump'] as HomelabError).exit, 75);
  assert.equal(setsIn(lab.root), before);
});

test('a wrong password is named, with the variable', async (lab) => {
  const secrets = new Secrets();
  secrets.add('POSTGRES_MAIN_PASSWORD', 'wrong-password');
  const ran = await run({ ...lab, context: { ...lab.context, secrets } });
  failing(ran, ['main/dump'], /password authentication failed.*set POSTGRES_MAIN_PASSWORD/s);
});

test('a server that does not listen fails its own steps only', async (lab) => {
  const ssh = { ...lab.ports.ssh, forward: async () => ({ port: 1, close: async () => {} }) };
  const ran = await run({ ...lab, ports: { ...lab.ports, ssh } });
  failing(ran, ['main/dump'], /ECONNREFUSED.*see whether the database runs/s);
  assert.equal(
    ran.applied.filter(({ outcome }) => outcome === 'skipped').map(({ id }) => id),
    ['main/publish', 'main/prove', 'main/compare', 'main/prune'],
  );
});

test('a target without its sentinel is refused before anything starts', async (lab) => {
  const file = join(lab.root, '.target.json');
  const text = readFileSync(file);
  await lab.ports.files.remove(file);
  const ran = await run(lab);
  writeFileSync(file, text);
  assert.equal(ran.applied, []);
  assert.match(ran.plan.notes[0]?.text ?? '', /is not empty, and has no \.target\.json/);
});

test('one flipped byte in any published file: verify says which, and the set counts no more', async (lab) => {
  const [, newest = ''] = setsIn(lab.root);
  const folder = join(lineageIn(lab.root), 'sets', newest);
  const files = readdirSync(folder);
  for (const name of files) {
    const path = join(folder, name);
    const bytes = readFileSync(path);
    const flipped = Buffer.from(bytes);
    const at = Math.floor(bytes.length / 2);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    const proof = readFileSync(join(folder, 'verify.json'));
    writeFileSync(path, flipped);
    const seen = await commandOf('list').observe(lab.lab, lab.ports, {}, lab.context);
    const set = seen.servers[0]?.sets.find(({ name: set }) => set === newest);
    if (['manifest.json', 'verify.json'].includes(name)) assert.is(set?.state, 'damaged', name);
    else {
      const ran = await runBeats(lab, commandOf('verify'), { set: newest });
      failing(ran, [`main/verify/${newest}`], /is not sound/);
      assert.match(
        (ran.failures[`main/verify/${newest}`] as HomelabError).output ?? '',
        name === 'SHA256SUMS' ? /SHA256SUMS/ : /SHA-256/,
      );
      assert.is(latestIn(lab.root), setsIn(lab.root)[0], 'LATEST is the newest that is proven');
    }
    writeFileSync(path, bytes);
    writeFileSync(join(folder, 'verify.json'), proof);
  }
  const ran = await runBeats(lab, commandOf('verify'), {});
  assert.equal(ran.failures, {});
  assert.is(latestIn(lab.root), newest);
});

test('a set whose content is not what was counted is not proven', async (lab) => {
  // The function that an index needs is not on the search path of a restore: the dump succeeds, the restore does not.
  await inSession(lab.pg.address, 'app', (client) =>
    client
      .query(
        `CREATE FUNCTION public.inner_one(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION public.outer_one(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inner_one($1); END';
         CREATE TABLE public.trap (id int); INSERT INTO public.trap VALUES (1);
         SET search_path = public; CREATE INDEX ON public.trap (public.outer_one(id))`,
      )
      .then(() => {}),
  );
  const before = latestIn(lab.root);
  const ran = await run(lab);
  failing(ran, ['main/prove'], /was published, and could not be proven/);
  assert.match((ran.failures['main/prove'] as HomelabError).output ?? '', /inner_one\(integer\) does not exist/);
  assert.is(latestIn(lab.root), before);
  assert.is(setsIn(lab.root).length, 3);
  await inSession(lab.pg.address, 'app', (client) => client.query('DROP TABLE public.trap').then(() => {}));
  assert.equal((await run(lab)).failures, {});
  assert.is(setsIn(lab.root).length, 3, 'the two newest proven sets, and the one that is not');
});

test('killed at any moment: no part of a set is published, LATEST holds, and the next run converges', async (lab) => {
  const killed: number[] = [];
  for (const milliseconds of [900, 1300, 1800, 2500]) {
    const before = latestIn(lab.root);
    const [node = '', ...argv] = nodeArgv('test/backup-child.ts');
    const child = spawn(node, [...argv, lab.folder, String(lab.pg.port)], { stdio: 'ignore' });
    killed.push(child.pid ?? 0);
    const ended = once(child, 'exit');
    const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
    await ended;
    clearTimeout(timer);
    for (const name of setsIn(lab.root)) {
      const folder = join(lineageIn(lab.root), 'sets', name);
      for (const file of ['manifest.json', 'SHA256SUMS', 'globals.sql']) assert.ok(existsSync(join(folder, file)));
    }
    const proof = join(lineageIn(lab.root), 'sets', latestIn(lab.root), 'verify.json');
    assert.ok(latestIn(lab.root) === before || existsSync(proof), 'LATEST names a proven set');
  }
  await new Promise((done) => setTimeout(done, 300));
  const ran = await run(lab);
  assert.equal(ran.failures, {}, said(ran));
  assert.equal(readdirSync(join(lineageIn(lab.root), '.incoming')), []);
  // Their servers may take a moment to end. What other runs have in the same folder is not looked at.
  const left = (): string[] =>
    readdirSync(scratchBase()).filter((name) => name.startsWith('homelab-pg-') && killed.includes(owner(name)));
  for (let i = 0; i < 100 && left().length > 0; i += 1) {
    sweepScratch();
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.equal(left(), []);
});

/** The process that made a scratch folder. */
function owner(name: string): number {
  try {
    return Number.parseInt(readFileSync(join(scratchBase(), name, 'owner.pid'), 'utf8'), 10);
  } catch {
    return Number.NaN;
  }
}

real.run();
