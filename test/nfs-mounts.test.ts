import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Proof } from '../lib/step.ts';
import { tryMounts } from '../lib/verify/nfs-mounts.ts';
import { proofsOfNas } from '../lib/verify/nfs-proofs.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

/** Mounts are tried for real: over SSH, in a real shell, against the embedded lab's NAS. */
const Mounts = suite('mounts from every host');
const said = 'npx tsx scripts/setup-nfs.ts --settings prints what to enter';
const K3S = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
const PROXMOX = ['pve-01', 'pve-02', 'pve-03'];
let world: TestLab;

Mounts.before(async () => {
  world = await testLab();
  for (const name of K3S) await world.start(name);
  for (const name of PROXMOX) await world.start(name, { user: 'root' });
});
Mounts.after(() => world.close());

const proveMounts = async (lab: TestLab['lab'], ports: TestLab): Promise<Proof[]> =>
  (await tryMounts(lab, ports)).flatMap(({ nas, tried }) => proofsOfNas(nas, tried));
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
  assert.is(proofs.filter(({ claim }) => claim.includes('cannot mount')).length, 10);
  assert.ok(proofs.some(({ claim }) => claim === 'k3s-gpu-01 cannot mount synology:/volume1/k3s-backups'));
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
    proofs.includes(
      `pve-01 cannot mount unas:/var/nfs/shared/K3sStorage: it could mount: the export is open to it; to fix: ${said}`,
    ),
  );
});

Mounts('a NAS that is off refuses nobody', async () => {
  world.nas.setDown('unas', true);
  const proofs = failed(await proveMounts(world.lab, world));
  world.nas.setDown('unas', false);
  assert.is(proofs.length, 1);
  assert.match(
    proofs[0]!,
    /^unas \(10\.20\.10\.20\) answers: it does not answer any of k3s-cp-01, .*, pve-03: .*; is it on\?$/,
  );
});

for (const [what, fault, expected] of [
  [
    'an export that the NAS does not have',
    'missing',
    `unas has the export /var/nfs/shared/K3sStorage: the NAS shows 10.20.11.80 no export /var/nfs/shared/K3sStorage (only /var/nfs/shared/VMStorage); so say k3s-cp-01, k3s-cp-02, k3s-gpu-01; to fix: ${said}`,
  ],
  [
    'handles that the NAS does not know any more',
    'stale',
    'unas has the export /var/nfs/shared/K3sStorage: stale file handle: the NAS does not find any more what it exports (its disk or folder was replaced or remounted while its NFS server ran): mount.nfs: Stale file handle; so say k3s-cp-01, k3s-cp-02, k3s-gpu-01; to fix: `exportfs -ra`, or restart NFS, on unas, and run this again',
  ],
] as const)
  Mounts(`${what}: said once, with what to do; the next run holds`, async () => {
    world.nas.faults[fault].add('unas/K3sStorage');
    const proofs = failed(await proveMounts(world.lab, world));
    world.nas.faults[fault].clear();
    assert.equal(proofs, [expected]);
    assert.equal(failed(await proveMounts(world.lab, world)), []);
  });

Mounts('a host whose mount mounts nothing: nothing is written to its own disk', async () => {
  world.nas.faults.phantom.add('k3s-cp-02');
  const proofs = failed(await proveMounts(world.lab, world));
  world.nas.faults.phantom.clear();
  const own = proofs.filter((line) => line.startsWith('k3s-cp-02 can use unas'));
  assert.is(own.length, 1);
  assert.match(own[0]!, /: mount said yes, and nothing is mounted: what is written there lands on the local disk: /);
  const run = join(world.folder, 'hosts', 'k3s-cp-02', 'root', 'run');
  assert.equal(existsSync(run) ? readdirSync(run).filter((each) => each.startsWith('homelab-proof')) : [], []);
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
  other.nas[0]!.exports[1]!.clients = ['k3s', 'kvm-02'];
  const proofs = await proveMounts({ ...world.lab, config: other }, world);
  assert.equal(
    proofs.filter(({ skipped }) => skipped).map(({ claim, detail }) => `${claim}: ${detail}`),
    [
      'kvm-02 can use unas:/var/nfs/shared/K3sStorage: not tried: no node of K3s or Proxmox',
      'synology:/volume1/k3s-backups can be used: not tried: only kvm-01 may, which is no node of K3s or Proxmox',
    ],
  );
});
Mounts.run();
