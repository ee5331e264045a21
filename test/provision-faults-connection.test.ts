import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, declare } from './provision-fault-cases.ts';
import { type FaultLab, oneVm, type Ran, says, startFaultLab, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** Requests whose answer never comes: what was asked may have happened or not. */
const CLONE = { method: 'POST', path: /\/clone$/ };
/** Requests before the fault. */
let asked = 0;

const clones = ({ pve }: FaultLab, since: number): number =>
  pve.requests.slice(since).filter(({ method, path }) => method === 'POST' && CLONE.path.test(path)).length;
const imports = (_lab: FaultLab, ran: Ran): void => says(ran, /import VM 200/);
const createsAnew = (_lab: FaultLab, { text }: Ran): void => assert.ok(!text.includes('import VM 200'), text);

const CASES: Case[] = [
  {
    name: 'a connection cut before a clone took effect',
    fault: ({ pve }) => {
      asked = pve.requests.length;
      pve.faults.set('drop', { kind: 'drop', request: CLONE, when: 'before' }, 1);
    },
    says: [/probable cause: the connection to the Proxmox API broke/, /repeats nothing that was done/],
    also: (lab) => assert.equal(clones(lab, asked), 1),
    next: createsAnew,
  },
  {
    name: 'a connection cut after a clone took effect: the VM is imported, not made again',
    fault: ({ pve }) => pve.faults.set('drop', { kind: 'drop', request: CLONE, when: 'after' }, 1),
    says: [/probable cause: the connection to the Proxmox API broke/],
    next: imports,
  },
  {
    name: 'a connection cut in the middle of the answer to a clone',
    fault: ({ pve }) => pve.faults.set('drop', { kind: 'drop', request: CLONE, when: 'during' }, 1),
    says: [/probable cause: the connection to the Proxmox API broke/],
    next: imports,
  },
];

const test = suite('provision with the real Terraform: the connection');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm);
});
test.after(() => lab.close());

declare(withTerraform, CASES, () => lab);

test.run();
