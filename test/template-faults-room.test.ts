import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** Storages that are full, and VMs that are locked. */
const test = suite('build-template, and what is full or locked');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab();
});
test.after(() => lab.close());

const cases: Case[] = [
  {
    name: 'the storage is full where the copies are made',
    faults: [{ kind: 'fill', storage: 'local-zfs', node: 'pve-01' }],
    says: [/task qmclone on pve-01 failed: .*out of space/, /make room/],
  },
  {
    name: 'the storage is full where a copy belongs',
    faults: [{ kind: 'fill', storage: 'local-zfs', node: 'pve-02' }],
    says: [/task qmigrate on pve-01 failed/, /out of space/],
  },
  {
    name: 'the lock of the configuration file is not had in time',
    faults: [{ kind: 'file-lock', vmid: 9001 }],
    says: [
      /can't lock file '\/var\/lock\/qemu-server\/lock-9001\.conf' - got timeout/,
      /something else works on that VM/,
    ],
  },
];
for (const one of cases) test(one.name, () => strike(lab, one));

test('an original, and a copy, that are locked are waited for, and the run goes on', async () => {
  await lab.reset('pve-01');
  lab.pve.faults.set('original', { kind: 'lock', vmid: 9000, lock: 'backup' });
  lab.pve.faults.set('copy', { kind: 'lock', vmid: 9001, lock: 'backup' });
  const first = lab.start();
  await first.said(/waiting for Proxmox: VM 9000 is locked \(backup\)/);
  lab.pve.faults.clear('original');
  const { code, text } = await first.ended;
  assert.equal(code, 1, text);
  assert.match(text, /migrate: VM is locked \(backup\).* something else works on that VM/);
  const second = lab.start();
  await second.said(/waiting for Proxmox: VM 9001 is locked \(backup\)/);
  lab.pve.faults.clear();
  const ran = await second.ended;
  assert.equal(ran.code, 0, ran.text);
  await lab.converges(true);
});

test.run();
