import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Proof } from '../lib/step.ts';
import { proveMounts } from '../lib/verify/nfs-mounts.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

/** Mounts are tried for real: over SSH, in a real shell, against the embedded lab's NAS. */
const Mounts = suite('mounts from every host');
const K3S = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
const PROXMOX = ['pve-01', 'pve-02', 'pve-03'];
let world: TestLab;

Mounts.before(async () => {
  world = await testLab();
  for (const name of K3S) await world.start(name);
  for (const name of PROXMOX) await world.start(name, { user: 'root' });
});
Mounts.after(() => world.close());

const failed = (proofs: readonly Proof[]): string[] =>
  proofs.filter(({ ok, skipped }) => !ok && !skipped).map(({ claim, detail }) => `${claim}: ${detail}`);

Mounts('without an NFS client nothing is proven, neither use nor refusal', async () => {
  const proofs = failed(await proveMounts(world.lab, world)).filter((line) => line.startsWith('k3s-cp-01'));
  assert.is(proofs.length, 3);
  for (const line of proofs) assert.match(line, /might need a \/sbin\/mount/);
  assert.ok(
    proofs.some((line) => line.startsWith('k3s-cp-01 cannot mount unas:/var/nfs/shared/VMStorage: not proven')),
  );
  for (const name of K3S) {
    const { code } = await world.ssh.run(name, ['apt-get', 'install', '-y', 'nfs-common'], { sudo: true });
    assert.is(code, 0);
  }
});

Mounts('those who may write and read; those who may not are refused; nothing is left', async () => {
  const proofs = await proveMounts(world.lab, world);
  assert.equal(failed(proofs), []);
  assert.is(proofs.length, 18);
  assert.is(proofs.filter(({ claim }) => claim.includes('cannot mount')).length, 9);
  for (const name of [...K3S, ...PROXMOX]) {
    const run = join(world.folder, 'hosts', name, 'root', 'run');
    assert.equal(existsSync(run) ? readdirSync(run).filter((each) => each.startsWith('homelab-proof')) : [], []);
  }
  for (const { name, exports } of world.lab.config.nas)
    for (const each of exports) assert.equal(readdirSync(join(world.folder, 'nas', name, each.name)), []);
});

Mounts('an export that is open to everybody is found, and not written to', async () => {
  world.nas.faults.open.add('unas');
  const proofs = failed(await proveMounts(world.lab, world));
  world.nas.faults.open.clear();
  assert.is(proofs.length, 6);
  assert.ok(
    proofs.includes('pve-01 cannot mount unas:/var/nfs/shared/K3sStorage: it could mount: the export is open to it'),
  );
});

Mounts('a NAS that is off refuses nobody', async () => {
  world.nas.setDown('unas', true);
  const proofs = failed(await proveMounts(world.lab, world));
  world.nas.setDown('unas', false);
  assert.is(proofs.length, 12);
  assert.ok(proofs.some((line) => /^pve-01 cannot mount unas:\S+K3sStorage: not proven: mount\.nfs/.test(line)));
});

Mounts('a folder of somebody else in the export stays', async () => {
  const folder = join(world.folder, 'nas', 'unas', 'K3sStorage', 'my-app-data');
  mkdirSync(folder);
  writeFileSync(join(folder, 'file'), 'x');
  assert.equal(failed(await proveMounts(world.lab, world)), []);
  assert.ok(existsSync(join(folder, 'file')));
});

Mounts('an export for none of the lab’s nodes is skipped, with the reason', async () => {
  const { config } = world.lab;
  const other = structuredClone(config);
  other.nas[1]!.exports[0]!.clients = ['kvm-01'];
  const proofs = await proveMounts({ config: other }, world);
  assert.equal(
    proofs.filter(({ skipped }) => skipped).map(({ detail }) => detail),
    ['not tried: only kvm-01 may, which is no node of K3s or Proxmox'],
  );
});
Mounts.run();
