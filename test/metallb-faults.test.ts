import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ofKind } from '../lib/kube-object.ts';
import { at } from '../lib/loose.ts';
import { EXCLUDED } from '../lib/plan/metallb-seen.ts';
import type { KubeObject } from '../lib/step.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';
import { withPorts } from './lab-ports.ts';

/** What goes wrong with MetalLB: named, nothing half-done, and the next run converges. One story from test to test. */
const test = suite('install-metallb and faults');
let lab: TestLab;

const POOL = '10.20.11.200-10.20.11.220';
let pool = POOL;
/** Writes another pool into homelab.yaml. */
function pooled(to: string): void {
  lab.edit(`pool: ${pool}`, `pool: ${to}`);
  pool = to;
}

const list = (kind: string, apiVersion = 'metallb.io/v1beta1'): Promise<KubeObject[]> =>
  withPorts(lab.configFile, async ({ kube }) => {
    const answer = await kube.survey([{ apiVersion, kind }]);
    return answer.ok ? ofKind(answer.value, { apiVersion, kind }) : [];
  });
/** The pool that MetalLB has. */
const livePool = async (): Promise<unknown> => at((await list('IPAddressPool'))[0], 'spec.addresses.0');
const kubectl = (...args: string[]) =>
  withPorts(lab.configFile, ({ ssh }) => ssh.run('k3s-cp-01', ['k3s', 'kubectl', ...args], { sudo: true }));

test.before(async () => {
  lab = await startTestLab();
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
});
test.after(() => lab.close());

test('a chart whose job fails: its cause, and nothing is set up on it', async () => {
  lab.cluster.faults.helm.metallb =
    'Error: INSTALLATION FAILED: Get "https://metallb.github.io/metallb/index.yaml": dial tcp: lookup metallb.github.io: no such host';
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  delete lab.cluster.faults.helm.metallb;
  assert.is(code, 1);
  assert.match(stderr, /probable cause: the nodes do not reach the chart's repository/);
  assert.match(stderr, /\| .*lookup metallb\.github\.io: no such host/);
  assert.match(stderr, /– apply IPAddressPool homelab \(skipped/);
  assert.equal(await list('IPAddressPool'), []);
});

test('the rerun converges, though the webhook serves late', async () => {
  lab.cluster.faults.metallbWebhook = true;
  setTimeout(() => delete lab.cluster.faults.metallbWebhook, 8000);
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, /✓ a speaker announces it: k3s-cp-0\d \(eth0\)/);
  assert.equal(await lab.plannedBy('install-metallb'), []);
});

test('a webhook that never serves: named, and the pool stays as it was', async () => {
  lab.cluster.faults.metallbWebhook = true;
  pooled('10.20.11.200-10.20.11.219');
  const { code, stderr } = await lab.hurried('install-metallb', '--yes');
  assert.is(code, 1);
  assert.match(stderr, /failed calling webhook "ipaddresspoolvalidationwebhook\.metallb\.io"/);
  assert.match(stderr, /probable cause: the webhook \S+ has not served for 180 s, though its pods were ready/);
  assert.match(stderr, /to fix: see `k3s kubectl -n metallb-system get pods`/);
  assert.is(await livePool(), POOL);
  delete lab.cluster.faults.metallbWebhook;
  const again = await lab.script('install-metallb', '--yes');
  assert.is(again.code, 0, again.stderr);
  assert.is(await livePool(), pool);
});

test('a pool that moves away from addresses in use: what is lost is told, and must be confirmed', async () => {
  const before = pool;
  pooled('10.20.11.210-10.20.11.219');
  const refused = await lab.script('install-metallb', '--yes');
  assert.is(refused.code, 2);
  assert.match(refused.stderr, 'is lost: 10.20.11.200, the address of Service kube-system/traefik');
  assert.match(refused.stderr, 'nothing was changed');
  assert.is(await livePool(), before);
  const { code, stderr } = await lab.script('install-metallb', '--yes', '--confirm', 'homelab');
  assert.is(code, 0, stderr);
  assert.is(await livePool(), pool);
  assert.equal(await lab.plannedBy('install-metallb'), []);
});

test('an exhausted pool: named before anything is applied for the proof, and the next run holds', async () => {
  pooled('10.20.11.210-10.20.11.210');
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  assert.is(code, 1);
  assert.match(
    stderr,
    /✗ a LoadBalancer gets an address of \S+: the pool is exhausted: all 1 addresses are in use; widen metallb\.pool/,
  );
  const waiting = await lab.script('install-metallb', '--dry-run');
  assert.match(waiting.stdout, /warning: the pool is exhausted: .* are in use \(Service kube-system\/traefik\)/);
  assert.not.match(JSON.stringify(lab.cluster.snapshot()), 'homelab-proof-metallb');
  pooled(POOL);
  const again = await lab.script('install-metallb', '--yes');
  assert.is(again.code, 0, again.stderr);
});

test('an address of the pool that somebody has: named before MetalLB gets it', async () => {
  const leave = await lab.stranger('10.20.11.222');
  const before = pool;
  pooled('10.20.11.200-10.20.11.225');
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  assert.is(code, 1);
  assert.match(
    stderr,
    /blocker: metallb\.pool has addresses that others use: 10\.20\.11\.222 \(the machine with the MAC address bc:24:11:\S+, as k3s-cp-01 sees it\)/,
  );
  assert.is(await livePool(), before);
  await leave();
  const again = await lab.script('install-metallb', '--yes');
  assert.is(again.code, 0, again.stderr);
});

test('nodes that announce nothing: some is a warning, all is a blocker', async () => {
  const nodes = lab.lab.config.k3s.nodes.map(({ name }) => name);
  await kubectl('label', 'node', 'k3s-cp-01', `${EXCLUDED}=`);
  const some = await lab.script('install-metallb', '--yes');
  assert.is(some.code, 0, some.stderr);
  assert.match(some.stderr, `warning: k3s-cp-01 has the label ${EXCLUDED}`);
  assert.match(some.stderr, /✓ a speaker announces it: k3s-cp-02/);
  await kubectl('label', 'node', 'k3s-cp-02', `${EXCLUDED}=`);
  const all = await lab.script('install-metallb', '--yes');
  assert.is(all.code, 1);
  assert.match(all.stderr, 'blocker: no node would announce an address: k3s-cp-01 has the label');
  assert.match(all.stderr, 'k3s-gpu-01 has the taint dedicated=gpu:NoSchedule');
  for (const name of nodes) await kubectl('label', 'node', name, `${EXCLUDED}-`);
  assert.equal(await lab.plannedBy('install-metallb'), []);
});

test('servicelb that is not disabled: refused by name, and nothing is changed', async () => {
  const file = join(lab.host('k3s-cp-02').root, 'etc/rancher/k3s/config.yaml');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace('servicelb', 'local-storage'));
  const { code, stderr } = await lab.script('install-metallb', '--yes');
  assert.is(code, 1);
  assert.match(stderr, 'blocker: servicelb is not disabled on k3s-cp-02: it and MetalLB would both answer');
  writeFileSync(file, text);
  const again = await lab.script('install-metallb', '--yes');
  assert.is(again.code, 0, again.stderr);
  assert.match(again.stderr, 'install-metallb: nothing to do; 3 of 3 proofs hold');
});

test.run();
