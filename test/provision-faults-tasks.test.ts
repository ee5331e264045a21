import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, declare } from './provision-fault-cases.ts';
import { FAST_CLOCK, type FaultLab, oneVm, only, says, startFaultLab, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** What can go wrong in Proxmox itself: tasks and locks. */
const nothingLeft = ({ pve }: FaultLab): void =>
  assert.deepEqual(only(pve.snapshot(), [200]), { vms: [], volumes: [] });

/** k3s-cp-01 is there, and wants another number of cores. */
async function changePending(lab: FaultLab): Promise<void> {
  const ran = await lab.provision();
  assert.equal(ran.code, 0, ran.text);
  const cores = /cores: (\d)/;
  const now = Number(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 200)?.config.cores);
  lab.edit(cores, `cores: ${now === 4 ? 5 : 4}`);
}

const CASES: Case[] = [
  {
    name: 'a clone that fails leaves nothing, and says why',
    fault: ({ pve }) =>
      pve.faults.set('fail', { kind: 'fail-task', type: 'qmclone', message: 'clone failed: unexpected dataset' }, 1),
    says: [/clone failed: unexpected dataset/],
    also: nothingLeft,
  },
  {
    name: 'a clone that never ends is given up, and what comes of it later is imported',
    fault: (lab) => {
      lab.impatientProvider(4);
      lab.pve.faults.set('hang', { kind: 'hang-task', type: 'qmclone' });
    },
    says: [/timeout while waiting for task|took longer than Terraform waits/, /run it again/],
  },
  {
    name: 'a clone whose task Proxmox does not know any more',
    fault: (lab) => {
      lab.impatientProvider(4);
      lab.pve.faults.set('vanish', { kind: 'vanish-task', type: 'qmclone' });
    },
    says: [/timeout while waiting for task|took longer than Terraform waits/],
    next: (_lab, ran) => says(ran, /import VM 200/),
  },
  {
    name: 'a clone that waits in vain for the lock of its configuration',
    fault: ({ pve }) => pve.faults.set('lock', { kind: 'file-lock', vmid: 200 }),
    says: [
      /can't lock file '\/var\/lock\/qemu-server\/lock-200\.conf' - got timeout/,
      /something else was at work on VM 200/,
    ],
    also: nothingLeft,
  },
  {
    name: 'a VM that is locked by a backup is waited for, and named in the end',
    fault: async (lab) => {
      await changePending(lab);
      lab.pve.faults.set('lock', { kind: 'lock', vmid: 200, lock: 'backup' });
    },
    preload: FAST_CLOCK,
    says: [
      /waiting for Proxmox: VM 200 is locked \(backup\)/,
      /blocker: VM 200 on pve-02 is locked \(backup\); .*qm unlock 200/,
    ],
  },
  {
    name: 'a VM that is locked between plan and apply',
    at: 'terraform plan',
    fault: ({ pve }) => pve.faults.set('lock', { kind: 'lock', vmid: 9001, lock: 'backup' }),
    says: [/VM is locked \(backup\)/, /a task of Proxmox works on the VM/],
    also: nothingLeft,
  },
];

const test = suite('provision with the real Terraform: tasks and locks');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm, { latency: { lockTimeout: 500 } });
});
test.after(() => lab.close());

declare(withTerraform, CASES, () => lab);

test.run();
