import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { KubeObject } from '../lib/step.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** etcd-snapshot restore as a person runs it, in the embedded lab; one story from test to test. */
const test = suite('etcd-snapshot restore in the lab');
let lab: TestLab;
let ports: ReturnType<typeof buildPorts>;
let snapshot = '';

const namespace = (name: string): KubeObject => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
const map = (name: string, value: string): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } },
  data: { value },
});
const dataOf = async (name: string): Promise<unknown> => {
  const found = await ports.kube.get({ apiVersion: 'v1', kind: 'ConfigMap', name, namespace: 'default' });
  return (found?.data as Record<string, string> | undefined)?.value;
};
const run = async (...args: string[]) => {
  const ran = await lab.script(...(args as [string, ...string[]]));
  assert.is(ran.code, 0, ran.stderr);
  return ran;
};
/** Takes a snapshot, and then lets what must be gone afterwards come. */
async function saved(name: string): Promise<string> {
  const { stderr } = await run('etcd-snapshot', 'save', name, '--yes');
  const [, found = ''] = new RegExp(`whole: (${name}-\\S+)`).exec(stderr) ?? [];
  await ports.clock.sleep(1.1); // creationTimestamps have seconds
  return found;
}
const kept = (host: string): string[] =>
  readdirSync(join(lab.host(host).root, 'var/lib/rancher/k3s/server')).filter((name) => name.startsWith('db.before-'));

test.before(async () => {
  lab = await startTestLab();
  const opened = openLab(lab.configFile, {});
  ports = buildPorts(opened.lab, opened.secrets, opened.settings);
  await run('install-k3s', '--yes');
  for (const name of ['k3s-cp-01', 'k3s-cp-02'])
    await ports.ssh.run(name, ['apt-get', 'install', '-y', 'nfs-common'], { sudo: true });
  await ports.kube.apply([map('kept', 'old'), map('deleted', 'old')]);
  snapshot = await saved('before');
  await ports.kube.apply([map('kept', 'new'), map('later', 'new'), namespace('later')]);
  await ports.kube.delete([{ apiVersion: 'v1', kind: 'ConfigMap', name: 'deleted', namespace: 'default' }]);
});
test.after(async () => {
  await ports.close();
  await lab.close();
});

test('a snapshot that there is not, a server that there is not, a limit', async () => {
  const cases: [string[], RegExp][] = [
    [
      [snapshot.slice(0, -1)],
      new RegExp(`there is no snapshot "before-k3s-cp-01-\\d+"[\\s\\S]*did you mean "${snapshot}"`),
    ],
    [[snapshot, '--without', 'k3s-cp-2'], /--without k3s-cp-2: there is no such server[\s\S]*k3s-cp-02/],
    [[snapshot, '--without', 'k3s-cp-01,k3s-cp-02'], /--without leaves no server/],
    [[snapshot, '--limit', 'k3s-cp-01'], /--limit would leave servers as they are/],
  ];
  for (const [args, said] of cases) {
    const { code, stderr } = await lab.script('etcd-snapshot', 'restore', ...args, '--yes');
    assert.is(code, 2, stderr);
    assert.match(stderr, said);
  }
});

test('it says what is lost, and wants the lab’s name', async () => {
  const dry = await run('etcd-snapshot', 'restore', snapshot, '--dry-run');
  assert.match(dry.stdout, '- k3s-cp-01: stop k3s, and keep it from starting with the machine');
  assert.match(dry.stdout, /everything in the cluster that was made, changed or deleted since 20\d\d-/);
  const { code, stderr } = await lab.script('etcd-snapshot', 'restore', snapshot, '--yes');
  assert.is(code, 2);
  assert.match(stderr, 'give --confirm homelab');
  assert.is(await dataOf('kept'), 'new');
});

test('it fails at the reset, and again while the second server joins: each run goes on', async () => {
  const { units } = lab.cluster.faults;
  units['k3s-cp-01/cluster-reset'] = 'open /var/lib/rancher/k3s/server/db/etcd: no space left on device';
  const cut = await lab.script('etcd-snapshot', 'restore', snapshot, '--confirm', 'homelab');
  delete units['k3s-cp-01/cluster-reset'];
  assert.is(cut.code, 1, cut.stderr);
  assert.match(cut.stderr, /✗ k3s-cp-01: k3s server --cluster-reset/);
  assert.match(cut.stderr, '/var/lib/homelab/etcd-restore/reset.log has all that it said');
  assert.match(cut.stderr, 'no space left on device');

  // Everybody's machine boots: who started with the old data would be the cluster of before, or an empty one.
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) {
    await lab.powerOff(name);
    await lab.boot(name);
    const { stdout } = await lab.asRoot(name, 'systemctl', 'is-active', 'k3s');
    assert.is(stdout.trim(), 'inactive', name);
  }
  const other = await lab.script('install-k3s', '--yes');
  assert.is(other.code, 1);
  assert.match(other.stderr, 'a restore of etcd was begun on k3s-cp-01, and is not finished');
  assert.not.match(other.stderr, "no server has etcd's data any more");

  units['k3s-cp-02/k3s'] = 'dial tcp 10.20.11.80:6443: connect: connection refused';
  const failed = await lab.script('etcd-snapshot', 'restore', snapshot, '--confirm', 'homelab');
  delete units['k3s-cp-02/k3s'];
  assert.is(failed.code, 1, failed.stderr);
  assert.match(failed.stderr, 'an earlier run began this restore');
  assert.not.match(failed.stderr, '✓ k3s-cp-01: move its data');
  assert.match(failed.stderr, 'k3s on k3s-cp-02 failed to start');
  assert.is(kept('k3s-cp-02').length, 1);

  const { stderr } = await run('etcd-snapshot', 'restore', snapshot, '--confirm', 'homelab');
  assert.match(stderr, 'note: --confirm homelab was not asked for');
  assert.match(stderr, "✓ etcd's voting members that are Ready are k3s-cp-01, k3s-cp-02\n");
  assert.match(stderr, 'proofs hold');
});

test('the cluster is that of the snapshot; the data of before is kept', async () => {
  assert.equal([await dataOf('kept'), await dataOf('deleted'), await dataOf('later')], ['old', 'old', undefined]);
  assert.is(lab.cluster.snapshot().clusters.length, 1);
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) {
    assert.is(kept(name).length, 1, name);
    assert.not(existsSync(join(lab.host(name).root, 'var/lib/homelab/etcd-restore')), name);
    assert.is(lab.host(name).readFile('/etc/rancher/k3s/config.yaml.d/homelab-restore.yaml'), undefined);
  }
  assert.equal(kept('k3s-cp-01'), kept('k3s-cp-02'));
  const snapshots = readdirSync(join(lab.host('k3s-cp-01').root, 'var/lib/rancher/k3s/server/db/snapshots'));
  assert.ok(snapshots.includes(snapshot), 'snapshots on the server are still where K3s looks for them');
});

test('K3s starts with the machines again', async () => {
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) {
    const { stdout } = await lab.asRoot(name, 'systemctl', 'is-enabled', 'k3s');
    assert.is(stdout.trim(), 'enabled', name);
  }
});

test('install-k3s has nothing to do afterwards', async () => {
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('an agent that was made anew after the snapshot is let in, also at its next start', async () => {
  snapshot = await saved('with-agent');
  await lab.destroy('k3s-gpu-01');
  await lab.boot('k3s-gpu-01');
  await lab.cluster.settle();
  await run('install-k3s', '--yes');
  await run('etcd-snapshot', 'restore', snapshot, '--confirm', 'homelab');
  await lab.powerOff('k3s-gpu-01');
  await lab.boot('k3s-gpu-01');
  await run('install-k3s', '--yes');
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('the first server was rebuilt and joined the others: it is reset although its configuration joins one', async () => {
  await lab.powerOff('k3s-cp-02');
  await lab.boot('k3s-cp-02');
  await run('install-k3s', '--yes');
  lab
    .host('k3s-cp-01')
    .writeFile(
      '/etc/rancher/k3s/config.yaml',
      (lab.host('k3s-cp-01').readFile('/etc/rancher/k3s/config.yaml') ?? '').replace(
        'cluster-init: true',
        'server: https://10.20.11.81:6443',
      ),
      0o600,
    );
  lab
    .host('k3s-cp-02')
    .writeFile(
      '/etc/rancher/k3s/config.yaml',
      (lab.host('k3s-cp-02').readFile('/etc/rancher/k3s/config.yaml') ?? '').replace(
        'server: https://10.20.11.80:6443',
        'cluster-init: true',
      ),
      0o600,
    );
  // And K3s was installed anew since: the second server has a younger CA than the snapshot.
  lab.host('k3s-cp-02').writeFile('/var/lib/rancher/k3s/server/tls/server-ca.crt', 'another CA\n');
  const { stderr } = await run('etcd-snapshot', 'restore', snapshot, '--confirm', 'homelab');
  assert.match(stderr, '✓ k3s-cp-02: write /etc/rancher/k3s/config.yaml.d/homelab-restore.yaml: it joins k3s-cp-01');
  assert.is(lab.cluster.snapshot().clusters.length, 1);
  assert.is(lab.host('k3s-cp-02').readFile('/etc/rancher/k3s/config.yaml.d/homelab-restore.yaml'), undefined);
  const newest = kept('k3s-cp-02').sort().at(-1);
  assert.is(lab.host('k3s-cp-02').readFile(`/var/lib/rancher/k3s/server/${newest}/tls/server-ca.crt`), 'another CA\n');
});

test('a server that is gone: it must be said', async () => {
  await lab.powerOff('k3s-cp-02');
  const refused = await lab.script('etcd-snapshot', 'restore', snapshot, '--confirm', 'homelab');
  assert.is(refused.code, 1);
  assert.match(refused.stderr, /k3s-cp-02 is not reachable: .*; when it is gone for good: --without k3s-cp-02/);
  const { stderr } = await run('etcd-snapshot', 'restore', snapshot, '--without', 'k3s-cp-02', '--confirm', 'homelab');
  assert.match(stderr, "✓ etcd's voting members that are Ready are k3s-cp-01\n");
});

test('what is left of it is taken out, and made anew it joins', async () => {
  await run('remove-node', 'k3s-cp-02', '--confirm', 'k3s-cp-02');
  await lab.destroy('k3s-cp-02');
  await lab.boot('k3s-cp-02');
  await run('install-k3s', '--yes');
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02']);
  await lab.powerOff('k3s-cp-02');
});

test('another token than the snapshot’s is found before anything is stopped', async () => {
  const file = '/etc/rancher/k3s/config.yaml';
  const host = lab.host('k3s-cp-01');
  const before = host.readFile(file) ?? '';
  host.writeFile(file, before.replace(/^token: .*$/m, 'token: "another"'), 0o600);
  const args = [snapshot, '--without', 'k3s-cp-02', '--confirm', 'homelab'];
  const { code, stderr } = await lab.script('etcd-snapshot', 'restore', ...args);
  host.writeFile(file, before, 0o600);
  assert.is(code, 1);
  assert.match(stderr, 'is of a cluster with another token than k3s-cp-01 has');
  assert.not.match(stderr, 'stop k3s');
});

test('the token appears in no journal', () => {
  const folder = join(lab.folder, '.state/homelab');
  const token = readFileSync(join(folder, 'secrets/k3s-token'), 'utf8').trim();
  for (const name of readdirSync(join(folder, 'runs')))
    assert.not(readFileSync(join(folder, 'runs', name), 'utf8').includes(token), name);
});

test.run();
