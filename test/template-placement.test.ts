import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { VmSeen } from '../lib/observe/vms.ts';
import { wantedStamp } from '../lib/plan/template-build.ts';
import { renderNotes } from '../lib/plan/template-hash.ts';
import { lockedOf, placeTemplates } from '../lib/plan/template-placement.ts';
import { renderTfvars } from '../lib/render/tfvars.ts';
import { labOf, sources, vm } from './provision-fixture.ts';

const test = suite('where templates are, and belong');
const { config } = labOf();
const wanted = wantedStamp(labOf(), sources)!;
const other = { hash: '0'.repeat(64), parts: { ...wanted.parts, iso: '0' } };
const name = config.template.name;
const current = (vmid: number, node: string): VmSeen =>
  vm({ vmid, node, name, template: true, description: renderNotes(wanted) });
const old = (vmid: number, node: string): VmSeen => ({ ...current(vmid, node), description: renderNotes(other) });
const copy = (vmid: number, node: string, to: string, change: Partial<VmSeen> = {}): VmSeen =>
  vm({ vmid, node, name, description: renderNotes({ ...wanted, for: to }), ...change });

/** The name of a VM that our Packer is building. */
const LEFT = 'template-build.homelab';
const places = (vms: VmSeen[], shared = false): string[] =>
  placeTemplates(config, shared, vms, wanted).all.map(({ node, vmid, is }) => `${node} ${vmid} ${is}`);
const held = (vms: VmSeen[]): VmSeen[] => lockedOf(config, vms, placeTemplates(config, false, vms, wanted), wanted);
const fresh = ['pve-01 9000 absent', 'pve-02 9001 absent', 'pve-03 9002 absent'];

const cases: [string, VmSeen[], string[]][] = [
  ['nothing there', [], fresh],
  [
    'found by their stamp, whatever their VMIDs',
    [current(9010, 'pve-01'), current(133, 'pve-02'), current(9000, 'pve-03')],
    ['pve-01 9010 current', 'pve-02 133 current', 'pve-03 9000 current'],
  ],
  [
    'old ones keep their VMIDs',
    [old(9000, 'pve-01'), old(9001, 'pve-02'), old(9002, 'pve-03')],
    ['pve-01 9003 absent', 'pve-02 9004 absent', 'pve-03 9005 absent'],
  ],
  [
    'after a second rebuild the first VMIDs are free again, once they were pruned',
    [old(9003, 'pve-01'), old(9004, 'pve-02'), old(9005, 'pve-03')],
    fresh,
  ],
  [
    'strangers and containers keep their VMIDs',
    [vm({ vmid: 9000, node: 'pve-03', name: 'web' }), vm({ vmid: 9002, node: 'pve-01', kind: 'lxc' })],
    ['pve-01 9001 absent', 'pve-02 9003 absent', 'pve-03 9004 absent'],
  ],
  [
    'what a killed Packer left makes room',
    [vm({ vmid: 9000, node: 'pve-01', name: LEFT, description: 'Packer ephemeral build VM' })],
    fresh,
  ],
  [
    'a build VM of somebody else does not',
    [
      vm({ vmid: 9000, node: 'pve-01', name: 'debian-13', description: 'Packer ephemeral build VM' }),
      vm({ vmid: 9002, node: 'pve-01', name, description: 'Packer ephemeral build VM' }),
    ],
    ['pve-01 9001 absent', 'pve-02 9003 absent', 'pve-03 9004 absent'],
  ],
  [
    'copies on the build node, each for its node',
    [current(9000, 'pve-01'), copy(9001, 'pve-01', 'pve-03'), copy(9002, 'pve-01', 'pve-02')],
    ['pve-01 9000 current', 'pve-02 9002 cloned', 'pve-03 9001 cloned'],
  ],
  [
    'a copy that arrived and is no template yet',
    [current(9000, 'pve-01'), copy(9001, 'pve-02', 'pve-02')],
    ['pve-01 9000 current', 'pve-02 9001 unconverted', 'pve-03 9002 absent'],
  ],
  [
    'what Packer built and Proxmox did not convert',
    [vm({ vmid: 9007, node: 'pve-01', name, description: renderNotes(wanted) })],
    ['pve-01 9007 unconverted', 'pve-02 9000 absent', 'pve-03 9001 absent'],
  ],
  [
    'a VM that somebody made of a template is none of ours: another name, running, or its notes of the original',
    [
      current(9000, 'pve-01'),
      copy(9001, 'pve-02', 'pve-02', { name: 'Copy-of-VM-ubuntu-24.04' }),
      copy(9002, 'pve-02', 'pve-02', { running: true }),
      vm({ vmid: 9003, node: 'pve-02', name, description: renderNotes(wanted) }),
    ],
    ['pve-01 9000 current', 'pve-02 9004 absent', 'pve-03 9005 absent'],
  ],
  [
    'a current template on a node that homelab.yaml does not have serves nobody',
    [current(9000, 'pve-09')],
    ['pve-01 9001 absent', 'pve-02 9002 absent', 'pve-03 9003 absent'],
  ],
];
for (const [title, vms, expected] of cases) test(title, () => assert.deepEqual(places(vms), expected));

test('a VMID of homelab.yaml is not taken', () => {
  const { config: taken } = labOf({
    change: (c) => {
      c.k3s.nodes[0]!.vmid = 9003;
    },
  });
  const stale = [old(9000, 'pve-01'), old(9001, 'pve-02'), old(9002, 'pve-03')];
  assert.deepEqual(
    placeTemplates(taken, false, stale, wanted).all.map(({ vmid }) => vmid),
    [9004, 9005, 9006],
  );
});
test('what is waited for: tasks of ours, and whoever holds what is touched next', () => {
  const locked: [VmSeen, string][] = [
    [current(9000, 'pve-01'), 'backup'],
    [vm({ vmid: 9001, node: 'pve-01', name: '' }), 'clone'],
    [vm({ vmid: 9002, node: 'pve-01', name: 'VM 9002' }), 'clone'],
    [vm({ vmid: 133, node: 'pve-01', name: '' }), 'clone'],
    [vm({ vmid: 134, node: 'pve-01', name: 'web' }), 'migrate'],
    [copy(9004, 'pve-01', 'pve-02'), 'migrate'],
    [vm({ vmid: 9005, node: 'pve-01', name: LEFT, description: 'Packer ephemeral build VM' }), 'create'],
    [old(9006, 'pve-01'), 'clone'],
  ];
  const seen = locked.map(([one, lock]) => ({ ...one, lock }));
  assert.deepEqual(
    held(seen).map(({ vmid }) => vmid),
    [9000, 9001, 9002, 9004, 9005],
  );
});
test('an original that is to be copied is waited for whatever holds it, one that nobody copies is not', () => {
  const original = { ...current(9000, 'pve-01'), lock: 'backup' };
  const others = [current(9001, 'pve-02'), current(9002, 'pve-03')];
  assert.deepEqual(held([original, ...others]), []);
  assert.deepEqual(held([original, others[0]!]), [original]);
  assert.deepEqual(held([current(9000, 'pve-01'), { ...others[0]!, lock: 'backup' }]), []);
});
test('shared storage: one, on the build node', () => {
  assert.deepEqual(places([], true), ['pve-01 9000 absent']);
  assert.deepEqual(places([current(9001, 'pve-02'), current(9005, 'pve-01')], true), ['pve-01 9005 current']);
  assert.equal(placeTemplates(config, true, [current(9005, 'pve-01')], wanted).for('pve-03').vmid, 9005);
});
test('without a key nothing is current', () => {
  assert.deepEqual(placeTemplates(config, false, [current(9000, 'pve-01')]).for('pve-01').is, 'absent');
});
test('a stale template is no news to Terraform, as long as nothing is cloned', () => {
  const tfvars = (vms: VmSeen[]): string =>
    renderTfvars(config, {
      endpoint: 'https://x/',
      addresses: new Map(config.k3s.nodes.map((node, i) => [node.name, `10.20.11.${80 + i}`])),
      publicKey: 'k',
      placement: placeTemplates(config, false, vms, wanted),
    });
  const nodes = ['pve-01', 'pve-02', 'pve-03'];
  assert.equal(
    tfvars(nodes.map((node, i) => old(9000 + i, node))),
    tfvars(nodes.map((node, i) => current(9000 + i, node))),
  );
});

test.run();
