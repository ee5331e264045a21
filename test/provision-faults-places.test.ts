import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, declare } from './provision-fault-cases.ts';
import { type FaultLab, oneVm, only, startFaultLab, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** Storages that are full, templates that are gone. */
const nothingLeft = ({ pve }: FaultLab): void =>
  assert.deepEqual(only(pve.snapshot(), [200]), { vms: [], volumes: [] });
const CASES: Case[] = [
  {
    name: 'a storage that is full before the clone: nothing half-made is left',
    fault: ({ pve }) => pve.faults.set('fill', { kind: 'fill', storage: 'local-zfs', node: 'pve-02' }),
    says: [/out of space/, /a storage is full/, /make room on it/],
    also: nothingLeft,
  },
  {
    name: 'a storage that is full when the disk is to grow: the VM is kept, and finished by the next run',
    fault: ({ pve }) =>
      pve.faults.set('full', { kind: 'fail-task', type: 'resize', message: 'zfs error: cannot set: out of space' }, 1),
    says: [/out of space/, /a storage is full/],
  },
  {
    name: 'a template that is missing on one node',
    fault: ({ ports }) => ports.pve.call('DELETE', '/nodes/pve-02/qemu/9001'),
    says: [/pve-02: there is no template/, /build-template/],
    clear: (lab) => lab.putTemplate(9001),
  },
  {
    name: 'a template that goes between plan and apply',
    at: 'terraform plan',
    fault: ({ ports }) => ports.pve.call('DELETE', '/nodes/pve-02/qemu/9001'),
    says: [/VM or template 9001 is not on pve-02 any more/, /build-template/],
    clear: (lab) => lab.putTemplate(9001),
  },
];

const test = suite('provision with the real Terraform: storages and templates');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm);
});
test.after(() => lab.close());

declare(withTerraform, CASES, () => lab);

test.run();
