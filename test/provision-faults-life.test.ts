import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { provisionPrivileges } from '../lib/plan/privileges.ts';
import { type FaultLab, says, startFaultLab, stateText, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** A whole life of the VMs, by a token that has just what provision asks for. */
const test = suite('provision with the real Terraform: a whole life');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
let templates: unknown;
test.before(async () => {
  lab = await startFaultLab(undefined, {
    privileges: (config) =>
      Object.fromEntries(provisionPrivileges(config).map(({ path, privileges }) => [path, privileges])),
  });
  templates = lab.pve.snapshot();
});
test.after(async () => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

const vm = (vmid: number) => lab.pve.snapshot().vms.find((one) => one.vmid === vmid);
const diskOf = (vmid: number): string => String(vm(vmid)?.config.scsi0);

withTerraform('create, and nothing to do', async () => {
  const ran = await lab.provision('--verbose');
  assert.equal(ran.code, 0, ran.text);
  says(ran, /12 of 12 proofs hold/);
  says(ran, /create k3s-gpu-01 \(VM 210 on pve-01/);
  const again = await lab.converges();
  says(again, /nothing to do/);
});

withTerraform('cores change in place', async () => {
  const disk = diskOf(210);
  lab.edit('cores: 8', 'cores: 6');
  const ran = await lab.provision('--verbose');
  assert.equal(ran.code, 0, ran.text);
  says(ran, /change k3s-gpu-01 in place: cores: 8 → 6/);
  assert.equal(vm(210)?.config.cores, 6);
  assert.equal(diskOf(210), disk);
  await lab.converges();
});

withTerraform('a disk grows, and the file system with it', async () => {
  lab.edit('disk_gib: 50\n', 'disk_gib: 60\n');
  const ran = await lab.provision('--verbose');
  assert.equal(ran.code, 0, ran.text);
  says(ran, /disk: 50 GiB → 60 GiB/);
  assert.match(diskOf(200), /size=60G/);
  await lab.converges();
});

withTerraform('a replacement needs the name of its VM', async () => {
  const before = lab.pve.snapshot();
  const state = stateText(lab);
  lab.edit('node: pve-03, vmid: 201', 'node: pve-01, vmid: 201');
  const refused = await lab.provision();
  assert.equal(refused.code, 2, refused.text);
  says(refused, /REPLACE k3s-cp-02 \(VM 201 on pve-03, destroyed and made anew\)/);
  says(refused, /local-path/);
  says(refused, /--confirm k3s-cp-02/);
  assert.deepEqual(lab.pve.snapshot(), before);
  assert.equal(stateText(lab), state);
  const ran = await lab.provision('--confirm', 'k3s-cp-02');
  assert.equal(ran.code, 0, ran.text);
  assert.equal(vm(201)?.node, 'pve-01');
  assert.deepEqual(
    vm(200),
    before.vms.find(({ vmid }) => vmid === 200),
  );
  await lab.converges();
});

withTerraform('destroy needs the name of the lab, and leaves what is not of this lab', async () => {
  lab.pve.addStranger({ vmid: 300, node: 'pve-02', name: 'web' });
  const refused = await lab.provision('--destroy');
  assert.equal(refused.code, 2, refused.text);
  says(refused, /--confirm homelab/);
  const ran = await lab.provision('--destroy', '--confirm', 'homelab');
  assert.equal(ran.code, 0, ran.text);
  await lab.ports.pve.call('DELETE', '/nodes/pve-02/qemu/300');
  assert.deepEqual(lab.pve.snapshot(), templates);
});

withTerraform('each privilege that provision asks for was needed on the way', () => {
  const asked = [...lab.pve.privilegesAsked];
  const idle = provisionPrivileges(lab.workspace.config).flatMap(({ path, privileges }) =>
    privileges.filter((name) => !asked.some((one) => one.startsWith(path) && one.endsWith(` ${name}`))),
  );
  assert.deepEqual(idle, []);
});

test.run();
