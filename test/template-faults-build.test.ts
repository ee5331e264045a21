import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** What goes wrong before there is a template: with the ISO, and with Packer's own work. */
const test = suite('build-template, and a build that goes wrong');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab();
});
test.after(() => lab.close());

const NOTHING = ({ pve }: TemplateLab): void =>
  assert.deepEqual(
    pve.snapshot().vms.map(({ vmid }) => vmid),
    [150, 9005],
    'a build that failed leaves nothing behind',
  );
const cases: Case[] = [
  {
    name: 'Packer may not make a VM',
    faults: [
      {
        ...{ kind: 'deny', path: '/vms/9000', privilege: 'VM.Allocate' },
        request: { method: 'POST', path: /^\/nodes\/pve-01\/qemu$/ },
      },
    ],
    says: [/Permission check failed \(\/vms\/9000, VM\.Allocate\)/],
    after: NOTHING,
  },
  {
    name: 'the start of the VM fails',
    faults: [{ kind: 'fail-task', type: 'qmstart', message: 'no bootable device' }],
    says: [/no bootable device/],
    after: NOTHING,
  },
  {
    name: 'Packer loses its connection',
    faults: [{ kind: 'drop', request: { path: /agent\/network-get-interfaces$/ }, when: 'before' }],
    says: [/packer build/],
  },
];
for (const one of cases) test(one.name, () => strike(lab, { from: [], ...one }));

test.run();
