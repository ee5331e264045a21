import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'dotenv';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ownersObjects } from '../lib/lab/owner.ts';
import { startScratchPostgres } from '../lib/lab/postgres.ts';
import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { postgresHere } from './backup-harness.ts';
import { startTestLab } from './lab-harness.ts';

/** backup-postgres and restore-postgres as a person runs them: through SSH and the Service of the embedded lab. */
const test = suite('backup-postgres in the lab');
if (await postgresHere()) {
  const lab = await startTestLab();
  const password = parse(readFileSync(join(lab.folder, '.env'))).POSTGRES_MAIN_PASSWORD;
  const data = join('/tmp', `homelab-test-${process.pid}-pg`);
  const pg = await startScratchPostgres(data, { password });
  if ('missing' in pg) throw new Error(pg.missing);
  test.after(async () => {
    await pg.stop();
    rmSync(data, { recursive: true, force: true });
    await lab.close();
  });

  test('without a cluster the server cannot be reached, and the plan says so', async () => {
    const { code, stdout } = await lab.script('backup-postgres', 'run', '--dry-run');
    assert.is(code, 0);
    assert.match(stdout, 'warning: main: the cluster does not answer');
    assert.match(stdout, '+ main: dump roles and databases');
  });

  test('run: a proven set, through the tunnel', async () => {
    await pg.seed(['app']);
    const installed = await lab.script('install-k3s', '--yes');
    assert.is(installed.code, 0, installed.stderr);
    const { lab: opened, secrets, settings } = openLab(lab.configFile, {});
    const ports = buildPorts(opened, secrets, settings);
    await ports.kube.apply(ownersObjects(opened.config.backup?.postgresql ?? []));
    await ports.close();
    lab.cluster.setBackend('databases/postgresql', { host: '127.0.0.1', port: pg.port });
    const { code, stderr } = await lab.script('backup-postgres', 'run', '--yes');
    assert.is(code, 0, stderr);
    assert.match(
      stderr,
      /✓ main has a set younger than 26 h that was restored and compared: \S+: 2 databases, 4 tables/,
    );
  });

  test('run --if-stale --check: nothing is pending', async () => {
    const { code, stdout } = await lab.script('backup-postgres', 'run', '--if-stale', '--check');
    assert.is(code, 0, stdout);
  });

  test('status and list', async () => {
    const status = await lab.script('backup-postgres', 'status', '--json');
    assert.is(status.code, 0);
    assert.is(JSON.parse(status.stdout).report[0].stale, false);
    assert.match(
      (await lab.script('backup-postgres', 'list')).stdout,
      /^main: 1 set, newest first\n.*\n.*\n {2}\S{25} {2}proven/,
    );
  });

  test('restore-postgres: beside the original, compared', async () => {
    const { code, stdout, stderr } = await lab.script('restore-postgres', '--database', 'app', '--yes');
    assert.is(code, 0, stderr);
    assert.match(stdout, /^app: restored into app__restore_[0-9a-f]{8}$/m);
  });

  const restore = (...args: string[]): ReturnType<typeof lab.script> =>
    lab.script('restore-postgres', '--server', 'main', ...args, '--yes');
  /** What there is to read, where the way to it is watched as a person would. */
  const shown = ({ stdout, stderr }: { stdout: string; stderr: string }): string => {
    if (process.env.SHOW) console.log(`${stderr}\n--\n${stdout}\n==`);
    return `${stderr}\n${stdout}`;
  };

  test('restore-postgres --swap: over data only with the names of database and system', async () => {
    const refused = await restore('--database', 'app', '--swap');
    assert.is(refused.code, 2);
    const [, names = ''] = /give --confirm (app,\d+) when that is wanted/.exec(shown(refused)) ?? [];
    assert.ok(names, refused.stderr);
    assert.is((await restore('--database', 'app', '--swap', '--confirm', 'app')).code, 2);
    const swapped = await restore('--database', 'app', '--swap', '--confirm', names);
    assert.is(swapped.code, 0, swapped.stderr);
    assert.match(shown(swapped), /app: is the restored one; the old one is app_before_\d{8}T\d{6}Z/);
  });

  test('restore-postgres --all: the cluster was rebuilt, and its database is new', async () => {
    const anewData = join('/tmp', `homelab-test-${process.pid}-anew-pg`);
    const anew = await startScratchPostgres(anewData, { password });
    if ('missing' in anew) throw new Error(anew.missing);
    try {
      lab.cluster.setBackend('databases/postgresql', { host: '127.0.0.1', port: anew.port });
      const asked = await restore('--all');
      assert.is(asked.code, 1);
      const [, of = ''] = /whose backup is wanted\? .*--of (\d+)/s.exec(shown(asked)) ?? [];
      assert.ok(of, asked.stderr);
      const restored = await restore('--all', '--of', of);
      assert.is(restored.code, 0, restored.stderr);
      assert.match(shown(restored), /^app: is the restored one$/m);
      assert.match(restored.stderr, /✓ app holds what \S+ has of app/);
    } finally {
      lab.cluster.setBackend('databases/postgresql', { host: '127.0.0.1', port: pg.port });
      await anew.stop();
      rmSync(anewData, { recursive: true, force: true });
    }
  });

  test('prune: nothing is lost without the lab’s name', async () => {
    lab.edit(
      'keep: { last: 3, daily: 7, weekly: 5, monthly: 12 }',
      'keep: { last: 1, daily: 0, weekly: 0, monthly: 0 }',
    );
    lab.edit('max_age_hours: 26', 'max_age_hours: 27');
    const { code } = await lab.script('backup-postgres', 'prune', '--yes');
    assert.is(code, 0, 'one set, which stays');
  });

  test('the password stands in no journal and in no output', async () => {
    const runs = join(lab.folder, '.state', 'homelab', 'runs');
    for (const name of readdirSync(runs))
      assert.not(readFileSync(join(runs, name), 'utf8').includes(password ?? ''), name);
  });
}
test.run();
