import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** install-metallb as a person runs it, on a cluster of the embedded lab. */
const test = suite('install-metallb in the lab');
let lab: TestLab;

test.before(async () => {
  lab = await startTestLab();
});
test.after(() => lab.close());

test('without a cluster: what would be done, and what must be before', async () => {
  const { code, stdout } = await lab.script('install-metallb', '--check');
  assert.is(code, 3);
  assert.match(stdout, /blocker: no K3s server answers: .*; run install-k3s first/);
  assert.match(stdout, '+ apply IPAddressPool homelab');
});

test('chart, pool and announcement, and an answer from outside of the cluster', async () => {
  const installed = await lab.script('install-k3s', '--yes');
  assert.is(installed.code, 0, installed.stderr);
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, /✓ a LoadBalancer gets an address of 10\.20\.11\.200-10\.20\.11\.220: 10\.20\.11\.2\d\d/);
  assert.match(stderr, /✓ it answers HTTP from outside of the cluster: http:\/\/10\.20\.11\.2\d\d\/ → 200/);
});

test('the second plan is empty, and the proof has left nothing', async () => {
  assert.equal(await lab.plannedBy('install-metallb'), []);
  assert.not.match(JSON.stringify(lab.cluster.snapshot()), 'homelab-proof-metallb');
});

test('a pool that somebody changed is corrected', async () => {
  lab.edit('pool: 10.20.11.200-10.20.11.220', 'pool: 10.20.11.200-10.20.11.215');
  assert.equal(await lab.plannedBy('install-metallb'), ['pool']);
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  assert.is(code, 0, stderr);
  assert.equal(await lab.plannedBy('install-metallb'), []);
});

test('helm that fails: its log', async () => {
  lab.edit('version: 0.16.1', 'version: 0.16.2');
  lab.cluster.faults.helm.metallb = 'chart "metallb" version "0.16.2" not found';
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  delete lab.cluster.faults.helm.metallb;
  assert.is(code, 1);
  assert.match(stderr, /\| .*chart "metallb" version "0\.16\.2" not found/);
});

test('the failed upgrade is tried again, though the version before still runs', async () => {
  assert.equal(await lab.plannedBy('install-metallb'), ['metallb/retry', 'metallb/installed', 'metallb/rollout']);
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  assert.is(code, 0, stderr);
  assert.equal(await lab.plannedBy('install-metallb'), []);
});

test.run();
