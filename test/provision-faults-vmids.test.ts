import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, declare } from './provision-fault-cases.ts';
import { type FaultLab, oneVm, only, startFaultLab, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** VMIDs that somebody else has: never adopted, never touched. */
const STRANGER = 200;
let stranger: unknown;

/** Somebody else's VM has the VMID of k3s-cp-01, whose node is pve-02. */
function takeVmid({ pve }: FaultLab, node: string): void {
  pve.addStranger({ vmid: STRANGER, node, name: 'web' });
  stranger = only(pve.snapshot(), [STRANGER]);
}

const untouched = ({ pve }: FaultLab): void => assert.deepEqual(only(pve.snapshot(), [STRANGER]), stranger);
const strangerGoes = ({ ports, pve }: FaultLab): Promise<unknown> => {
  const node = pve.snapshot().vms.find(({ vmid }) => vmid === STRANGER)?.node;
  return ports.pve.call('DELETE', `/nodes/${node}/qemu/${STRANGER}`);
};

const CASES: Case[] = [
  {
    name: 'a VMID that a stranger has on the same node',
    fault: (lab) => takeVmid(lab, 'pve-02'),
    says: [/VMID 200 is wanted for k3s-cp-01, and taken by "web" on pve-02/, /choose another vmid/],
    also: untouched,
    clear: strangerGoes,
  },
  {
    name: 'a VMID that a stranger has on another node',
    fault: (lab) => takeVmid(lab, 'pve-03'),
    says: [/VMID 200 is wanted for k3s-cp-01, and taken by "web" on pve-03/],
    also: untouched,
    clear: strangerGoes,
  },
  {
    name: 'a VMID that a stranger takes between plan and apply, on the same node',
    at: 'terraform plan',
    fault: (lab) => takeVmid(lab, 'pve-02'),
    says: [/already exists/, /the VMID 200 was taken by somebody else while this ran/],
    also: untouched,
    clear: strangerGoes,
  },
  {
    name: 'a VMID that a stranger takes between plan and apply, on another node',
    at: 'terraform plan',
    fault: (lab) => takeVmid(lab, 'pve-03'),
    says: [/File exists/, /taken by somebody else while this ran/],
    also: untouched,
    clear: strangerGoes,
  },
];

const test = suite('provision with the real Terraform: VMIDs of others');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm);
});
test.after(() => lab.close());

declare(withTerraform, CASES, () => lab);

test.run();
