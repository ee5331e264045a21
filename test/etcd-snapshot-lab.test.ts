import { existsSync, readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** etcd-snapshot as a person runs it, in the embedded lab; one story from test to test. */
const test = suite('etcd-snapshot in the lab');
const SERVERS = ['k3s-cp-01', 'k3s-cp-02'];
const CRON = '/etc/cron.d/homelab-etcd-snapshots';
let lab: TestLab;
let ports: ReturnType<typeof buildPorts>;

test.before(async () => {
  lab = await startTestLab();
  const opened = openLab(lab.configFile, {});
  ports = buildPorts(opened.lab, opened.secrets, opened.settings);
});
test.after(async () => {
  await ports.close();
  await lab.close();
});

const sudo = (host: string, ...argv: string[]) => ports.ssh.run(host, argv, { sudo: true, deadline: 120 });
/** A server's folder on the NAS. */
const share = (server: string): string =>
  join(lab.nas.folderOf('synology', '/volume1/k3s-backups') ?? '', 'etcd', 'homelab', server);
const onNas = (server: string): string[] => (existsSync(share(server)) ? readdirSync(share(server)).sort() : []);
/** Ids of the steps that a command of the family plans. */
const plannedBy = async (...command: string[]): Promise<string[]> => {
  const { stdout, stderr } = await lab.script('etcd-snapshot', ...command, '--dry-run', '--json');
  if (!stdout.startsWith('{')) throw new Error(stderr);
  return (JSON.parse(stdout) as { plan: { steps: { id: string }[] } }).plan.steps.map(({ id }) => id);
};
const json = <T>(stdout: string): T => (JSON.parse(stdout) as { report: T }).report;

test('before there is K3s nothing is done, and it says what comes first', async () => {
  const { code, stdout } = await lab.script('etcd-snapshot', 'install', '--check');
  assert.is(code, 3);
  assert.match(stdout, 'blocker: K3s is not installed on k3s-cp-01; run install-k3s first');
  assert.is((await lab.script('etcd-snapshot', 'install', '--yes')).code, 1);
});

test('before there is an NFS client neither', async () => {
  assert.is((await lab.script('install-k3s', '--yes')).code, 0);
  const { code, stderr } = await lab.script('etcd-snapshot', 'install', '--yes');
  assert.is(code, 1);
  assert.match(stderr, 'k3s-cp-02 has no NFS client (nfs-common); run setup-nfs first');
  for (const server of SERVERS) assert.is((await sudo(server, 'apt-get', 'install', '-y', 'nfs-common')).code, 0);
});

test('a NAS that denies: nothing is written', async () => {
  const { nas } = lab;
  const { clients = [] } = nas.exports('synology')?.[0] ?? {};
  nas.setClients('synology', '/volume1/k3s-backups', []);
  const { code, stderr } = await lab.script('etcd-snapshot', 'install', '--yes');
  nas.setClients('synology', '/volume1/k3s-backups', clients);
  assert.is(code, 1);
  assert.match(
    stderr,
    /synology:\/volume1\/k3s-backups\/etcd\/homelab cannot be reached: k3s-cp-01: mount .*: access denied/,
  );
  assert.is(lab.host('k3s-cp-01').readFile(CRON), undefined);
});

test('a dry run changes nothing', async () => {
  const { code, stdout } = await lab.script('etcd-snapshot', 'install', '--dry-run');
  assert.is(code, 0);
  assert.match(stdout, '+ k3s-cp-01: write /usr/local/sbin/homelab-etcd-snapshots');
  assert.match(
    stdout,
    '+ k3s-cp-02: take a snapshot of etcd, and bring it to synology:/volume1/k3s-backups/etcd/homelab',
  );
  assert.equal(onNas('k3s-cp-01'), []);
  assert.is(lab.host('k3s-cp-01').readFile(CRON), undefined);
});

test('every server has the job, and a first snapshot on the NAS', async () => {
  const { code, stderr } = await lab.script('etcd-snapshot', 'install', '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, '4 of 4 proofs hold');
  for (const server of SERVERS) {
    const [name = '', ...beside] = onNas(server);
    assert.match(name, new RegExp(`^homelab-${server}-\\d+$`));
    assert.equal(beside, [`${name}.sha256`, `${name}.token`]);
    assert.is(statSync(join(share(server), `${name}.token`)).mode & 0o777, 0o600);
    assert.match(lab.host(server).readFile(CRON) ?? '', `30 */6 * * * root timeout 1800 `);
    assert.equal(lab.host(server).mounts, []);
  }
});

test('run again it plans nothing', async () => {
  assert.equal(await plannedBy('install'), []);
});

test('what cron runs brings another one', async () => {
  const line =
    lab
      .host('k3s-cp-01')
      .readFile(CRON)
      ?.split('\n')
      .find((one) => one.includes(' root ')) ?? '';
  const [, command = ''] = / root (.*)$/.exec(line) ?? [];
  const before = onNas('k3s-cp-01').length;
  await ports.clock.sleep(1.1); // a snapshot is called after its second
  const { code, stderr } = await sudo('k3s-cp-01', 'sh', '-c', command);
  assert.is(code, 0, stderr);
  assert.is(onNas('k3s-cp-01').length, before + 3);
  const { stdout } = await sudo('k3s-cp-01', 'journalctl', '-u', 'homelab-etcd-snapshots', '-o', 'cat');
  assert.match(stdout, /<daemon.info> homelab-k3s-cp-01-\d+ is at 10\.20\.11\.10:\/volume1\/k3s-backups/);
});

test('a snapshot with a name', async () => {
  const bad = await lab.script('etcd-snapshot', 'save', '../x', '--yes');
  assert.is(bad.code, 2);
  assert.match(bad.stderr, '"../x" cannot be the name of a snapshot');
  const wrong = await lab.script('etcd-snapshot', 'save', '--server', 'k3s-cp-1', '--yes');
  assert.is(wrong.code, 2);
  assert.match(wrong.stderr, /there is no server "k3s-cp-1"[\s\S]*did you mean "k3s-cp-01"\?/);
  const { code, stderr } = await lab.script(
    'etcd-snapshot',
    'save',
    'before-upgrade',
    '--server',
    'k3s-cp-02',
    '--yes',
  );
  assert.is(code, 0, stderr);
  assert.match(stderr, /✓ a new snapshot is at .*, whole: before-upgrade-k3s-cp-02-\d+/);
});

test('they are listed, those on the NAS and those on the servers', async () => {
  const { code, stdout } = await lab.script('etcd-snapshot', 'list', '--json');
  assert.is(code, 0);
  const { snapshots } = json<{
    snapshots: { name: string; server: string; where: string; whole: boolean; age_hours: number }[];
  }>(stdout);
  const counts = (where: string): number => snapshots.filter((one) => one.where === where).length;
  assert.equal([counts('nas'), counts('server')], [4, 4]);
  assert.ok(snapshots.every(({ whole, age_hours }) => whole && age_hours < 1));
  const { stdout: text } = await lab.script('etcd-snapshot', 'list');
  assert.match(text, /before-upgrade-k3s-cp-02-\d+ +k3s-cp-02 +NAS +\d+ KiB +0 min old/);
});

test('status: fresh', async () => {
  const { code, stdout } = await lab.script('etcd-snapshot', 'status');
  assert.is(code, 0, stdout);
  assert.match(stdout, /^k3s-cp-01: fresh: homelab-k3s-cp-01-\d+ is 0(\.\d+)? h old \(at most 12 h\)$/m);
});

test('status: stale when the newest is older than two intervals, and install heals it', async () => {
  for (const name of onNas('k3s-cp-01')) {
    const old = name.replace(/\d{9,}/, (time) => String(Number(time) - 13 * 3600));
    renameSync(join(share('k3s-cp-01'), name), join(share('k3s-cp-01'), old));
  }
  const { code, stdout } = await lab.script('etcd-snapshot', 'status');
  assert.is(code, 3);
  assert.match(stdout, /^k3s-cp-01: STALE: homelab-k3s-cp-01-\d+ is 13(\.\d+)? h old/m);
  assert.match(stdout, /^k3s-cp-02: fresh/m);
  assert.equal(await plannedBy('install'), ['k3s-cp-01/snapshot']);
  const installed = await lab.script('etcd-snapshot', 'install', '--yes');
  assert.is(installed.code, 0, installed.stderr);
});

test('a NAS that is down is not "no snapshot"; the job leaves a failure behind that status tells', async () => {
  lab.nas.setDown('synology', true);
  const { code, stdout } = await lab.script('etcd-snapshot', 'status');
  assert.is(code, 1);
  assert.match(stdout, /k3s-cp-01: UNKNOWN: the NAS could not be asked/);
  assert.match(stdout, 'Connection timed out');
  const failed = await lab.script('etcd-snapshot', 'save', '--yes');
  assert.is(failed.code, 1);
  lab.nas.setDown('synology', false);
  const after = await lab.script('etcd-snapshot', 'status');
  assert.match(after.stdout, /k3s-cp-01: fresh: .*; its last run failed: mount .*Connection timed out/);
});

test('without k3s.etcd_snapshots the job goes, and the snapshots stay', async () => {
  const before = onNas('k3s-cp-01');
  lab.edit(/ {2}etcd_snapshots:[\s\S]*?keep: 28.*\n/, '');
  const { code, stderr } = await lab.script('etcd-snapshot', 'install', '--yes');
  assert.is(code, 0, stderr);
  assert.is(lab.host('k3s-cp-01').readFile(CRON), undefined);
  assert.equal(onNas('k3s-cp-01'), before);
  assert.equal(await plannedBy('install'), []);
  const status = await lab.script('etcd-snapshot', 'status');
  assert.is(status.code, 2);
  assert.match(status.stderr, 'homelab.yaml has no `k3s.etcd_snapshots`');
  const list = await lab.script('etcd-snapshot', 'list');
  assert.is(list.code, 0);
  assert.match(list.stdout, / on it /);
});

test.run();
