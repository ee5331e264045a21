import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { installScript } from '../lib/lab/cluster/index.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** Nodes without the internet, and the node with the GPU: what a person brings, and installs, beside K3s. */
const test = suite('install-k3s with files of this machine');
let lab: TestLab;
const BINARY = '/usr/local/bin/k3s';
const NODES = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
const binary = (version: string, more = ''): string =>
  `#!/bin/sh\necho "k3s version ${version} (marker of a test)"\n${more}`;

test.before(async () => {
  lab = await startTestLab();
  put('k3s', binary('v1.36.5+k3s1'));
  put('k3s-airgap-images-amd64.tar.zst', 'images');
  put('install.sh', installScript());
  lab.edit(
    '  service_cidr: 10.43.0.0/16',
    `  service_cidr: 10.43.0.0/16
  airgap: { binary: files/k3s, images: files/k3s-airgap-images-amd64.tar.zst, script: files/install.sh }`,
  );
});
test.after(() => lab.close());

function put(name: string, text: string): void {
  const file = join(lab.folder, 'files', name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
const run = () => lab.script('install-k3s', '--yes');
const lockText = (): string => readFileSync(join(lab.folder, 'homelab.lock.yaml'), 'utf8');

test('K3s is brought from this machine, nothing is downloaded, and what was used is recorded', async () => {
  const { code, stderr } = await run();
  assert.is(code, 0, stderr);
  assert.not.match(stderr, 'fetch the install script');
  for (const name of NODES) {
    assert.is(lab.host(name).readFile(BINARY), binary('v1.36.5+k3s1'), name);
    assert.is(lab.host(name).readFile('/var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar.zst'), 'images');
    assert.ok(lab.host(name).commands.some((command) => command.includes('INSTALL_K3S_SKIP_DOWNLOAD=true')));
  }
  assert.match(lockText(), /k3s\/v1.36.5\+k3s1\/binary: [0-9a-f]{64}/);
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('a file that changed under the same version is refused, with both hashes', async () => {
  put('k3s', binary('v1.36.5+k3s1', '# other\n'));
  const { code, stderr } = await run();
  assert.is(code, 1);
  assert.match(stderr, /blocker: files\/k3s has the SHA-256 [0-9a-f]{64}; for v1.36.5\+k3s1 homelab.lock.yaml has/);
  put('k3s', binary('v1.36.5+k3s1'));
});

test('a binary of another version is found out before anything is replaced', async () => {
  put('k3s', binary('v1.36.5+k3s1', '# not what k3s.version says\n'));
  put('k3s-airgap-images-amd64.tar.zst', 'newer images');
  lab.edit('version: v1.36.5+k3s1', 'version: v1.37.1+k3s1');
  const { code, stderr } = await run();
  assert.is(code, 1);
  assert.match(stderr, 'it is v1.36.5+k3s1, and k3s.version says v1.37.1+k3s1');
  assert.is(lab.host('k3s-cp-01').readFile(BINARY), binary('v1.36.5+k3s1'));
  assert.is(lab.host('k3s-cp-01').readFile(`${BINARY}.new`), undefined);
});

test('the right one: node by node, drained, restarted and let in again', async () => {
  const file = join(lab.folder, 'homelab.lock.yaml');
  writeFileSync(file, lockText().replace(/^ {2}k3s\/v1.37.*\n/gm, ''));
  put('k3s', binary('v1.37.1+k3s1'));
  const { code, stderr } = await run();
  assert.is(code, 0, stderr);
  for (const name of NODES) assert.match(stderr, `✓ ${name} is Ready at v1.37.1+k3s1`);
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test('NVIDIA’s toolkit that is installed later: the unit that this node has restarts, and its runtime is proven', async () => {
  const gpu = lab.host('k3s-gpu-01');
  gpu.writeFile('/usr/bin/nvidia-container-runtime', '', 0o755);
  chmodSync(join(gpu.root, 'usr/bin/nvidia-container-runtime'), 0o755);
  const { stdout } = await lab.script('install-k3s', '--dry-run');
  assert.match(stdout, "+ k3s-gpu-01: stop k3s-agent  (NVIDIA's toolkit was installed after k3s-agent started)");
  const { code, stderr } = await run();
  assert.is(code, 0, stderr);
  assert.match(stderr, "✓ containerd on k3s-gpu-01 has NVIDIA's runtime: in config.toml");
  assert.not.match(stderr, 'k3s-cp-01: stop');
  assert.equal(await lab.plannedBy('install-k3s'), []);
});

test.run();
