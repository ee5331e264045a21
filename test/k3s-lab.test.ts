import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** install-k3s as a person runs it, on machines of the embedded lab, one story from test to test. */
const test = suite('install-k3s in the lab');
let lab: TestLab;
const NODES = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];

test.before(async () => {
  lab = await startTestLab();
});
test.after(() => lab.close());

const state = (path: string): string => join(lab.folder, '.state', 'homelab', path);
const starts = (name: string, unit: string): number =>
  lab.host(name).commands.filter((command) => command.includes(`start --no-block ${unit}`)).length;

test('a dry run changes nothing', async () => {
  const { code, stdout } = await lab.script('install-k3s', '--dry-run');
  assert.is(code, 0);
  assert.match(stdout, 'warning: 2 K3s servers: etcd needs 2 of 2');
  assert.match(stdout, '+ k3s-cp-02: start k3s');
  assert.not(existsSync(state('secrets')));
  assert.is(lab.host('k3s-cp-01').readFile('/etc/rancher/k3s/config.yaml'), undefined);
});

test('a server that does not come up: its journal, and the cause', async () => {
  lab.cluster.faults.units['k3s-cp-02/k3s'] = 'etcdserver: too many learner members in cluster';
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  delete lab.cluster.faults.units['k3s-cp-02/k3s'];
  assert.is(code, 1);
  assert.match(stderr, 'k3s on k3s-cp-02 failed to start');
  assert.match(stderr, /\| {12}level=fatal msg="etcdserver: too many learner members in cluster"/);
  assert.match(stderr, / \| {2}ports {5}k3s-cp-02 → k3s-cp-01 {2}6443 open · 2379 open · 2380 open/);
  for (const line of stderr.split('\n').filter((one) => one.startsWith('  | ')))
    assert.ok([...line].length <= 100, line);
  assert.match(stderr, 'probable cause: another server is joining at the same time');
  assert.match(stderr, '– k3s-gpu-01: start k3s-agent (skipped');
});

test('run again it goes on from there, and proves the cluster', async () => {
  const before = starts('k3s-cp-01', 'k3s');
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, '✓ 2 voting members of etcd, the servers');
  assert.match(stderr, 'proofs hold');
  assert.is(starts('k3s-cp-01', 'k3s'), before, 'the first server was not touched');
});

test('there is one cluster', () => assert.is(lab.cluster.snapshot().clusters.length, 1));

test('run again it has nothing to do, and proves it, in one round trip to each host', async () => {
  const before = new Map(NODES.map((name) => [name, lab.host(name).commands.length]));
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, 'install-k3s: nothing to do; 7 of 7 proofs hold');
  assert.match(stderr, 'note: k3s-gpu-01 has a GPU (rtx4000ada), and no NVIDIA container toolkit');
  for (const name of NODES) assert.is(lab.host(name).commands.length - (before.get(name) ?? 0), 1, name);
});

test('the token is in files with the mode 0600 only, and nowhere else', () => {
  const token = readFileSync(state('secrets/k3s-token'), 'utf8').trim();
  assert.is(token.length, 64);
  assert.is(statSync(state('secrets/k3s-token')).mode & 0o777, 0o600);
  for (const name of NODES) {
    const { root, commands } = lab.host(name);
    assert.is(statSync(join(root, 'etc/rancher/k3s/config.yaml')).mode & 0o777, 0o600);
    assert.not(
      commands.some((command) => command.includes(token)),
      `in a command on ${name}`,
    );
  }
  const runs = execFileSync('/bin/sh', ['-c', 'cat "$1"/*', 'cat', state('runs')], { encoding: 'utf8' });
  assert.not.match(runs, token);
});

test('a kubeconfig for the person, named after the lab', () => {
  const text = readFileSync(state('kubeconfig'), 'utf8');
  assert.match(text, 'server: https://10.20.11.80:6443');
  assert.match(text, 'current-context: homelab');
  assert.is(statSync(state('kubeconfig')).mode & 0o777, 0o600);
});

test('a new label restarts nothing', async () => {
  const before = starts('k3s-gpu-01', 'k3s-agent');
  lab.edit('nvidia.com/gpu.present: "true"', 'nvidia.com/gpu.present: "true", tier: gpu');
  assert.equal(await lab.plannedBy('install-k3s'), ['k3s-gpu-01/labels', 'k3s-gpu-01/config']);
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  assert.is(starts('k3s-gpu-01', 'k3s-agent'), before);
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('a rebuilt agent is forgotten by the cluster, and joins again', async () => {
  await lab.destroy('k3s-gpu-01');
  await lab.boot('k3s-gpu-01');
  await lab.cluster.settle();
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, '✓ k3s-gpu-01: delete its old Node');
  assert.match(stderr, '✓ k3s-gpu-01 has its labels and taints: nvidia.com/gpu.present=true, tier=gpu, dedicated=gpu');
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('a changed configuration restarts each server once, and no agent', async () => {
  const before = [starts('k3s-cp-01', 'k3s'), starts('k3s-cp-02', 'k3s'), starts('k3s-gpu-01', 'k3s-agent')];
  lab.edit('search_domain: home.arpa', 'search_domain: lab.arpa');
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  const after = [starts('k3s-cp-01', 'k3s'), starts('k3s-cp-02', 'k3s'), starts('k3s-gpu-01', 'k3s-agent')];
  assert.equal(after, [before[0]! + 1, before[1]! + 1, before[2]]);
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('a machine that is off: what would be done, and why it cannot be', async () => {
  await lab.powerOff('k3s-gpu-01');
  const { code, stdout } = await lab.script('install-k3s', '--check');
  assert.is(code, 3);
  assert.match(stdout, /blocker: k3s-gpu-01 is not reachable: .*; run provision first/);
  const { code: applied } = await lab.script('install-k3s', '--yes');
  assert.is(applied, 1);
});

test.run();
