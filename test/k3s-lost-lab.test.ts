import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** Two servers of which one is lost, as its owner meets it at eleven at night: one story from test to test. */
const test = suite('install-k3s after a lost server');
let lab: TestLab;

test.before(async () => {
  lab = await startTestLab();
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  await lab.cluster.settle();
});
test.after(() => lab.close());

const objects = (): string[] => Object.keys(lab.cluster.snapshot().clusters[0]?.objects ?? {});
const members = (): unknown => lab.cluster.snapshot().clusters.map(({ servers }) => servers);
const copies = (name: string): string[] =>
  readdirSync(join(lab.host(name).root, 'var/lib/homelab')).filter((file) => file.startsWith('etcd-before-reset'));
const config = (name: string): string => lab.host(name).readFile('/etc/rancher/k3s/config.yaml') ?? '';

test('the first server is rebuilt: what happened is said by name, with the arithmetic, and nothing is done unasked', async () => {
  await lab.destroy('k3s-cp-01');
  await lab.boot('k3s-cp-01');
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 2);
  assert.match(
    stderr,
    'warning: k3s-cp-01 was replaced, and etcd has no majority. etcd: 2 members, 2 needed (⌊2/2⌋+1), 1 left',
  );
  assert.match(stderr, 'k3s-cp-02: reset etcd to k3s-cp-02 alone (it keeps its data)');
  assert.match(stderr, 'is lost: the membership of k3s-cp-01 in etcd, whose machine is empty');
  assert.match(stderr, 'to fix: give --confirm homelab when that is wanted');
  assert.is(config('k3s-cp-01'), '', 'nothing was written');
});

test('confirmed, and the other machine goes away before the reset: nothing is stopped, and it says why', async () => {
  const left = lab.host('k3s-cp-02');
  left.faults.delay = 700;
  const written = left.commands.length;
  const { ended } = lab.launch('install-k3s', ['--yes', '--confirm', 'homelab']);
  while (!left.commands.slice(written).some((command) => command.includes('config.yaml 0600')))
    await new Promise((resolve) => setTimeout(resolve, 20));
  await lab.powerOff('k3s-cp-01');
  const { code, stderr } = await ended;
  left.faults.delay = undefined;
  assert.is(code, 1, stderr);
  assert.match(
    stderr,
    'etcd is not reset to k3s-cp-02: k3s-cp-01 does not answer: it may come back with what it knows',
  );
  assert.match(stderr, 'a server has changed since the plan was made');
  assert.not(left.commands.slice(written).some((command) => command.includes('systemctl stop')));
  assert.equal(copies('k3s-cp-02'), []);
  await lab.boot('k3s-cp-01');
});

test('confirmed: a copy, the reset, and the rebuilt first server joins the one that is left', async () => {
  const before = objects();
  const { code, stderr } = await lab.script('install-k3s', '--yes', '--confirm', 'homelab');
  assert.is(code, 0, stderr);
  assert.is(copies('k3s-cp-02').length, 1);
  assert.equal(members(), [['k3s-cp-01', 'k3s-cp-02']], 'one cluster');
  assert.match(config('k3s-cp-01'), 'server: https://10.20.11.81:6443');
  assert.not.match(config('k3s-cp-01'), 'cluster-init');
  assert.match(config('k3s-cp-02'), 'cluster-init: true');
  assert.equal(
    before.filter((object) => !objects().includes(object)),
    [],
    'what the cluster held it still holds',
  );
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('the other one is rebuilt, and the run dies between the reset and the start: the next one goes on', async () => {
  await lab.destroy('k3s-cp-02');
  await lab.boot('k3s-cp-02');
  lab.cluster.faults.units['k3s-cp-01/k3s'] = 'the power was cut';
  const { code } = await lab.script('install-k3s', '--yes', '--confirm', 'homelab');
  assert.is(code, 1);
  assert.equal(members(), [['k3s-cp-01']]);
  delete lab.cluster.faults.units['k3s-cp-01/k3s'];
  const again = await lab.script('install-k3s', '--yes');
  assert.is(again.code, 0, again.stderr);
  assert.not.match(again.stderr, 'reset etcd');
  assert.equal(members(), [['k3s-cp-01', 'k3s-cp-02']]);
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('one that is only switched off is waited for, not replaced', async () => {
  await lab.powerOff('k3s-cp-02');
  const { code, stdout } = await lab.script('install-k3s', '--check');
  assert.is(code, 3);
  assert.match(stdout, 'blocker: k3s-cp-02 is not reachable');
  assert.not.match(stdout, 'reset etcd');
  await lab.boot('k3s-cp-02');
  await lab.cluster.settle();
  const { code: mended, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(mended, 0, stderr);
});

test('a server that died after the plan was made: the other one is not stopped, and the arithmetic says why', async () => {
  lab.edit('search_domain: home.arpa', 'search_domain: lab.arpa');
  const first = lab.host('k3s-cp-01');
  first.faults.delay = 700;
  const written = first.commands.length;
  const { ended } = lab.launch('install-k3s', ['--yes']);
  while (!first.commands.slice(written).some((command) => command.includes('config.yaml 0600')))
    await new Promise((resolve) => setTimeout(resolve, 20));
  await lab.powerOff('k3s-cp-02');
  const { code, stderr } = await ended;
  first.faults.delay = undefined;
  assert.is(code, 1);
  assert.match(
    stderr,
    'k3s-cp-01 must not be stopped now. etcd: 2 members, 2 needed (⌊2/2⌋+1), 1 ready; without k3s-cp-01',
  );
  assert.match(stderr, 'to fix: start k3s-cp-02 first, and run this again');
  assert.not(first.commands.slice(written).some((command) => command.includes('systemctl stop')));
});

test('when it is back, the rerun converges', async () => {
  await lab.boot('k3s-cp-02');
  await lab.cluster.settle();
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('only one of two may be restarted at a time: asked for one while the other is down, it refuses', async () => {
  lab.edit('search_domain: lab.arpa', 'search_domain: home.arpa');
  await lab.cluster.settle();
  await lab.asRoot('k3s-cp-02', 'systemctl', 'stop', 'k3s');
  const { code, stderr } = await lab.script('install-k3s', '--yes', '--limit', 'k3s-cp-01');
  assert.is(code, 1);
  assert.match(stderr, 'k3s-cp-01 must not be stopped now. etcd: 2 members, 2 needed');
  assert.match(stderr, 'start k3s-cp-02 first');
});

test.run();
