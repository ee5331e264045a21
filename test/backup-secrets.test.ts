import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { postgresHere } from './backup-harness.ts';
import { type ScriptLab, scriptLab } from './backup-script.ts';

/**
 * Where the database's password and the healthcheck's URL may not stand: in the arguments or the environment of any
 * program that a run starts, in what it prints, writes and tells; and who may read what it leaves.
 */
const test = suite('backup-postgres: secrets');
const recorder = (await postgresHere()) ? compiled() : undefined;
const lab: ScriptLab | undefined = recorder && (await scriptLab());
test.after(async () => {
  await lab?.close();
  if (recorder) rmSync(recorder.folder, { recursive: true });
});

/** A library that records every exec; undefined where there is no C compiler, or libraries cannot be preloaded. */
function compiled(): { folder: string; library: string; log: string } | undefined {
  if (process.platform !== 'linux') return skipped('libraries are preloaded on Linux only');
  const folder = mkdtempSync('/tmp/homelab-recorder-');
  // The throw-away server runs as somebody else, and starts programs too.
  chmodSync(folder, 0o755);
  const [library, log] = [join(folder, 'recorder.so'), join(folder, 'log')];
  writeFileSync(log, '');
  chmodSync(log, 0o666);
  const source = fileURLToPath(new URL('./exec-recorder.c', import.meta.url));
  const defines = [`-DLOG="${log}"`, `-DSELF="${library}"`];
  const { status } = spawnSync('cc', ['-shared', '-fPIC', '-O1', ...defines, '-o', library, source, '-ldl']);
  return status === 0 ? { folder, library, log } : skipped('there is no C compiler');
}

function skipped(why: string): undefined {
  if ((process.env.HOMELAB_REQUIRE ?? '').split(',').includes('postgres')) throw new Error(why);
  console.log(`skipped: ${why}`);
  return undefined;
}

if (lab && recorder) {
  const PASSWORD = lab.pg.password;
  const holds = (text: string): string[] =>
    [PASSWORD, lab.pingKey, Buffer.from(PASSWORD).toString('base64'), encodeURIComponent(PASSWORD)].filter((secret) =>
      text.includes(secret),
    );
  const preloaded = { env: { LD_PRELOAD: recorder.library } };
  const clean = (what: string, text: string): void => assert.equal(holds(text), [], what);

  test('no program gets a secret in its arguments or its environment, whatever becomes of the run', async () => {
    await lab.pg.seed(['app']);
    const good = await lab.script(['run', '--yes', '--verbose'], preloaded);
    assert.is(good.code, 0, good.stderr);
    // Every kind of failure that has the password in its hands: refused, an odd answer, a program that fails.
    lab.configure((raw) => {
      raw.backup.postgresql[0].user = 'app_owner';
    });
    const refused = await lab.script(['run', '--yes', '--verbose', '--json'], preloaded);
    assert.is(refused.code, 1);
    lab.configure();
    for (const { stdout, stderr } of [good, refused]) clean('output', stdout + stderr);

    const programs = readFileSync(recorder.log, 'utf8').split('\n');
    for (const name of ['pg_dump', 'pg_dumpall', 'pg_restore', 'initdb', 'postgres', 'psql', 'notify.sh'])
      assert.ok(
        programs.some((line) => line.split('\x01').some((word) => word.includes(name))),
        `${name} was seen`,
      );
    for (const line of programs) clean('a program', line);
  });

  test('a notice, a ping and the metrics hold no secret, though the error does', async () => {
    // An error that quotes what it was given: the user's name is the password.
    lab.configure((raw) => {
      raw.backup.postgresql[0].user = PASSWORD;
    });
    const { code, stderr } = await lab.script(['run', '--yes']);
    lab.configure();
    assert.is(code, 1);
    assert.match(stderr, 'user [secret POSTGRES_MAIN_PASSWORD]: password authentication failed');
    clean('stderr', stderr);
    const { notices, pings } = lab.told();
    assert.match(notices.at(-1)?.problems[0]?.message ?? '', '[secret POSTGRES_MAIN_PASSWORD]');
    clean('notices', JSON.stringify(notices));
    clean('bodies of pings', JSON.stringify(pings.map(({ body }) => body)));
    clean('metrics', lab.metrics());
    assert.ok(pings.length >= 2 && lab.metrics().length > 0);
  });

  test('homelab.yaml that is wrong and .env that others can read: what is told holds no secret either', async () => {
    lab.configure((raw) => {
      raw.backup.schedule = PASSWORD;
    });
    lab.env({}, 0o644);
    const { code } = await lab.script(['run', '--yes']);
    lab.configure();
    lab.env();
    assert.is(code, 2);
    const { notices, pings } = lab.told();
    assert.match(notices.at(-1)?.message ?? '', '[secret POSTGRES_MAIN_PASSWORD]');
    clean('notices', JSON.stringify(notices));
    clean('bodies of pings', JSON.stringify(pings.map(({ body }) => body)));
  });

  test('what is on the target and in .state is for its owner only, and holds no secret', () => {
    const left = [lab.root, join(lab.folder, '.state')].flatMap(everything);
    assert.ok(left.some((path) => path.endsWith('verify.json')) && left.some((path) => path.endsWith('.jsonl')));
    for (const path of left) {
      const stat = statSync(path);
      const mode = stat.mode & 0o777;
      if (stat.isDirectory()) assert.is(mode & 0o077, 0, `${path}: ${mode.toString(8)}`);
      else {
        assert.is(mode, 0o600, `${path}: ${mode.toString(8)}`);
        clean(path, readFileSync(path, 'latin1'));
      }
    }
  });

  test('the metrics are for everybody: node_exporter is somebody else', () => {
    assert.is(statSync(join(lab.folder, 'metrics', 'homelab-backup.prom')).mode & 0o777, 0o644);
  });
}

function everything(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.map((name) => join(folder, name));
}

test.run();
