import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { TemplateSeen } from '../lib/observe/template.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import { planTemplate } from '../lib/plan/template.ts';
import { wantedStamp } from '../lib/plan/template-build.ts';
import { parseNotes, renderNotes } from '../lib/plan/template-hash.ts';
import { templateTrouble } from '../lib/plan/template-trouble.ts';
import { inOrder, type Plan } from '../lib/step.ts';
import { labOf, sources, storagesOf, vm } from './provision-fixture.ts';
import { templatePaths as paths, templateSeen } from './template-fixture.ts';

const test = suite('what build-template plans');
const lab = labOf({ leased: true });
const stamp = wantedStamp(lab, sources)!;
const notes = renderNotes(stamp);
const stale = renderNotes({ hash: '0'.repeat(64), parts: { ...stamp.parts, 'user-data': '00000000' } });

const seen = (vms: VmSeen[], change: Partial<TemplateSeen> = {}): TemplateSeen => templateSeen(lab, vms, change);
const plan = (vms: VmSeen[], change?: Partial<TemplateSeen>): Plan => planTemplate(lab, seen(vms, change), paths);
/** The name of a VM that our Packer is building. */
const LEFT = 'template-build.homelab';
const ids = (p: Plan): string[] => inOrder(p).map(({ id }) => id);
const blockers = (p: Plan): string[] => p.notes.filter(({ level }) => level === 'blocker').map(({ text }) => text);
const template = (vmid: number, node: string, change: Partial<VmSeen> = {}): VmSeen =>
  vm({ vmid, node, name: 'ubuntu-24.04', template: true, description: notes, ...change });
const current = [template(9000, 'pve-01'), template(9001, 'pve-02'), template(9002, 'pve-03')];

const build = ['generated', 'packer/init', 'packer/user-data', 'packer/variables', 'packer/validate', 'packer/build'];
const copyOf = (vmid: number, node: string, change: Partial<VmSeen> = {}): VmSeen =>
  template(vmid, node, { template: false, description: renderNotes({ ...stamp, for: 'pve-02' }), ...change });
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
    [current[0]!, current[2]!, copyOf(9001, 'pve-01')],
    ['pve-02/migrate', 'pve-02/template'],
  ],
  ['a copy not yet converted', [current[0]!, current[2]!, copyOf(9001, 'pve-02')], ['pve-02/template']],
  [
    'what Packer built and Proxmox did not convert: no second build',
    [template(9000, 'pve-01', { template: false }), ...current.slice(1)],
    ['pve-01/template'],
  ],
  [
    'a stale copy stays, beside a new one',
    [current[0]!, current[2]!, template(9001, 'pve-02', { description: stale })],
    copy('pve-02'),
  ],
  [
    'what a killed Packer left, still running',
    [
      vm({ vmid: 9000, node: 'pve-01', name: LEFT, running: true, description: 'Packer ephemeral build VM' }),
      ...current.slice(1),
    ],
    ['leftover 9000/stop', 'leftover 9000/remove', 'iso/download', ...build],
  ],
  [
    'what a Packer left that was killed before it wrote the notes, elsewhere, beside current templates',
    [
      ...current,
      vm({
        vmid: 9007,
        node: 'pve-02',
        name: LEFT,
        description: 'Packer ephemeral build VM\n',
        template: true,
      }),
    ],
    ['leftover 9007/remove'],
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
test('a leftover goes with the CD in its drive, where that is there still', () => {
  const left = (ide0: string): VmSeen =>
    vm({
      vmid: 9003,
      node: 'pve-01',
      name: LEFT,
      description: 'Packer ephemeral build VM',
      config: { ide0 },
    });
  const cds = ['local:iso/packer7.iso', 'local:iso/packer8.iso'];
  const removed = (ide0: string): string[] => ids(plan([...current, left(ide0)], { cds }));
  assert.deepEqual(removed('local:iso/packer7.iso,media=cdrom'), ['leftover 9003/remove', 'cd local:iso/packer7.iso']);
  assert.deepEqual(removed('local:iso/packer9.iso,media=cdrom'), ['leftover 9003/remove']);
  assert.deepEqual(removed('local:iso/ubuntu.iso,media=cdrom'), ['leftover 9003/remove']);
});
test('a rebuild destroys nothing, and takes the next free VMIDs', () => {
  const made = plan(current.map((t) => ({ ...t, description: stale })));
  assert.ok(
    made.steps.every(({ destroys, action }) => !destroys && !(action.kind === 'pve' && action.method === 'DELETE')),
  );
  assert.match(made.steps.find(({ id }) => id === 'packer/variables')?.action.kind ?? '', /write/);
  const { action } = made.steps.find(({ id }) => id === 'packer/variables')!;
  assert.match(action.kind === 'write' && typeof action.content === 'string' ? action.content : '', /"vm_id": 9003,/);
  const clone = made.steps.find(({ id }) => id === 'pve-02/clone')!;
  assert.equal(clone.action.kind === 'pve' && clone.action.params?.newid, 9004);
  assert.equal(clone.why, 'stale: user-data changed');
  assert.deepEqual(clone.after, ['packer/build']);
  const unconverted = plan([template(9000, 'pve-01', { template: false })]);
  assert.deepEqual(unconverted.steps.find(({ id }) => id === 'pve-02/clone')?.after, ['pve-01/template']);
});
test('a leftover is removed before its VMID is used again', () => {
  const left = vm({ vmid: 9002, node: 'pve-01', name: LEFT, description: 'Packer ephemeral build VM' });
  const made = plan([...current.slice(0, 2), left]);
  const clone = made.steps.find(({ id }) => id === 'pve-03/clone')!;
  assert.equal(clone.action.kind === 'pve' && clone.action.params?.newid, 9002);
  assert.deepEqual(clone.after, ['leftover 9002/remove']);
});
test('a leftover is no loss', () => {
  const left = vm({ vmid: 9000, node: 'pve-01', name: LEFT, description: 'Packer ephemeral build VM' });
  const made = plan([left]);
  assert.ok(made.steps.every(({ destroys }) => !destroys));
});
test('a build of another lab stays, and keeps its VMID', () => {
  const description = 'Packer ephemeral build VM';
  const other = vm({ vmid: 9000, node: 'pve-01', name: 'template-build.other', description });
  const made = plan([other, ...current.slice(1)]);
  assert.ok(!ids(made).some((id) => id.startsWith('leftover')));
  const { action } = made.steps.find(({ id }) => id === 'packer/variables')!;
  assert.match(action.kind === 'write' && typeof action.content === 'string' ? action.content : '', /"vm_id": 9003,/);
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
    'a copy that is being made: its notes come last',
    seen([current[0]!, vm({ vmid: 9001, node: 'pve-01', name: 'VM 9001', lock: 'clone' })]),
    /VM 9001 on pve-01 is locked \(clone\)/,
  ],
  [
    'a copy that migrates',
    seen([current[0]!, copyOf(9001, 'pve-01', { lock: 'migrate' })]),
    /VM 9001 on pve-01 is locked \(migrate\)/,
  ],
  [
    'a template whose notes cannot be read',
    seen([current[0]!, template(9001, 'pve-02', { description: '', unread: '595 no route to host' })]),
    /the notes of VM 9001 on pve-02 cannot be read: 595/,
  ],
  ['no packer', seen([], { packer: { problem: 'packer is not installed' } }), /packer is not installed/],
  ['no key', seen([], { sources: { ...sources, publicKey: undefined } }), /id_ed25519\.pub is missing/],
  ['no API', seen([], { vms: { ok: false, reason: 'refused' } }), /Proxmox cannot be asked: refused/],
  ['no storage', seen([], { storages: {} }), /pve-01 does not answer/],
  [
    'a storage for other things',
    seen([], { storages: storagesOf(lab, () => ({ content: ['iso'] })) }),
    /local-zfs takes no VM disks on pve-01/,
  ],
  [
    'a storage for other things than ISOs',
    seen([], { storages: storagesOf(lab, (name) => (name === 'local' ? { content: ['snippets'] } : {})) }),
    /storage local takes no ISO images on pve-01/,
  ],
  [
    'an ISO storage that the build node does not have',
    seen([], { storages: storagesOf(lab, (name) => (name === 'local' ? { name: 'local-02' } : {})) }),
    /storage local does not exist on pve-01/,
  ],
  [
    'an ISO storage that is down',
    seen([], { storages: storagesOf(lab, (name) => (name === 'local' ? { active: false } : {})) }),
    /storage local is not active on pve-01/,
  ],
  [
    'nothing that makes a CD',
    seen([], { cdProgram: undefined }),
    /none of xorriso, mkisofs, hdiutil, oscdimg is installed/,
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

const troubles: [string, RegExp][] = [
  ["checksum mismatch: got 'a' != expect 'b'", /template\.iso\.sha256/],
  ['download failed: command wget failed: exit code 8', /template\.iso\.url/],
  ['zfs error: out of space', /--prune/],
  ['Timeout waiting for SSH.', /console of the VM/],
  ['ssh: handshake failed: ssh: unable to authenticate', /public half/],
  ['could not find a supported CD ISO creation command', /xorriso/],
  ['Failed getting the "github.com/hashicorp/proxmox" plugin:', /github\.com/],
  ['Error: Unsupported argument', /as it was committed/],
  ['unable to create VM 9003: config file already exists', /next one that is free/],
];
for (const [said, fix] of troubles)
  test(`explained: ${said}`, () => assert.match(templateTrouble(`packer ended\n${said}\n`)?.fix ?? '', fix));
test('what is not known is not explained', () => assert.equal(templateTrouble('Error: 42'), undefined));

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
