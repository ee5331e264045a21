import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** What goes wrong later, with a cluster that runs: one fault after another on the same agent. */
const test = suite('faults of install-k3s on a cluster that runs');
let lab: TestLab;
const AGENT = 'k3s-gpu-01';
const UNIT = `${AGENT}/k3s-agent`;

test.before(async () => {
  lab = await startTestLab();
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
});
test.after(() => lab.close());

const run = (...args: string[]) => lab.script('install-k3s', '--yes', ...args);
async function rebuild(): Promise<void> {
  await lab.destroy(AGENT);
  await lab.boot(AGENT);
  await lab.cluster.settle();
}
/** The emulator looks at what went wrong only when something changes. */
async function mended(): Promise<void> {
  lab.cluster.faults.notReady = [];
  lab.cluster.faults.blocked = [];
  await lab.asRoot('k3s-cp-01', 'k3s', 'kubectl', 'annotate', 'node', 'k3s-cp-01', `at=${Date.now()}`, '--overwrite');
}
async function converges(): Promise<void> {
  const { code, stderr } = await run();
  assert.is(code, 0, stderr);
  assert.equal(await lab.plannedBy('install-k3s'), []);
}

test('the cluster remembers another machine by its name', async () => {
  await rebuild();
  await lab.asRoot('k3s-cp-01', 'k3s', 'kubectl', 'delete', 'node', AGENT);
  const secret = {
    ...{ apiVersion: 'v1', kind: 'Secret', type: 'Opaque', data: { hash: 'b3RoZXI=' } },
    metadata: { name: `${AGENT}.node-password.k3s`, namespace: 'kube-system' },
  };
  lab.host('k3s-cp-01').writeFile('/root/secret.json', JSON.stringify(secret));
  await lab.asRoot('k3s-cp-01', 'k3s', 'kubectl', 'apply', '--server-side', '-f', '/root/secret.json');
  const { code, stderr } = await run();
  assert.is(code, 1);
  assert.match(stderr, 'the cluster REMEMBERS another machine by this name');
  assert.match(stderr, `probable cause: the cluster remembers another machine by the name ${AGENT}`);
  const command = `kubectl -n kube-system delete secret ${AGENT}.node-password.k3s`;
  assert.match(stderr, command);
  await lab.asRoot('k3s-cp-01', 'k3s', ...command.split(' '));
  await converges();
});

test('K3s runs on it, and its node never gets Ready', async () => {
  await rebuild();
  lab.cluster.faults.notReady = [AGENT];
  const { code, stderr } = await lab.hurried('install-k3s', '--yes');
  await mended();
  assert.is(code, 1);
  assert.match(stderr, `error: ${AGENT} is Ready at v1.36.5+k3s1: not within 600 s; last seen: it is not Ready`);
  assert.match(stderr, 'probable cause: k3s-agent runs, but its node is not Ready');
  assert.match(stderr, /ports {5}k3s-gpu-01 → k3s-cp-01 {2}6443 open/);
  assert.match(stderr, '8472/udp, through it to the kubelet: k3s-cp-01 open · k3s-cp-02 open');
  await converges();
});

test('the network of the pods is blocked', async () => {
  await rebuild();
  lab.cluster.faults.notReady = [AGENT];
  lab.cluster.faults.blocked = [{ from: 'k3s-cp-01', to: AGENT, port: 8472 }];
  const { code, stderr } = await lab.hurried('install-k3s', '--yes');
  await mended();
  assert.is(code, 1);
  assert.match(stderr, /8472\/udp, through it to the kubelet: k3s-cp-01 (refused|no answer) · k3s-cp-02 open/);
  await converges();
});

test('a restart failed, and the install script says 0: that it does not run is seen all the same', async () => {
  lab.cluster.faults.units[UNIT] = 'exit status 1';
  assert.is((await lab.asRoot(AGENT, 'systemctl', 'restart', 'k3s-agent')).code, 1);
  const again = await lab.asRoot(
    AGENT,
    ...['env', 'INSTALL_K3S_SKIP_DOWNLOAD=true', 'sh', '/var/lib/homelab/k3s-install.sh', 'agent'],
  );
  assert.is(again.code, 0, 'as the real one');
  assert.match(again.stdout, 'No change detected');
  const { code, stderr } = await run();
  assert.is(code, 1);
  assert.match(stderr, `✗ ${AGENT}: wait until it is Ready`);
  delete lab.cluster.faults.units[UNIT];
  await converges();
});

test('it is off: named, and the servers can be worked on without it', async () => {
  await lab.powerOff(AGENT);
  lab.edit('search_domain: home.arpa', 'search_domain: lab.arpa');
  const all = await run();
  assert.is(all.code, 1);
  assert.match(all.stderr, `blocker: ${AGENT} is not reachable`);
  const { code, stderr } = await run('--limit', 'k3s-cp-01,k3s-cp-02');
  assert.match(stderr, `warning: ${AGENT} is not reachable`);
  assert.match(stderr, '✓ k3s-cp-02: wait until it is Ready');
  assert.match(stderr, `– ${AGENT} is Ready at v1.36.5+k3s1: not Ready, v1.36.5+k3s1 (left out by --limit)`);
  assert.is(code, 0, stderr);
  await lab.boot(AGENT);
  await lab.cluster.settle();
  await converges();
});

test.run();
