import { readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inSession } from '../lib/backup/connect.ts';
import { readSets } from '../lib/backup/sets.ts';
import { ownersObjects } from '../lib/lab/owner.ts';
import { type ScratchPostgres, startScratchPostgres } from '../lib/lab/postgres.ts';
import { realFiles } from '../lib/ports/files.ts';
import type { KubeObject } from '../lib/step.ts';
import { postgresHere } from './backup-harness.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';
import { withPorts } from './lab-ports.ts';
import type { Ran } from './lab-scripts.ts';

/** `backup-postgres install` in the embedded lab: the real bundle, run by the emulated cluster, dumps a real server. */
const test = suite('backup-postgres install, in the lab');
const here = await postgresHere();
let lab: TestLab;
let pg: ScratchPostgres;
let data = '';

const NAMESPACE = 'homelab-backup';
const CRON_JOB = { apiVersion: 'batch/v1', kind: 'CronJob', name: 'backup-main', namespace: NAMESPACE };
const cronJob = (): Promise<KubeObject | undefined> => withPorts(lab.configFile, ({ kube }) => kube.get(CRON_JOB));
const kubectl = async (...argv: string[]): Promise<string> =>
  (await lab.asRoot('k3s-cp-01', 'k3s', 'kubectl', ...argv)).stdout;
const install = (...args: string[]): Promise<Ran> => lab.script('backup-postgres', 'install', '--yes', ...args);
const sets = () => {
  const folder = lab.nas.folderOf('synology', '/volume1/k3s-backups') ?? '';
  return readSets(realFiles(), join(folder, 'postgresql'), 'main');
};
const succeeds = (ran: Ran): Ran => {
  assert.is(ran.code, 0, ran.stderr);
  return ran;
};

/** Nothing of a Job that failed stays, and no set that was there is gone. */
async function fails(ran: Ran, ...words: RegExp[]): Promise<void> {
  assert.is(ran.code, 1, ran.stderr);
  for (const word of words) assert.match(ran.stderr, word);
  assert.match(await kubectl('get', 'jobs,pods', '-n', NAMESPACE), /^$/);
}

test.before(async () => {
  if (!here) return;
  lab = await startTestLab({ nodes: ['k3s-cp-01', 'k3s-cp-02'] });
  data = join('/tmp', `${basename(join(lab.folder, '..'))}-pg`);
  const password = /POSTGRES_MAIN_PASSWORD=(\w+)/.exec(readFileSync(join(lab.folder, '.env'), 'utf8'))?.[1];
  const started = await startScratchPostgres(data, { password });
  if ('missing' in started) throw new Error(started.missing);
  pg = started;
  await pg.seed(['app']);
  succeeds(await lab.script('install-k3s', '--yes', '--limit', 'k3s-cp-01,k3s-cp-02'));
  await withPorts(lab.configFile, ({ kube }) => kube.apply(ownersObjects(lab.lab.config.backup!.postgresql)));
});
test.after(async () => {
  await lab?.close();
  await pg?.stop();
  if (data) rmSync(data, { recursive: true, force: true });
});
const real = (name: string, body: () => Promise<void>): void => {
  if (here) test(name, body);
};

real('a server that does not answer: its version, and so the image, is not known', async () => {
  await fails(await install(), /PostgreSQL main cannot be reached[\s\S]*which image dumps it/);
  assert.is(await cronJob(), undefined);
  lab.cluster.setBackend('databases/postgresql', { host: '127.0.0.1', port: pg.port });
});

real('--dry-run says what would come, and puts nothing there', async () => {
  const { stdout } = succeeds(await install('--dry-run'));
  for (const step of ['Namespace homelab-backup', 'PersistentVolume', 'Secret', 'CronJob', 'start a Job'])
    assert.match(stdout, new RegExp(step));
  assert.not.match(stdout, new RegExp(pg.password));
  const json = succeeds(await install('--dry-run', '--json')).stdout;
  assert.match(json, /"backup\.cjs": \{\s*"sha256": "[0-9a-f]{64}",\s*"bytes": \d{6}\s*\}/);
  assert.ok(json.length < 40_000, `without the engine itself: ${json.length} characters`);
  assert.is(await cronJob(), undefined);
});

real('an image that cannot be pulled is named', async () => {
  lab.cluster.faults.images = [`postgres:${pg.version}-bookworm`];
  await fails(
    await install(),
    /ImagePullBackOff[\s\S]*cannot be pulled[\s\S]*backup\.cronjob\.node_image or postgres_image/,
  );
  lab.cluster.faults.images = [];
});

real('a wrong password is told by the Job, and what it said stands in the error', async () => {
  await inSession(
    pg.address,
    'postgres',
    async (client) => void (await client.query("ALTER ROLE postgres PASSWORD 'new-one'")),
  );
  // The server's version is known: it is named.
  lab.edit('    # postgres_image: postgres:15.18-bookworm ', `    postgres_image: postgres:${pg.version}-bookworm `);
  await fails(await install(), /password authentication failed/);
  await inSession(
    { ...pg.address, password: undefined, host: data, port: pg.port },
    'postgres',
    async (client) => void (await client.query(`ALTER ROLE postgres PASSWORD '${pg.password}'`)),
  );
  lab.edit(/ {4}postgres_image: .* # default/, '    # postgres_image: x # default');
});

real('an export that the node may not mount is named after a minute', async () => {
  lab.nas.setClients('synology', '/volume1/k3s-backups', []);
  await fails(
    await lab.hurried('backup-postgres', 'install', '--yes'),
    /access denied by server[\s\S]*does not let this node mount[\s\S]*setup-nfs/,
  );
  lab.nas.setClients(
    'synology',
    '/volume1/k3s-backups',
    lab.lab.ledger.leases.map(({ address }) => address),
  );
});

real('it is applied, and a Job of it makes a proven set; the second run has nothing to do', async () => {
  const { stderr } = succeeds(await install());
  const [set, ...others] = await sets();
  assert.is(set?.state, 'proven');
  assert.equal(others, []);
  assert.match(stderr, /1 of 1 proofs hold/);
  const live = await cronJob();
  assert.match(live?.metadata.annotations?.['homelab/proven'] ?? '', new RegExp(set?.name ?? 'x'));
  assert.match(await kubectl('get', 'jobs,pods', '-n', NAMESPACE), /^$/);
  assert.match(
    await kubectl('get', 'configmap', 'backup-target', '-n', NAMESPACE, '-o', 'json'),
    /[0-9a-f]{8}-[0-9a-f]{4}/,
  );
  for (const text of [stderr, JSON.stringify(live)]) assert.not.match(text, new RegExp(pg.password));

  const again = succeeds(await install());
  assert.match(again.stderr, /nothing to do; 1 of 1 proofs hold/);
  assert.is((await sets()).length, 1);
});

real('a machine and the Job share target and lock', async () => {
  succeeds(await lab.script('backup-postgres', 'run', '--yes'));
  assert.equal(
    (await sets()).map(({ state }) => state),
    ['proven', 'proven'],
  );
});

real('suspended or edited by somebody: said, undone, and proven again', async () => {
  await kubectl('patch', 'cronjob', 'backup-main', '-n', NAMESPACE, '--type=merge', '-p', '{"spec":{"suspend":true}}');
  const check = await lab.script('check');
  assert.match(check.stdout, /CronJob homelab-backup\/backup-main is suspended/);
  const planned = await install('--dry-run');
  assert.match(planned.stdout, /somebody suspended it; spec\.suspend differs/);
  succeeds(await install());
  await kubectl(
    'patch',
    'cronjob',
    'backup-main',
    '-n',
    NAMESPACE,
    '--type=merge',
    '-p',
    '{"spec":{"schedule":"0 4 1 1 *"}}',
  );
  assert.match((await install('--dry-run')).stdout, /spec\.schedule differs/);
  succeeds(await install());
  assert.is((await lab.script('backup-postgres', 'install', '--check')).code, 0);
});

real('a Job that exceeds its deadline is ended cleanly, and named', async () => {
  lab.cluster.faults.jobHour = 1000;
  const before = await sets();
  await inSession(pg.address, 'app', async (client) => {
    await client.query('BEGIN; LOCK TABLE "Shop ""x"""."r" IN ACCESS EXCLUSIVE MODE');
    lab.edit('deadline_hours: 6', 'deadline_hours: 5');
    await fails(await install(), /DeadlineExceeded[\s\S]*deadline_hours/);
  });
  lab.cluster.faults.jobHour = undefined;
  assert.equal(
    (await sets()).map(({ name, state }) => [name, state]),
    before.map(({ name, state }) => [name, state]),
  );
  succeeds(await install());
});

real('--remove takes it away, and leaves what lies on the target', async () => {
  const before = await sets();
  succeeds(await install('--remove'));
  assert.match(await kubectl('get', 'cronjob,configmap,secret,pvc', '-n', NAMESPACE), /^$/);
  assert.match(await kubectl('get', 'pv'), /^$/);
  assert.is((await sets()).length, before.length);
  assert.match(succeeds(await install('--remove')).stderr, /nothing to do/);
});

test.run();
