import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** uninstall-k3s as a person runs it, in the embedded lab; one story from test to test. */
const test = suite('uninstall-k3s in the lab');
const NODES = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
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

const run = async (name: string, ...args: string[]) => {
  const ran = await lab.script(name, ...args);
  assert.is(ran.code, 0, ran.stderr);
  return ran;
};
const state = (name: string): string => join(lab.folder, '.state/homelab', name);
const file = (host: string, path: string): string | undefined => lab.host(host).readFile(path);

test('where there is nothing, nothing is done', async () => {
  const { stderr } = await run('uninstall-k3s', '--yes');
  assert.match(stderr, 'nothing of K3s is on these nodes');
});

test('one node of a cluster that lives: it refers to remove-node', async () => {
  await run('install-k3s', '--yes');
  for (const name of ['k3s-cp-01', 'k3s-cp-02'])
    await ports.ssh.run(name, ['apt-get', 'install', '-y', 'nfs-common'], { sudo: true });
  await run('etcd-snapshot', 'install', '--yes');
  const { code, stderr } = await lab.script('uninstall-k3s', '--limit', 'k3s-gpu-01', '--confirm', 'homelab');
  assert.is(code, 1);
  assert.match(stderr, 'k3s-gpu-01 would be torn out of a cluster that k3s-cp-01, k3s-cp-02 are in');
  assert.match(stderr, 'npx tsx scripts/remove-node.ts k3s-gpu-01');
});

test('it says what is lost, and wants the lab’s name', async () => {
  const { code, stderr } = await lab.script('uninstall-k3s', '--yes');
  assert.is(code, 2);
  assert.match(stderr, 'is lost: k3s-cp-01: its copy of every object of the cluster');
  assert.match(stderr, /is lost: k3s-cp-01: its snapshots of etcd \(those on the NAS stay\): homelab-k3s-cp-01-\d+/);
  assert.match(stderr, 'is lost: the token of the cluster');
  assert.match(stderr, 'give --confirm homelab');
  assert.is.not(file('k3s-cp-01', '/etc/rancher/k3s/config.yaml'), undefined);
});

test('everything of ours goes, nothing of others', async () => {
  const others = ['/etc/cron.d/other', '/usr/local/bin/other', '/var/lib/homelab/other', '/etc/rancher/other'];
  for (const path of others) lab.host('k3s-cp-01').writeFile(path, 'mine\n');
  const { stderr } = await run('uninstall-k3s', '--confirm', 'homelab');
  assert.match(stderr, '4 of 4 proofs hold');
  for (const name of NODES) {
    for (const path of ['/usr/local/bin/k3s', '/etc/rancher/k3s/config.yaml', '/etc/rancher/node/password'])
      assert.is(file(name, path), undefined, `${name}: ${path}`);
    for (const folder of ['var/lib/rancher', 'etc/systemd/system/k3s.service', 'etc/systemd/system/k3s-agent.service'])
      assert.not(existsSync(join(lab.host(name).root, folder)), `${name}: ${folder}`);
  }
  for (const path of others) assert.is(file('k3s-cp-01', path), 'mine\n', path);
  assert.equal(readdirSync(join(lab.host('k3s-cp-01').root, 'var/lib/homelab')), ['other']);
  assert.not(existsSync(join(lab.host('k3s-cp-02').root, 'var/lib/homelab')));
  assert.is(file('k3s-cp-01', '/etc/cron.d/homelab-etcd-snapshots'), undefined);
  assert.not(existsSync(state('secrets/k3s-token')) || existsSync(state('kubeconfig')));
  const nas = lab.nas.folderOf('synology', '/volume1/k3s-backups') ?? '';
  assert.is(readdirSync(join(nas, 'etcd/homelab/k3s-cp-01')).length, 3, 'snapshots on the NAS stay');
});

test('run again there is nothing to do', async () => {
  assert.equal(await lab.plannedBy('uninstall-k3s'), []);
});

test('what an interrupted one left goes too, also without K3s’s own script', async () => {
  await run('install-k3s', '--yes');
  await ports.ssh.run('k3s-cp-02', ['systemctl', 'disable', '--now', 'k3s'], { sudo: true });
  rmSync(join(lab.host('k3s-gpu-01').root, 'usr/local/bin/k3s-agent-uninstall.sh'));
  rmSync(join(lab.host('k3s-cp-02').root, 'usr/local/bin/k3s-uninstall.sh'));
  rmSync(join(lab.host('k3s-cp-02').root, 'etc/systemd/system/k3s.service'));
  await run('uninstall-k3s', '--confirm', 'homelab');
  for (const name of NODES) assert.is(file(name, '/usr/local/bin/k3s'), undefined, name);
});

test('a node that does not answer is named; without it the rest can go', async () => {
  await run('install-k3s', '--yes');
  await lab.powerOff('k3s-gpu-01');
  const { code, stderr } = await lab.script('uninstall-k3s', '--confirm', 'homelab');
  assert.is(code, 1);
  assert.match(stderr, /k3s-gpu-01 is not reachable: .*; or leave it out: --limit/);
  await run('uninstall-k3s', '--limit', 'k3s-cp-01,k3s-cp-02', '--confirm', 'homelab');
  assert.ok(existsSync(state('secrets/k3s-token')), 'the token is of the agent that is left too');
  await lab.boot('k3s-gpu-01');
  await run('uninstall-k3s', '--limit', 'k3s-gpu-01', '--confirm', 'homelab');
  assert.is(file('k3s-gpu-01', '/usr/local/bin/k3s'), undefined);
});

test.run();
