import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { defaultPrivileges } from '../lib/lab/pve/index.ts';
import { aclOf, provisionPrivileges } from '../lib/plan/privileges.ts';
import { labOf } from './provision-fixture.ts';
import { gate, PaperMachines, SECRET, TOKEN, testLab } from './pve-fixture.ts';
import { ADDRESS, APPLY, DESTROY, missing, PLAN, VMS, workspace } from './pve-terraform-workspace.ts';

const test = suite('the real Terraform provider against the emulator');
const withTerraform = gate(test, 'terraform', missing);

withTerraform('init, plan, apply, no changes, change in place, destroy', async () => {
  const machines = new PaperMachines();
  // What provision looks for before it begins, and no more.
  const privileges = aclOf(provisionPrivileges(labOf().config));
  const lab = await testLab({ machines, token: { id: TOKEN, secret: SECRET, privileges } });
  try {
    for (const { node, template_vmid: vmid } of Object.values(VMS))
      lab.pve.addTemplate({ vmid, node, name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
    const before = lab.pve.snapshot();
    const { set, terraform, lockFile } = workspace(lab);

    set(VMS);
    await terraform('init -input=false', 0, /successfully initialized/);
    assert.match(lockFile(), /version\s+= "0\.111\.1"[^}]*h1:/);
    await terraform(PLAN, 2, /3 to add, 0 to change, 0 to destroy/);
    await terraform(APPLY, 0, /3 added, 0 changed, 0 destroyed/);
    for (const [name, { vmid, node }] of Object.entries(VMS)) {
      const found = lab.pve.snapshot().vms.find((vm) => vm.vmid === vmid);
      assert.equal([found?.node, found?.status, found?.config.name].join(), `${node},running,${name}`);
    }
    assert.deepEqual(machines.booted.map(({ address }) => address).sort(), Object.values(ADDRESS).sort());
    const gpu = machines.booted.find(({ name }) => name === 'k3s-gpu-01');
    assert.deepEqual(gpu?.gpus, ['rtx4000ada']);
    assert.equal(gpu?.diskBytes, 50 * 2 ** 30);
    assert.deepEqual(gpu?.sshKeys, ['ssh-ed25519 AAAA+/=x ops@lab']);
    await terraform('output -json nodes', 0, /"address":"10\.20\.11\.80".*"vmid":200/);
    await terraform(PLAN, 0, /No changes/);

    set({ ...VMS, 'k3s-cp-01': { ...VMS['k3s-cp-01']!, cores: 6 } });
    await terraform(APPLY, 0, /0 added, 1 changed, 0 destroyed/);
    assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 200)?.config.cores, 6);
    await terraform(PLAN, 0, /No changes/);

    await terraform(DESTROY, 0, /3 destroyed/);
    assert.deepEqual(lab.pve.snapshot(), before);
    assert.deepEqual(machines.destroyed.sort(), [200, 201, 210]);
    assert.deepEqual(lab.pve.problems, []);
  } finally {
    await lab.close();
  }
});

withTerraform('one template on shared storage serves all nodes, and the disks move to their own', async () => {
  const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges: defaultPrivileges('vmbr0') } });
  try {
    lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'u', storage: 'nas-vmstorage', diskGib: 20 });
    const before = lab.pve.snapshot();
    const { set, terraform } = workspace(lab);
    set({ 'k3s-cp-01': { ...VMS['k3s-cp-01']!, template_vmid: 9000, template_node: 'pve-01' } });
    await terraform('init -input=false', 0, /successfully initialized/);
    await terraform(APPLY, 0, /1 added, 0 changed, 0 destroyed/);
    const vm = lab.pve.snapshot().vms.find(({ vmid }) => vmid === 200);
    assert.equal(vm?.node, 'pve-02');
    assert.match(String(vm?.config.scsi0), /^local-zfs:vm-200-disk-0,.*size=50G/);
    await terraform(PLAN, 0, /No changes/);
    await terraform(DESTROY, 0, /1 destroyed/);
    assert.deepEqual(lab.pve.snapshot(), before);
  } finally {
    await lab.close();
  }
});

withTerraform('what Proxmox refuses, Terraform says in its words', async () => {
  const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges: { '/vms': ['VM.Audit'] } } });
  try {
    const { set, terraform } = workspace(lab);
    lab.pve.addTemplate({ vmid: 9001, node: 'pve-02', name: 'u', storage: 'local-zfs', diskGib: 20 });
    set({ 'k3s-cp-01': VMS['k3s-cp-01']! });
    await terraform('init -input=false', 0, /successfully initialized/);
    await terraform(APPLY, 1, /Permission check failed \(\/vms\/9001, VM\.Clone\)/);
  } finally {
    await lab.close();
  }
});

test.run();
