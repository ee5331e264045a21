import { strict as assert } from 'node:assert';
import { readFileSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import { until } from '../lib/deadline.ts';
import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';

/** A disk that homelab.yaml wants bigger: Terraform → Proxmox → partition → PV → LV → file system, without a reboot. */
const test = suite('a disk of a VM that exists grows');
const GIB = 2 ** 30;
let lab: ProvisionLab;
test.before(async () => {
  lab = await startProvisionLab(['terraform', 'packer']);
});
test.after(async () => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

const guest = () => lab.machines.running.get(200)!;
const diskOf = (config: Record<string, unknown> | undefined): string | undefined =>
  /size=([^,]+)/.exec(String(config?.scsi0))?.[1];

test('the root file system of a new VM fills its disk', async () => {
  await lab.putTemplates();
  const { code, stderr } = await lab.run('provision', '--limit', 'k3s-cp-01');
  assert.equal(code, 0, stderr);
  assert.deepEqual([guest().spec.diskBytes, guest().disk.fileSystem], [50 * GIB, 47 * GIB]);
});

test('of one whose disk grows in Proxmox, it does not by itself', async () => {
  const before = guest().hostKey;
  const text = readFileSync(lab.workspace.configFile, 'utf8');
  const bigger = text.replace('memory_gib: 64\n      disk_gib: 50', 'memory_gib: 64\n      disk_gib: 60');
  assert.notEqual(bigger, text);
  writeFileSync(lab.workspace.configFile, bigger);
  const { code, stdout, stderr } = await lab.run('provision', '--limit', 'k3s-cp-01', '--json');
  assert.equal(code, 0, stderr);
  const { applied, proofs } = JSON.parse(stdout) as { applied: { id: string }[]; proofs: { ok: boolean }[] };
  const vm = lab.pve.snapshot().vms.find(({ vmid }) => vmid === 200);
  assert.equal(diskOf(vm?.config), '60G');
  assert.ok(applied.some(({ id }) => id === 'k3s-cp-01/grow-root'));
  assert.ok(proofs.every(({ ok }) => ok));
  assert.equal(guest().spec.diskBytes, 60 * GIB);
  assert.deepEqual(guest().disk, {
    partition: 57 * GIB,
    physicalVolume: 57 * GIB,
    logicalVolume: 57 * GIB,
    fileSystem: 57 * GIB,
  });
  assert.equal(guest().hostKey, before, 'it is the same machine');
});

test('before it is told to, nothing on a disk grows', async () => {
  const { lab: opened, secrets, settings } = openLab(lab.workspace.configFile, {});
  const ports = buildPorts(opened, secrets, settings);
  const df = async (): Promise<string> => {
    const answer = await ports.ssh.read('k3s-cp-01', ['df', '-P', '-k', '/']);
    return answer.ok ? answer.value.stdout : answer.reason;
  };
  try {
    const before = await df();
    await ports.pve.call('PUT', '/nodes/pve-02/qemu/200/resize', { disk: 'scsi0', size: '70G' });
    assert.equal(guest().spec.diskBytes, 70 * GIB);
    assert.equal(await df(), before);
    await ports.pve.call('POST', '/nodes/pve-02/qemu/200/status/reboot');
    await until(
      60,
      'the reboot',
      async () => {
        const seen = await df();
        return seen.startsWith('Filesystem') && seen !== before ? { done: true, value: seen } : { done: false, seen };
      },
      ports.clock,
    );
    assert.equal(guest().disk.fileSystem, 67 * GIB, 'the unit of the template runs at boot');
  } finally {
    await ports.close();
  }
});

test('a growth that stopped between two stages is finished by the next run', async () => {
  const text = readFileSync(lab.workspace.configFile, 'utf8');
  writeFileSync(lab.workspace.configFile, text.replace('disk_gib: 60', 'disk_gib: 70'));
  guest().disk.physicalVolume = 47 * GIB;
  guest().disk.logicalVolume = 47 * GIB;
  guest().disk.fileSystem = 47 * GIB;
  const { code, stdout, stderr } = await lab.run('provision', '--limit', 'k3s-cp-01', '--json');
  assert.equal(code, 0, stderr);
  const { applied } = JSON.parse(stdout) as { applied: { id: string }[] };
  assert.ok(applied.some(({ id }) => id === 'k3s-cp-01/grow-root'));
  assert.equal(guest().disk.fileSystem, 67 * GIB);
});

test.run();
