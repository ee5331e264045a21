import { suite } from 'uvu';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** What happens to the tasks by which templates are copied. */
const test = suite('build-template, and tasks that go wrong');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab();
});
test.after(() => lab.close());

const AGAIN = /run the same command again: it looks first/;
const cases: Case[] = [
  {
    name: 'a clone fails',
    faults: [{ kind: 'fail-task', type: 'qmclone', message: 'the pool is on fire' }],
    says: [/task qmclone on pve-01 failed: .*the pool is on fire/, /whole log: pve-01 → Task History, UPID:pve-01/],
  },
  {
    name: 'a migration fails',
    faults: [{ kind: 'fail-task', type: 'qmigrate', message: 'migration aborted' }],
    times: 1,
    says: [/task qmigrate on pve-01 failed: migration aborted/],
  },
  {
    name: 'a conversion fails',
    faults: [{ kind: 'fail-task', type: 'qmtemplate', message: 'unexpected status' }],
    says: [/task qmtemplate on pve-0\d failed: unexpected status/, /its worker was killed/],
  },
  {
    name: 'a clone does not end',
    faults: [{ kind: 'hang-task', type: 'qmclone' }],
    wait: 3,
    says: [
      /task qmclone on pve-01: not within \d s/,
      /task qmclone is running/,
      /pvesh delete \/nodes\/pve-01\/tasks\/UPID/,
    ],
  },
  {
    name: 'a migration does not end',
    faults: [{ kind: 'hang-task', type: 'qmigrate' }],
    wait: 3,
    says: [/task qmigrate on pve-01: not within \d s/, AGAIN],
  },
  {
    name: 'a migration vanishes, and goes on all the same',
    faults: [{ kind: 'vanish-task', type: 'qmigrate' }],
    wait: 4,
    says: [/it has vanished, Proxmox does not know it any more; its outcome is unknown/, AGAIN],
  },
  {
    name: 'something local is attached to a copy, and it cannot migrate',
    faults: [{ kind: 'migrate-blocked', vmid: 9001, why: "can't migrate local cdrom drive 'local:iso/x.iso' (ide2)" }],
    says: [/task qmigrate on pve-01 failed/, /can't migrate local cdrom drive/],
  },
];
for (const one of cases) test(one.name, () => strike(lab, one));

test.run();
