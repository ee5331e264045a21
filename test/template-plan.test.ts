import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { TemplateSeen } from '../lib/observe/template.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import { planTemplate } from '../lib/plan/template.ts';
import { wantedStamp } from '../lib/plan/template-build.ts';
import { parseNotes, renderNotes } from '../lib/plan/template-hash.ts';
import { inOrder, type Plan } from '../lib/step.ts';
import { labOf, sources, storagesOf, vm } from './provision-fixture.ts';

const test = suite('what build-template plans');
const lab = labOf({ leased: true });
const paths = {
  folder: '/lab/.state/homelab/packer',
  variables: '/lab/.state/homelab/packer/template.pkrvars.json',
  userData: '/lab/.state/homelab/packer/user-data',
  isoName: 'ubuntu.iso',
};
const stamp = wantedStamp(lab, sources)!;
const notes = renderNotes(stamp);
const stale = renderNotes({ hash: '0'.repeat(64), parts: { ...stamp.parts, 'user-data': '00000000' } });

function seen(vms: VmSeen[], change: Partial<TemplateSeen> = {}): TemplateSeen {
  return {
    sources,
    api: 'https://10.20.11.11:8006',
    vms: { ok: true, value: vms },
    storages: storagesOf(lab),
    iso: { ok: true, value: false },
    packer: { version: '1.14.0' },
    generated: {},
    withPassword: false,
    ...change,
  };
}
const plan = (vms: VmSeen[], change?: Partial<TemplateSeen>): Plan => planTemplate(lab, seen(vms, change), paths);
const ids = (p: Plan): string[] => inOrder(p).map(({ id }) => id);
const blockers = (p: Plan): string[] => p.notes.filter(({ level }) => level === 'blocker').map(({ text }) => text);
const template = (vmid: number, node: string, change: Partial<VmSeen> = {}): VmSeen =>
  vm({ vmid, node, name: 'ubuntu-24.04', template: true, description: notes, ...change });
const current = [template(9000, 'pve-01'), template(9001, 'pve-02'), template(9002, 'pve-03')];

const build = ['packer/init', 'packer/user-data', 'packer/variables', 'packer/validate', 'packer/build'];
const copy = (node: string): string[] => [`${node}/clone`, `${node}/migrate`, `${node}/template`];
const sorted = (list: string[]): string[] => [...list].sort();

const cases: [string, VmSeen[], string[]][] = [
  [
    'nothing there: ISO, build, a copy for each other node',
    [],
    ['iso/download', ...build, ...copy('pve-02'), ...copy('pve-03')],
  ],
  ['all current: nothing', current, []],
  ['one node lacks its copy', current.slice(0, 2), copy('pve-03')],
  [
    'a copy not yet migrated',
    [current[0]!, current[2]!, template(9001, 'pve-01', { template: false })],
    ['pve-02/migrate', 'pve-02/template'],
  ],
  [
    'a copy not yet converted',
    [current[0]!, current[2]!, template(9001, 'pve-02', { template: false })],
    ['pve-02/template'],
  ],
  [
    'a stale copy is deleted and made anew',
    [current[0]!, current[2]!, template(9001, 'pve-02', { description: stale })],
    ['pve-02/remove', ...copy('pve-02')],
  ],
  [
    'what a killed Packer left, still running',
    [
      vm({ vmid: 9000, node: 'pve-01', name: 'ubuntu-24.04', running: true, description: 'Packer ephemeral build VM' }),
      ...current.slice(1),
    ],
    ['pve-01/stop', 'pve-01/remove', 'iso/download', ...build],
  ],
];
for (const [name, vms, expected] of cases)
  test(name, () => {
    const made = plan(vms);
    assert.deepEqual(blockers(made), []);
    assert.deepEqual(sorted(ids(made)), sorted(expected));
  });

test('the ISO is not fetched twice', () => {
  assert.ok(!ids(plan([], { iso: { ok: true, value: true } })).includes('iso/download'));
});
test('generated files are written only when they differ', () => {
  const first = plan([]);
  const contents = first.steps.flatMap(({ action }) =>
    action.kind === 'write' && typeof action.content === 'string' ? [[action.path, action.content]] : [],
  );
  const second = ids(plan([], { generated: Object.fromEntries(contents) }));
  assert.ok(!second.some((id) => id === 'packer/user-data' || id === 'packer/variables'));
});
test('copies are deleted only after the new template was built', () => {
  const made = plan(current.map((t) => ({ ...t, description: stale })));
  assert.deepEqual(made.steps.find(({ id }) => id === 'pve-02/remove')?.after, ['packer/build']);
  assert.match(made.steps.find(({ id }) => id === 'pve-02/remove')?.why ?? '', /stale: user-data changed/);
  assert.deepEqual(
    made.steps.filter(({ destroys }) => destroys).map(({ id }) => id),
    ['pve-01/remove', 'pve-02/remove', 'pve-03/remove'],
  );
});
test('a leftover is no loss', () => {
  const made = plan([
    vm({ vmid: 9000, node: 'pve-01', name: 'ubuntu-24.04', description: 'Packer ephemeral build VM' }),
  ]);
  assert.ok(made.steps.every(({ destroys }) => !destroys));
});
test('shared storage: one template', () => {
  const made = plan([], { storages: storagesOf(lab, (name) => (name === 'local-zfs' ? { shared: true } : {})) });
  assert.deepEqual(sorted(ids(made)), sorted(['iso/download', ...build]));
});
test('a Packer without init', () => {
  const made = plan([], { packer: { version: '1.6.6' }, withPassword: true });
  assert.ok(!ids(made).includes('packer/init'));
  const { action } = made.steps.find(({ id }) => id === 'packer/build')!;
  assert.deepEqual(action.kind === 'run' && action.env?.PKR_VAR_password, { secret: 'PROXMOX_PASSWORD' });
  assert.equal(action.kind === 'run' && action.env?.PKR_VAR_username, 'homelab@pve');
});
test('no secret in argv or files', () => {
  for (const { action } of plan([], { withPassword: true }).steps) {
    if (action.kind === 'run') assert.ok(action.argv.every((word) => typeof word === 'string'));
    if (action.kind === 'write') assert.equal(typeof action.content, 'string');
  }
});

const refused: [string, TemplateSeen, RegExp][] = [
  [
    'a stranger at the VMID',
    seen([vm({ vmid: 9001, node: 'pve-03', name: 'web' })]),
    /VMID 9001 .* taken by "web" on pve-03/,
  ],
  ['a container at the VMID', seen([vm({ vmid: 9000, node: 'pve-01', name: 'dns', kind: 'lxc' })]), /taken by "dns"/],
  ['a lock', seen([template(9000, 'pve-01', { lock: 'clone' })]), /VM 9000 on pve-01 is locked \(clone\)/],
  ['no packer', seen([], { packer: { problem: 'packer is not installed' } }), /packer is not installed/],
  ['no key', seen([], { sources: { ...sources, publicKey: undefined } }), /id_ed25519\.pub is missing/],
  ['no API', seen([], { vms: { ok: false, reason: 'refused' } }), /does not answer: refused/],
  ['no storage', seen([], { storages: {} }), /pve-01 does not answer/],
  [
    'a storage for other things',
    seen([], { storages: storagesOf(lab, () => ({ content: ['iso'] })) }),
    /local-zfs takes no VM disks on pve-01/,
  ],
  [
    'ISOs not readable',
    seen([], { iso: { ok: false, reason: 'Permission check failed' } }),
    /cannot be read: Permission check failed/,
  ],
];
for (const [name, what, message] of refused)
  test(`blocked: ${name}`, () => {
    assert.match(blockers(planTemplate(lab, what, paths)).join('\n'), message);
  });

test('notes survive what Proxmox does to them', () => {
  assert.deepEqual(parseNotes(`${notes}\n`), stamp);
  assert.deepEqual(parseNotes(notes.replaceAll('\n', '\r\n'))?.hash, stamp.hash);
  assert.equal(parseNotes('homelab-template: sha256:abc'), undefined);
});
for (const [what, change] of [
  ['the key', { publicKey: 'ssh-ed25519 BBBB' }],
  ['the HCL', { hcl: { 'ubuntu.pkr.hcl': 'other' } }],
  ['the answers', { userData: `${sources.userData}# more\n` }],
] as const)
  test(`${what} changes the hash`, () => {
    assert.notEqual(wantedStamp(lab, { ...sources, ...change })?.hash, stamp.hash);
  });
test('values of the answers stay values', () => {
  const odd = wantedStamp(lab, { ...sources, publicKey: 'ssh-ed25519 AAAA x: "y" # $(z)\n' });
  assert.notEqual(odd?.hash, stamp.hash);
});

test.run();
