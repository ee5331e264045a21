import { statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { installScript } from '../lib/lab/cluster/index.ts';
import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { Outcome, Ports } from '../lib/ports/types.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** The install script's stand-in in a real shell, and the kube port through real SSH; one story from test to test. */
const test = suite('kube port on hosts');
const HOST = 'k3s-cp-01';
let lab: TestLab;
let ports: Ports;

test.before(async () => {
  lab = await startTestLab({ nodes: [HOST] });
  const opened = openLab(lab.configFile, {});
  ports = buildPorts(opened.lab, opened.secrets, opened.settings);
  await ports.ssh.upload(HOST, '/tmp/install.sh', installScript(), { mode: '0755', sudo: true });
});
test.after(async () => {
  await ports.close();
  await lab.close();
});

const sudo = (...argv: string[]): Promise<Outcome> => ports.ssh.run(HOST, argv, { sudo: true });
const install = (...words: string[]): Promise<Outcome> => sudo('env', ...words, 'sh', '/tmp/install.sh', 'server');
const VERSION = 'INSTALL_K3S_VERSION=v1.36.5+k3s1';

test('before it is installed there is no k3s, and the port says so', async () => {
  assert.is((await sudo('k3s', '--version')).code, 127);
  const answer = await ports.kube.reachable();
  assert.match(answer.ok ? '' : answer.reason, /^k3s-cp-01: K3s is not installed; k3s-cp-02: /);
});

test('what the install script refuses', async () => {
  const table: [string[], RegExp][] = [
    [[], /set INSTALL_K3S_VERSION/],
    [['INSTALL_K3S_VERSION=latest'], /there is no release latest/],
    [['INSTALL_K3S_SKIP_DOWNLOAD=true'], /Executable k3s binary not found at \/usr\/local\/bin\/k3s/],
    [[VERSION, 'INSTALL_K3S_CHANNEL=stable'], /does not know INSTALL_K3S_CHANNEL/],
  ];
  for (const [words, message] of table) {
    const { code, stderr } = await install(...words);
    assert.is(code, 1);
    assert.match(stderr, message);
  }
});

test('installs without a start, keeps secrets in a 0600 file, and starts when it is asked', async () => {
  await ports.ssh.upload(HOST, '/etc/rancher/k3s/config.yaml', 'cluster-init: true\ndisable: [servicelb]\n', {
    mode: '0600',
    sudo: true,
  });
  const first = await install(VERSION, 'K3S_TOKEN=canary', 'INSTALL_K3S_SKIP_START=true');
  assert.is(first.code, 0, first.stderr);
  assert.match((await sudo('/usr/local/bin/k3s', '--version')).stdout, /^k3s version v1\.36\.5\+k3s1 /);
  const { root } = lab.host(HOST);
  assert.is(statSync(join(root, 'etc/systemd/system/k3s.service.env')).mode & 0o777, 0o600);
  const unit = (await sudo('cat', '/etc/systemd/system/k3s.service')).stdout;
  assert.match(unit, /EnvironmentFile=-\/etc\/systemd\/system\/k3s\.service\.env/);
  assert.match(unit, /ExecStart=\/usr\/local\/bin\/k3s \\\n {4}server \\/);
  assert.not.match(unit, /canary/);
  assert.is((await sudo('systemctl', 'is-active', 'k3s')).stdout.trim(), 'inactive');
  assert.is((await sudo('systemctl', 'start', 'k3s')).code, 0);
});

test('run again it finds nothing to do; another version is put in its place', async () => {
  const again = await install(VERSION, 'K3S_TOKEN=canary');
  assert.match(again.stdout, /No change detected so skipping service start/);
  const newer = await install('INSTALL_K3S_VERSION=v1.36.6+k3s1', 'K3S_TOKEN=canary');
  assert.match(newer.stdout, /Starting k3s/);
});

test('the port reads and writes through SSH', async () => {
  assert.equal(await ports.kube.reachable(), { ok: true, value: HOST });
  const [node] = await ports.kube.list('v1', 'Node');
  assert.is(node?.metadata.name, HOST);
  const text = `"quotes" $(id) 'n\n\\' é;`;
  await ports.kube.apply([
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c', namespace: 'default' }, data: { text } },
  ]);
  const ref = { apiVersion: 'v1', kind: 'ConfigMap', name: 'c', namespace: 'default' };
  assert.equal((await ports.kube.get(ref))?.data, { text });
  await ports.kube.delete([ref]);
  assert.is(await ports.kube.get(ref), undefined);
});

test('what the install script put there, its uninstall script takes away', async () => {
  const { code, stderr } = await sudo('/usr/local/bin/k3s-uninstall.sh');
  assert.is(code, 0, stderr);
  assert.is((await sudo('k3s', '--version')).code, 127);
  for (const path of ['/etc/rancher/k3s', '/var/lib/rancher/k3s', '/etc/systemd/system/k3s.service'])
    assert.is((await sudo('test', '-e', path)).code, 1, path);
});

test.run();
