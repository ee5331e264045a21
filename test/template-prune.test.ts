import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { TemplateSeen } from '../lib/observe/template.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import { planTemplate } from '../lib/plan/template.ts';
import { wantedStamp } from '../lib/plan/template-build.ts';
import { renderNotes } from '../lib/plan/template-hash.ts';
import { inOrder, type Plan } from '../lib/step.ts';
import { labOf, sources, storagesOf, vm } from './provision-fixture.ts';
import { templatePaths, templateSeen } from './template-fixture.ts';

const test = suite('build-template --prune');
const lab = labOf({ leased: true });
const wanted = wantedStamp(lab, sources)!;
const other = { ...wanted, hash: '0'.repeat(64), parts: { ...wanted.parts, iso: '0' } };
const name = lab.config.template.name;
const current = (vmid: number, node: string, change: Partial<VmSeen> = {}): VmSeen =>
  vm({ vmid, node, name, template: true, description: renderNotes(wanted), ...change });
const old = (vmid: number, node: string, change: Partial<VmSeen> = {}): VmSeen =>
  current(vmid, node, { description: renderNotes(other), ...change });
const all = [current(9003, 'pve-01'), current(9004, 'pve-02'), current(9005, 'pve-03')];

const plan = (vms: VmSeen[], change: Partial<TemplateSeen> = {}, prune = true): Plan =>
  planTemplate(lab, templateSeen(lab, vms, change), templatePaths, prune);
const pruned = ({ steps }: Plan): string[] =>
  steps.filter(({ destroys }) => destroys).map(({ id, why }) => `${id}: ${why}`);
const texts = ({ notes }: Plan): string =>
  notes.map(({ level, text, fix = '' }) => `${level} ${text}; ${fix}`).join('\n');

const cases: [string, VmSeen[], string[]][] = [
  ['nothing old: nothing', all, []],
  [
    'templates of other inputs',
    [...all, old(9000, 'pve-01'), old(9001, 'pve-02')],
    ['prune 9000: stale: iso changed', 'prune 9001: stale: iso changed'],
  ],
  [
    'a second one of the wanted inputs, and one on a node that is not of the lab',
    [...all, current(9009, 'pve-02'), current(9010, 'pve-09')],
    ['prune 9009: VM 9004 is the template on pve-02', 'prune 9010: homelab.yaml has no pve-09'],
  ],
  [
    'a copy that was never finished',
    [...all, vm({ vmid: 9009, node: 'pve-01', name, description: renderNotes({ ...wanted, for: 'pve-02' }) })],
    ['prune 9009: it was never finished'],
  ],
  [
    'never: without our stamp, of another lab, a VM or a container with our stamp',
    [
      ...all,
      current(100, 'pve-01', { description: '' }),
      old(101, 'pve-01', { description: renderNotes({ ...other, lab: 'other' }) }),
      old(102, 'pve-01', { description: renderNotes({ ...other, lab: undefined }) }),
      old(103, 'pve-01', { template: false, name: 'web' }),
      old(104, 'pve-01', { template: false, running: true }),
      old(105, 'pve-01', { kind: 'lxc' }),
    ],
    [],
  ],
];
for (const [title, vms, expected] of cases) test(title, () => assert.deepEqual(pruned(plan(vms)), expected));

test('one that a VM links to stays, and is said', () => {
  const linked = (vmid: number, disk: string): VmSeen =>
    vm({ vmid, node: 'pve-01', name: `web-${vmid}`, config: { scsi0: disk } });
  const made = plan([
    ...all,
    old(9000, 'pve-01'),
    old(9001, 'pve-01'),
    old(900, 'pve-01'),
    linked(105, 'local-zfs:base-9000-disk-1/vm-105-disk-0,size=20G'),
    linked(106, 'nas:9001/base-9001-disk-0.qcow2/106/vm-106-disk-0.qcow2'),
    linked(107, 'local-zfs:vm-107-disk-0'),
  ]);
  assert.deepEqual(pruned(made), ['prune 900: stale: iso changed']);
  assert.match(
    texts(made),
    /template 9000 on pve-01 stays \(stale: iso changed\): web-105 \(VM 105 on pve-01\) links to it/,
  );
  assert.match(texts(made), /template 9001 on pve-01 stays .*web-106/);
});
test('one that is locked stays', () => {
  const made = plan([...all, old(9000, 'pve-01', { lock: 'backup' })]);
  assert.deepEqual(pruned(made), []);
  assert.match(texts(made), /9000 on pve-01 stays .*it is locked \(backup\)/);
});
test('a VM that cannot be read: nothing is pruned', () => {
  const made = plan([
    ...all,
    old(9000, 'pve-01'),
    vm({ vmid: 105, node: 'pve-03', unread: 'Permission check failed' }),
  ]);
  assert.deepEqual(pruned(made), []);
  assert.match(texts(made), /blocker nothing is pruned: .*VM 105 on pve-03 \(Permission check failed\)/);
});
test('each names what is lost, and the lab has to be named', () => {
  const made = plan([...all, old(9000, 'pve-01')]);
  const step = made.steps.find(({ id }) => id === 'prune 9000');
  assert.deepEqual(step?.destroys, [`template ${name} (VM 9000 on pve-01): stale: iso changed`]);
  assert.equal(step?.host, 'pve-01');
});
test('a rebuild comes first: the old one goes when all new ones are there', () => {
  const made = plan([old(9000, 'pve-01'), old(9001, 'pve-02'), old(9002, 'pve-03')]);
  const ids = inOrder(made).map(({ id }) => id);
  for (const id of ['packer/build', 'pve-02/template', 'pve-03/template'])
    assert.ok(made.steps.find((step) => step.id === 'prune 9000')?.after?.includes(id), id);
  assert.deepEqual(ids.slice(-3), ['prune 9000', 'prune 9001', 'prune 9002']);
});
test('the rest of per-node templates, once the storage is shared', () => {
  const storages = storagesOf(lab, (storage) => (storage === 'local-zfs' ? { shared: true } : {}));
  assert.deepEqual(pruned(plan(all, { storages })), [
    'prune 9004: one template serves every node',
    'prune 9005: one template serves every node',
  ]);
});
test('CDs of interrupted builds, unless one is in a drive', () => {
  const building = vm({ vmid: 300, node: 'pve-01', config: { ide0: 'local:iso/packer2.iso,media=cdrom' } });
  const made = plan([...all, building], { cds: ['local:iso/packer1.iso', 'local:iso/packer2.iso'] });
  assert.deepEqual(pruned(made), ['cd local:iso/packer1.iso: no VM has it in its drive']);
});
test('without --prune they are counted, and the command is said', () => {
  const made = plan([...all, old(9000, 'pve-01'), old(9001, 'pve-02')], {}, false);
  assert.deepEqual(made.steps, []);
  assert.match(
    texts(made),
    /info 2 old templates: VM 9000 on pve-01 \(stale: iso changed\), VM 9001.*; npx tsx scripts\/build-template\.ts --prune/,
  );
});

test.run();
