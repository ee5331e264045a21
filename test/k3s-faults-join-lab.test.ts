import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** What keeps a second server from joining on day one, one fault after another on the same machines. */
const test = suite('faults of a join');
let lab: TestLab;
const SECOND = 'k3s-cp-02';

test.before(async () => {
  lab = await startTestLab();
});
test.after(() => lab.close());

const starts = (): number => lab.host(SECOND).commands.filter((command) => / start --no-block /.test(command)).length;

test('a firewall before the API of the first server', async () => {
  lab.cluster.faults.blocked = [{ from: SECOND, to: 'k3s-cp-01', port: 6443 }];
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  lab.cluster.faults.blocked = [];
  assert.is(code, 1);
  assert.match(stderr, /ports {5}k3s-cp-02 → k3s-cp-01 {2}6443 (refused|no answer) · 2379 open · 2380 open/);
  assert.match(stderr, 'probable cause: k3s-cp-02 does not reach port 6443 of k3s-cp-01');
  assert.match(stderr, 'to fix: nodes need TCP 6443');
});

test('it dies while it joins', async () => {
  lab.cluster.faults.slow[`${SECOND}/k3s`] = 60_000;
  const before = starts();
  const { ended } = lab.launch('install-k3s', ['--yes'], './test/fast-clock.ts');
  const { commands } = lab.host(SECOND);
  while (starts() === before || !commands.at(-1)?.includes('is-active')) await new Promise((go) => setTimeout(go, 20));
  await lab.powerOff(SECOND);
  const { code, stderr } = await ended;
  delete lab.cluster.faults.slow[`${SECOND}/k3s`];
  assert.is(code, 1);
  assert.match(stderr, `probable cause: ${SECOND} does not answer any more`);
  assert.match(stderr, '– k3s-gpu-01: start k3s-agent (skipped');
  await lab.boot(SECOND);
});

test('a firewall between the two etcds: it is not taken in, and both ways are told apart', async () => {
  lab.cluster.faults.blocked = [{ from: SECOND, to: 'k3s-cp-01', port: 2380 }];
  await lab.asRoot(SECOND, 'systemctl', 'stop', 'k3s');
  const { code, stderr } = await lab.hurried('install-k3s', '--yes');
  assert.is(code, 1);
  assert.match(stderr, /error: .*not within 600 s; last seen: k3s is activating|waiting longer does not help/);
  assert.match(stderr, 'probable cause: k3s-cp-02 does not reach port 2380 of k3s-cp-01');
  lab.cluster.faults.blocked = [];
});

test('all mended: the next run brings everything up, as one cluster', async () => {
  const { code, stderr } = await lab.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
  assert.equal(
    lab.cluster.snapshot().clusters.map(({ servers }) => servers),
    [['k3s-cp-01', SECOND]],
  );
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test.run();
