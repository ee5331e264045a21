import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startTestLab, type TestLab } from './lab-harness.ts';
import { NEXT_VERSION } from './lab-scripts.ts';

/** An upgrade as its owner meets it, with what may stop it: one story from test to test. */
const test = suite('an upgrade of K3s in the lab');
let lab: TestLab;
const NODES = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
const FIRST = 'v1.36.5+k3s1';

test.before(async () => {
  lab = await startTestLab();
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  await lab.cluster.settle();
});
test.after(() => lab.close());

async function kubectl(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await lab.asRoot('k3s-cp-01', 'k3s', 'kubectl', ...args);
  assert.is(code, 0, stderr);
  return stdout;
}
async function apply(...objects: object[]): Promise<void> {
  const list = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
  lab.host('k3s-cp-01').writeFile('/root/objects.json', list);
  await kubectl('apply', '--server-side', '--field-manager=test', '-f', '/root/objects.json');
  await lab.cluster.settle();
}
const node = async (name: string): Promise<{ spec: { unschedulable?: boolean }; metadata: { annotations: object } }> =>
  JSON.parse(await kubectl('get', 'node', name, '-o', 'json'));
const onNode = (name: string): object => ({ nodeSelector: { 'kubernetes.io/hostname': name } });
const container = { name: 'web', image: 'nginx' };
const bare = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'debug', namespace: 'default' } },
  spec: { ...onNode('k3s-cp-01'), containers: [container] },
};
const deployment = {
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web', namespace: 'default' } },
  spec: {
    ...{ replicas: 1, selector: { matchLabels: { app: 'web' } } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: { ...onNode('k3s-cp-02'), containers: [container], volumes: [{ name: 'tmp', emptyDir: {} }] },
    },
  },
};
const budget = {
  ...{ apiVersion: 'policy/v1', kind: 'PodDisruptionBudget', metadata: { name: 'web', namespace: 'default' } },
  spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } },
};
const running = (name: string): string => lab.host(name).readFile('/usr/local/bin/k3s')?.split(' ')[1] ?? '';
const stops = (name: string): number =>
  lab.host(name).commands.filter((command) => /systemctl stop/.test(command)).length;

test('a pod that nothing would make again stops it at the first node, which goes on as before', async () => {
  await apply(bare);
  lab.edit(`version: ${FIRST}`, `version: ${NEXT_VERSION}`);
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 1);
  assert.match(stderr, '✓ save a snapshot of etcd on k3s-cp-01 (before-v1.37.1-k3s1, in server/db/snapshots)');
  assert.match(
    stderr,
    /error: the pods of k3s-cp-01 cannot be .*still there: .*default\/debug.*; it goes on as before/,
  );
  assert.match(stderr, 'probable cause: nothing would make default/debug again');
  assert.match(stderr, '– k3s-cp-01: stop k3s (skipped');
  assert.match(stderr, '– k3s-cp-02: install K3s v1.37.1+k3s1 (skipped');
  assert.is(stops('k3s-cp-01'), 0);
  assert.is(running('k3s-cp-02'), FIRST, 'nothing after it was touched');
  const { spec, metadata } = await node('k3s-cp-01');
  assert.is(spec.unschedulable, undefined, 'it takes pods again');
  assert.not.match(JSON.stringify(metadata.annotations), 'cordoned');
});

test('a budget stops it too; the node before has gone through', async () => {
  await kubectl('delete', 'pod', 'debug', '-n', 'default');
  await apply(deployment, budget);
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 1);
  assert.match(stderr, `✓ k3s-cp-01: wait until it is Ready at ${NEXT_VERSION}`);
  assert.match(stderr, '✓ k3s-cp-01: let pods in again');
  assert.match(stderr, /warning: k3s-cp-02 is drained, and lost is what pods keep .*default\/web-\S+ \(tmp\)/);
  assert.match(stderr, 'error: the pods of k3s-cp-02 cannot be moved to other nodes');
  assert.match(stderr, /probable cause: a PodDisruptionBudget keeps default\/web-\S+ where it is/);
  assert.match(stderr, 'kubectl -n default get pdb');
  assert.is((await node('k3s-cp-02')).spec.unschedulable, undefined);
  assert.is(running('k3s-gpu-01'), FIRST);
});

test('killed while a node is cordoned: the next run knows its own mark', async () => {
  await kubectl('delete', 'pdb', 'web', '-n', 'default');
  const drained = (): boolean =>
    NODES.some((name) => lab.host(name).commands.some((command) => command.includes('kubectl drain k3s-cp-02')));
  for (const name of NODES) lab.host(name).commands.length = 0;
  const { child, ended } = lab.launch('install-k3s', ['--yes']);
  while (!drained()) await new Promise((resolve) => setTimeout(resolve, 10));
  child.kill('SIGKILL');
  await ended;
  await lab.cluster.settle();
  assert.is((await node('k3s-cp-02')).spec.unschedulable, true);
  // With one of two servers down the API is silent, and cannot say whose the cordon is.
  await lab.asRoot('k3s-cp-02', 'systemctl', 'stop', 'k3s');
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  for (const name of NODES) {
    assert.match(stderr, `✓ ${name} is Ready at ${NEXT_VERSION}`);
    assert.is((await node(name)).spec.unschedulable, undefined, name);
  }
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('a node that its owner cordoned stays so', async () => {
  await kubectl('cordon', 'k3s-gpu-01');
  assert.equal(await lab.plannedBy('install-k3s'), []);
  assert.is((await node('k3s-gpu-01')).spec.unschedulable, true);
  await kubectl('uncordon', 'k3s-gpu-01');
});

test('a node of which somebody took our cordon back loses our mark; the next cordon is its owner’s', async () => {
  await kubectl('annotate', 'node', 'k3s-gpu-01', 'homelab/cordoned-by=install-k3s');
  assert.equal(await lab.plannedBy('install-k3s'), ['k3s-gpu-01/unmark']);
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  await kubectl('cordon', 'k3s-gpu-01');
  assert.equal(await lab.plannedBy('install-k3s'), []);
  await kubectl('uncordon', 'k3s-gpu-01');
});

test('there is no way back, and none over a minor version', async () => {
  lab.edit(`version: ${NEXT_VERSION}`, `version: ${FIRST}`);
  const back = await lab.script('install-k3s', '--yes');
  assert.is(back.code, 1);
  assert.match(back.stderr, /blocker: k3s-cp-01: v1.36.5\+k3s1 is older than v1.37.1\+k3s1.*K3s cannot go back/);
  lab.edit(`version: ${FIRST}`, 'version: v1.39.0+k3s1');
  const over = await lab.script('install-k3s', '--yes');
  assert.match(
    over.stderr,
    /blocker: k3s-cp-01: .* a minor version would be skipped; set k3s.version to a v1.38 first/,
  );
  lab.edit('version: v1.39.0+k3s1', `version: ${NEXT_VERSION}`);
});

test.run();
