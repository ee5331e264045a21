import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import { inSession } from '../lib/backup/connect.ts';
import { startScratchPostgres } from '../lib/lab/postgres.ts';
import { type Family, main } from '../lib/main.ts';
import script from '../scripts/backup-postgres.ts';
import restore from '../scripts/restore-postgres.ts';
import {
  childrenNamed,
  converges,
  holdsAfter,
  latestOf,
  lineageOf,
  lookAt,
  runScript,
  type ScriptRun,
  seeded,
  setsOf,
  startScript,
} from './backup-fault-harness.ts';
import { attach, backupLab, postgresHere, runBeats, type StartedLab } from './backup-harness.ts';
import { captured } from './fixtures/capture.ts';

/** What happens to the database and its programs while a backup runs; the target is a plain folder. */
const faults = suite('backup-postgres, with faults of the server and its programs');
const here = process.platform === 'linux' && (await postgresHere());
const one: StartedLab | undefined = here
  ? await backupLab({}, (backup) => {
      backup.keep = { last: 3, daily: 0, weekly: 0, monthly: 0 };
      const [server = {}] = backup.postgresql;
      server.include = ['app'];
      server.databases = { app: { lock_wait_seconds: 1 } };
    })
  : undefined;
faults.after(() => one?.close());
const test = (name: string, body: (lab: StartedLab) => Promise<void>): void => {
  if (one) faults(name, () => body(one));
};

/** What homelab.yaml says of the server, changed. */
function configure({ folder }: StartedLab, change: (server: Record<string, unknown>) => void): void {
  const file = join(folder, 'homelab.yaml');
  const config = parse(readFileSync(file, 'utf8')) as { backup: { postgresql: Record<string, unknown>[] } };
  for (const server of config.backup.postgresql) change(server);
  writeFileSync(file, stringify(config));
}

/** Starts a run, and kills its pg_dump with SIGKILL once the dump has so many bytes. */
async function killedDump(lab: StartedLab, bytes: number): Promise<ScriptRun> {
  let killed = 0;
  const watching = setInterval(() => {
    if (dumpedBytes(lab) < bytes) return;
    for (const pid of childrenNamed('pg_dump\0--format')) {
      process.kill(pid, 'SIGKILL');
      killed += 1;
    }
  }, 1);
  const run = await runScript(lab);
  clearInterval(watching);
  assert.ok(killed > 0, `pg_dump ended before it had written ${bytes} bytes`);
  return run;
}

function dumpedBytes(lab: StartedLab): number {
  const incoming = join(lineageOf(lab), '.incoming');
  try {
    return Math.max(...readdirSync(incoming).map((run) => statSync(join(incoming, run, 'app.dump')).size), -1);
  } catch {
    return -1;
  }
}

const BYTES = 4 * 1024 * 1024;

test('some sets are there first', async (lab) => {
  await lab.pg.seed(['app']);
  await inSession(lab.pg.address, 'app', (client) =>
    client
      // Does not compress: as many bytes in the dump.
      .query(
        `CREATE TABLE public.noise AS SELECT i AS id,
           (SELECT string_agg(sha512((i * 100 + j)::text::bytea), '') FROM generate_series(1, 16) j) AS bytes
         FROM generate_series(1, ${BYTES / 1024}) i`,
      )
      .then(() => {}),
  );
  for (let i = 0; i < 3; i++) {
    const run = await runScript(lab);
    assert.is(run.code, 0, run.stderr);
  }
  assert.is(setsOf(lab).length, 3);
  const manifest = JSON.parse(readFileSync(join(lineageOf(lab), 'sets', latestOf(lab), 'manifest.json'), 'utf8'));
  assert.equal(Object.keys(manifest.databases), ['app'], 'include names the only ones');
  assert.equal(manifest.excluded, ['postgres']);
});

test('pg_dump killed at 20 random offsets: nothing is published, and the next run converges', async (lab) => {
  const random = seeded('offsets of pg_dump');
  const before = lookAt(lab);
  for (let i = 0; i < 20; i++) {
    const run = await killedDump(lab, Math.floor(random() * BYTES * 0.7));
    holdsAfter(lab, before, run);
    assert.match(run.stderr, /database "app": pg_dump ended with exit code 137/);
    assert.is(setsOf(lab).length, 3);
  }
  await converges(lab);
  assert.is(setsOf(lab).length, 3, 'twenty failures displaced nothing; the success let the oldest go');
});

test('the server stops at once in the middle of a dump: said, nothing published; it starts again, and so does the backup', async (lab) => {
  const before = lookAt(lab);
  const data = join('/tmp', `${lab.folder.split('/').at(-1)}-pg`);
  const postmaster = Number(readFileSync(join(data, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);
  let stopped = false;
  const watching = setInterval(() => {
    if (stopped || dumpedBytes(lab) < 500_000) return;
    stopped = true;
    process.kill(postmaster, 'SIGQUIT');
  }, 1);
  const run = await runScript(lab);
  clearInterval(watching);
  assert.ok(stopped);
  holdsAfter(lab, before, run);
  assert.match(run.stderr, /pg_dump ended with exit code 1/);
  const again = await startScratchPostgres(data);
  if ('missing' in again) throw new Error(again.missing);
  lab.pg = again;
  configure(lab, (server) => {
    server.port = again.port;
  });
  await converges(lab);
});

test('a table that somebody holds exclusively: the dump waits as long as it may, and says what for', async (lab) => {
  const before = lookAt(lab);
  await inSession(lab.pg.address, 'app', async (client) => {
    await client.query('BEGIN; LOCK TABLE public.noise IN ACCESS EXCLUSIVE MODE');
    const run = await runScript(lab);
    holdsAfter(lab, before, run);
    assert.match(run.stderr, /a table was locked for longer than 1 s/);
    assert.match(run.stderr, /lock_wait_seconds/);
  });
  await converges(lab);
});

test('two runs at once: one makes a set, the other ends with 75 and names the holder', async (lab) => {
  const before = setsOf(lab);
  const runs = [startScript(lab), startScript(lab)];
  const ended = await Promise.all(runs.map((run) => run.ended));
  const codes = ended.map(({ code }) => code).sort();
  assert.equal(codes, [0, 75], ended.map(({ stderr }) => stderr).join('\n'));
  const locked = ended.find(({ code }) => code === 75);
  assert.match(locked?.stderr ?? '', /main is being backed up already \(server process \d+/);
  assert.is(setsOf(lab).length, before.length, 'one came, the oldest went');
  await converges(lab);
});

test('seven failures and a success: all old sets are there until the success, and then only the oldest goes', async (lab) => {
  const before = lookAt(lab);
  const names = setsOf(lab);
  for (let i = 0; i < 7; i++) holdsAfter(lab, before, await killedDump(lab, 100_000));
  assert.equal(setsOf(lab), names);
  await converges(lab);
  assert.equal(setsOf(lab).slice(0, 2), names.slice(1));
});

test('a clock ten years ahead, then right again, then ten years behind: no set goes for it, and LATEST comes back', async (lab) => {
  const { commands }: Family = script;
  const command = commands.find(({ name }) => name === 'run');
  if (!command) throw new Error('no run');
  const years = 3652 * 86_400_000;
  const at = async (shift: number): Promise<string> => {
    const two = attach(lab.folder, lab.pg.port);
    two.ports.clock = { ...two.ports.clock, now: () => new Date(Date.now() + shift) };
    const { failures } = await runBeats(two, command, {});
    assert.equal(failures, {});
    return latestOf(lab);
  };
  const names = setsOf(lab);
  const future = await at(years);
  assert.match(future, /^2036/);
  assert.ok(names.every((name) => setsOf(lab).includes(name)) || setsOf(lab).length >= 3);
  const now = await at(0);
  assert.is.not(now, future, 'LATEST is today’s set, not the one from 2036');
  assert.ok(setsOf(lab).includes(future), 'what is dated in the future stays');
  const kept = setsOf(lab);
  await at(-years);
  assert.equal(
    kept.filter((name) => !setsOf(lab).includes(name)),
    [],
    'a clock that is behind deletes nothing',
  );
  await converges(lab);
});

test('the run’s deadline ends what is under way, and says which', async (lab) => {
  const before = lookAt(lab);
  const file = join(lab.folder, 'homelab.yaml');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/run_seconds: \d+/, 'run_seconds: 2'));
  configure(lab, (server) => {
    server.databases = { app: { lock_wait_seconds: 60 } };
  });
  await inSession(lab.pg.address, 'app', async (client) => {
    await client.query('BEGIN; LOCK TABLE public.noise IN ACCESS EXCLUSIVE MODE');
    holdsAfter(lab, before, await runScript(lab));
  });
  writeFileSync(file, text);
  assert.equal(childrenNamed('pg_dump\0--format'), []);
  await converges(lab);
});

test('jobs: 3 makes a folder, of which every file is in the sums, and which is proven like any other', async (lab) => {
  configure(lab, (server) => {
    server.databases = { app: { jobs: 3 } };
  });
  await converges(lab);
  const set = join(lineageOf(lab), 'sets', latestOf(lab));
  const { app } = JSON.parse(readFileSync(join(set, 'manifest.json'), 'utf8')).databases;
  assert.is(app.format, 'directory');
  assert.is(app.file, 'app.dir');
  assert.ok(app.parts.length > 3 && existsSync(join(set, 'app.dir', 'toc.dat')));
  assert.is(
    app.bytes,
    app.parts.reduce((sum: number, part: { bytes: number }) => sum + part.bytes, 0),
  );
  for (const name of readdirSync(join(set, 'app.dir')))
    assert.is(statSync(join(set, 'app.dir', name)).mode & 0o777, 0o600);
  const restored = await captured(() =>
    main(restore, ['--config', join(lab.folder, 'homelab.yaml'), '--server', 'main', '--database', 'app', '--yes']),
  );
  assert.is(restored.code, 0, restored.stderr);
  assert.match(restored.stdout, /restored into app__restore_/);
  const before = lookAt(lab);
  const largest = app.parts.toSorted((a: { bytes: number }, b: { bytes: number }) => b.bytes - a.bytes)[0].file;
  const bytes = readFileSync(join(set, largest));
  const flipped = Buffer.from(bytes);
  flipped[1000] = (flipped[1000] ?? 0) ^ 1;
  writeFileSync(join(set, largest), flipped);
  const proof = readFileSync(join(set, 'verify.json'));
  const found = await runScript(lab, 'verify', latestOf(lab));
  assert.is(found.code, 1);
  assert.match(found.stderr, new RegExp(`${largest}: its SHA-256 is not`));
  writeFileSync(join(set, largest), bytes);
  writeFileSync(join(set, 'verify.json'), proof);
  assert.is((await runScript(lab, 'verify', before.latest)).code, 0);
  assert.is(latestOf(lab), before.latest);
});

faults.run();
