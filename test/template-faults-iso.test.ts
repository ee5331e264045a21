import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** What goes wrong before there is a template: with the ISO, and with its disk. */
const test = suite('build-template, and an ISO or a disk that goes wrong');
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
const isos = ({ pve }: TemplateLab): number =>
  pve.snapshot().volumes.filter(({ volid }) => /:iso\/ubuntu.*\.iso$/.test(volid)).length;

const cases: Case[] = [
  {
    name: 'the ISO is another one',
    faults: [{ kind: 'bad-download' }],
    says: [/task download on pve-01 failed: checksum mismatch/, /SHA256SUMS/],
    after: (now) => {
      NOTHING(now);
      assert.equal(isos(now), 0);
    },
  },
  {
    name: 'the disk of the template finds no room',
    faults: [{ kind: 'fill', storage: 'local-zfs' }],
    says: [/packer build/, /out of space/],
    after: NOTHING,
  },
];
for (const one of cases) test(one.name, () => strike(lab, { from: [], ...one }));

test.run();
