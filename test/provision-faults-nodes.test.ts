import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, declare } from './provision-fault-cases.ts';
import { type FaultLab, oneVm, type Ran, says, startFaultLab, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** Nodes that go away: what was asked of them may have happened or not. */
const CLONE = { method: 'POST', path: /\/clone$/ };
const imports = (_lab: FaultLab, ran: Ran): void => says(ran, /import VM 200/);
const createsAnew = (_lab: FaultLab, { text }: Ran): void => assert.ok(!text.includes('import VM 200'), text);

const CASES: Case[] = [
  ...([595, 599, 502] as const).map(
    (status): Case => ({
      name: `${status} from the node that was asked, for one that went away`,
      fault: ({ pve }) =>
        pve.faults.set(
          'gateway',
          { kind: 'gateway', request: CLONE, status, when: status === 599 ? 'after' : 'before' },
          1,
        ),
      says: [new RegExp(`a Proxmox node could not be reached through the one that was asked \\(${status}\\)`)],
      next: status === 599 ? imports : createsAnew,
    }),
  ),
  {
    name: 'a node that is down',
    fault: ({ pve }) => pve.faults.set('down', { kind: 'down', node: 'pve-02' }),
    says: [/pve-02/],
  },
  {
    name: 'a node that goes down between plan and apply',
    at: 'terraform plan',
    fault: ({ pve }) => pve.faults.set('down', { kind: 'down', node: 'pve-02' }),
    says: [/could not be reached through the one that was asked/],
  },
];

const test = suite('provision with the real Terraform: nodes that go away');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm);
});
test.after(() => lab.close());

declare(withTerraform, CASES, () => lab);

test.run();
