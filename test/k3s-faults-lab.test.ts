import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { startTestLab, type TestLab } from './lab-harness.ts';

/**
 * Whatever can go wrong on day one while the second server is brought in, one fault after another on the same
 * machines. Each is named, leaves nothing half-done, and the next run goes on.
 */
const test = suite('faults of install-k3s on day one');
let lab: TestLab;
const SECOND = 'k3s-cp-02';
const CONFIG = '/etc/rancher/k3s/config.yaml';

test.before(async () => {
  lab = await startTestLab();
});
test.after(() => lab.close());

const run = (...args: string[]) => lab.script('install-k3s', '--yes', ...args);
const starts = (): number => lab.host(SECOND).commands.filter((command) => / start --no-block /.test(command)).length;
/** Nothing was started on the second server, and the first one runs as it did. */
function untouched(): void {
  assert.is(starts(), 0);
  assert.equal(
    lab.cluster.snapshot().clusters.map(({ servers }) => servers),
    [['k3s-cp-01']],
  );
}

test('its disk is full when the configuration is written', async () => {
  lab.host(SECOND).faults.full = /config\.yaml/;
  const { code, stderr } = await run();
  lab.host(SECOND).faults.full = undefined;
  assert.is(code, 1);
  assert.match(stderr, `error: ${CONFIG} could not be written on ${SECOND}`);
  assert.match(stderr, 'probable cause: its disk is full');
  assert.match(stderr, '✓ k3s-cp-01: wait until it is Ready');
  assert.match(stderr, `– ${SECOND}: start k3s (skipped`);
  assert.is(lab.host(SECOND).readFile(CONFIG), undefined);
  untouched();
});

test('its disk is full when K3s is installed', async () => {
  lab.host(SECOND).faults.full = /k3s-install\.sh server/;
  const { code, stderr } = await run();
  lab.host(SECOND).faults.full = undefined;
  assert.is(code, 1);
  assert.match(stderr, `✗ ${SECOND}: install K3s`);
  assert.match(stderr, 'probable cause: its disk is full');
  untouched();
});

test('there is no room for K3s at all: said before anything is done', async () => {
  lab.host(SECOND).disk.fileSystem = 400 * 2 ** 20;
  const { code, stderr } = await run();
  lab.host(SECOND).disk.fileSystem = 50 * 2 ** 30;
  assert.is(code, 1);
  assert.match(stderr, /blocker: k3s-cp-02 has 0\.4 GiB free under \/var\/lib: K3s does not fit/);
  untouched();
});

test('its root file system is read-only', async () => {
  lab.host(SECOND).writeFile('/proc/mounts', '/dev/sda2 / ext4 ro,relatime 0 0\n');
  const { code, stderr } = await run();
  lab.host(SECOND).writeFile('/proc/mounts', '/dev/sda2 / ext4 rw,relatime 0 0\n');
  assert.is(code, 1);
  assert.match(stderr, `blocker: the root file system of ${SECOND} is mounted read-only`);
  untouched();
});

test('the install script is not the one whose hash was recorded', async () => {
  const file = join(lab.folder, 'homelab.lock.yaml');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, text.replace(/[0-9a-f]{64}/, 'f'.repeat(64)));
  const { code, stderr } = await run();
  writeFileSync(file, text);
  assert.is(code, 1);
  assert.match(stderr, '✗ fetch the install script of K3s v1.36.5+k3s1');
  assert.match(stderr, 'f'.repeat(64));
  assert.match(stderr, `– ${SECOND}: bring the install script (skipped`);
  assert.is(lab.host(SECOND).readFile('/usr/local/bin/k3s'), undefined);
  untouched();
});

test('its clock is ten minutes behind', async () => {
  lab.cluster.faults.clocks[SECOND] = -600;
  const { code, stderr } = await run();
  delete lab.cluster.faults.clocks[SECOND];
  assert.is(code, 1);
  assert.match(
    stderr,
    /blocker: the clock of k3s-cp-02 is (5\d\d|600) s behind the others: .* it cannot join; see `timedatectl`/,
  );
  untouched();
});

test('it has the name of another machine', async () => {
  lab.host(SECOND).writeFile('/etc/hostname', 'k3s-cp-01\n');
  const { code, stderr } = await run();
  lab.host(SECOND).writeFile('/etc/hostname', `${SECOND}\n`);
  assert.is(code, 1);
  assert.match(stderr, `blocker: ${SECOND} calls itself k3s-cp-01: is this the right machine?`);
  untouched();
});

test('our token is not the cluster’s', async () => {
  const file = join(lab.folder, '.state/homelab/secrets/k3s-token');
  const token = readFileSync(file, 'utf8');
  writeFileSync(file, 'beef'.repeat(16));
  const { code, stderr } = await run();
  writeFileSync(file, token);
  assert.is(code, 1);
  assert.match(
    stderr,
    /blocker: k3s-cp-01 has a cluster with another token than .*k3s-token: whoever joins with that one is refused/,
  );
  assert.not.match(stderr, token.trim());
  untouched();
});

test('all mended: the next run brings everything up, as one cluster', async () => {
  const { code, stderr } = await run();
  assert.is(code, 0, stderr);
  assert.equal(
    lab.cluster.snapshot().clusters.map(({ servers }) => servers),
    [['k3s-cp-01', SECOND]],
  );
  assert.equal(await lab.plannedBy('install-k3s'), []);
  assert.not(existsSync(join(lab.host(SECOND).root, `${CONFIG}.tmp`)));
});

test.run();
