import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import type { Config } from '../lib/config/schema.ts';
import type { ProvisionSeen } from '../lib/observe/provision.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import { planProvision } from '../lib/plan/provision.ts';
import { looksAtVms, type ProvisionContext } from '../lib/plan/provision-terraform.ts';
import { renderNotes } from '../lib/plan/template-hash.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import type { VmChange } from '../lib/plan/terraform-json.ts';
import { renderTfvars } from '../lib/render/tfvars.ts';
import { inOrder, type Plan } from '../lib/step.ts';
import { GIB, labOf, storagesOf, vm } from './provision-fixture.ts';
import {
  addresses,
  done,
  fresh,
  guests,
  lab,
  managed,
  own,
  settings,
  templates,
  tf,
  wanted,
} from './provision-seen.ts';

const test = suite('what provision plans');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const ids = (p: Plan): string[] => inOrder(p).map(({ id }) => id);
const blockers = (p: Plan): string[] =>
  p.notes.filter(({ level }) => level === 'blocker').map(({ text, fix }) => `${text}; ${fix}`);
const changed = (...value: VmChange[]): Partial<ProvisionSeen> => ({ changes: { ok: true, value } });
const terraform = ['terraform/plan', 'terraform/guard', 'terraform/apply'];
const guestOf = (name: string): string[] => ['agent', 'host-key', 'ssh', 'cloud-init'].map((part) => `${name}/${part}`);
const everyGuest = lab.config.k3s.nodes.flatMap(({ name }) => guestOf(name));

test('the addresses of the lab come out as .80, .81, .85', () => {
  assert.deepEqual([...addresses.values()], ['10.20.11.80', '10.20.11.81', '10.20.11.85']);
});
test('a fresh lab: folder, init, leases, plan, guard, apply, guests', () => {
  const made = planProvision(labOf(), fresh, { ...settings, differing: ['main.tf'] });
  assert.deepEqual(ids(made), [
    'generated',
    'terraform/main.tf',
    'terraform/init',
    'leases',
    'terraform/homelab.auto.tfvars.json',
    ...terraform,
    ...everyGuest,
  ]);
  assert.deepEqual(blockers(made), []);
});
test('done: nothing', () => {
  assert.deepEqual(planProvision(lab, done, settings), { steps: [], notes: [] });
});

const cases: [string, Partial<ProvisionSeen>, Partial<ProvisionContext>, string[]][] = [
  [
    'an update touches that VM only',
    changed({ name: 'k3s-cp-01', action: 'update', differences: ['memory.dedicated: 1 → 2'] }),
    {},
    [...terraform, 'k3s-cp-01/agent', 'k3s-cp-01/ssh', 'k3s-cp-01/cloud-init'],
  ],
  [
    'a replacement learns the key anew',
    changed({ name: 'k3s-cp-01', action: 'replace', differences: [] }),
    {},
    [...terraform, ...guestOf('k3s-cp-01')],
  ],
  [
    'a VM of ours that the state does not know is imported',
    { terraform: { ...done.terraform, state: managed.slice(1) }, changes: undefined },
    { limit: ['k3s-cp-01'] },
    ['terraform/import k3s-cp-01', ...terraform, 'k3s-cp-01/agent', 'k3s-cp-01/ssh', 'k3s-cp-01/cloud-init'],
  ],
  [
    'a tainted VM is kept',
    {
      terraform: { ...done.terraform, state: managed.map((m) => ({ ...m, tainted: m.name === 'k3s-cp-01' })) },
      changes: undefined,
    },
    { limit: ['k3s-cp-01'] },
    ['terraform/untaint k3s-cp-01', ...terraform, 'k3s-cp-01/agent', 'k3s-cp-01/ssh', 'k3s-cp-01/cloud-init'],
  ],
  [
    'a host key that is not known',
    {
      guests: {
        ...guests,
        'k3s-cp-02': { ...guests['k3s-cp-02']!, ssh: { ok: false, reason: 'host key changed' }, cloudInit: undefined },
      },
    },
    {},
    guestOf('k3s-cp-02'),
  ],
  [
    'a file system smaller than its disk',
    { guests: { ...guests, 'k3s-gpu-01': { ...guests['k3s-gpu-01']!, rootBytes: 48 * GIB } } },
    {},
    ['k3s-gpu-01/grow-root'],
  ],
  [
    'a disk that grows, and what is on it',
    changed({ name: 'k3s-gpu-01', action: 'update', differences: ['disk: 100 GiB → 101 GiB'] }),
    {},
    [...terraform, ...['agent', 'ssh', 'cloud-init', 'grow-root'].map((part) => `k3s-gpu-01/${part}`)],
  ],
  [
    'only the endpoint differs: written, not applied',
    {
      terraform: {
        ...done.terraform,
        files: { ...tf, 'homelab.auto.tfvars.json': '{}' },
        generated: { written: { '/state/terraform/homelab.auto.tfvars.json': [sha256('{}')] }, kept: {} },
      },
    },
    {},
    ['generated', 'terraform/homelab.auto.tfvars.json'],
  ],
  ['--limit', { changes: { ok: true, value: [] } }, { limit: ['k3s-cp-01'] }, []],
];
for (const [name, change, context, expected] of cases)
  test(name, () => {
    const made = planProvision(lab, { ...done, ...change }, { ...settings, ...context });
    assert.deepEqual(blockers(made), []);
    assert.deepEqual(ids(made).sort(), [...expected].sort());
  });

test('--limit without a VM touches none', () => {
  const made = planProvision(labOf(), fresh, { ...settings, limit: [] });
  assert.deepEqual(made.steps, []);
});
test('a replacement names what is lost, and needs consent', () => {
  const made = planProvision(
    lab,
    { ...done, ...changed({ name: 'k3s-cp-01', action: 'replace', differences: [] }) },
    settings,
  );
  const apply = made.steps.find(({ id }) => id === 'terraform/apply');
  assert.match(apply?.destroys?.join() ?? '', /VM k3s-cp-01 \(200 on pve-02\).*local-path.*etcd member/);
  assert.deepEqual(apply?.confirm, ['k3s-cp-01']);
  const { action } = made.steps.find(({ id }) => id === 'terraform/guard')!;
  assert.deepEqual(action.kind === 'operation' && action.args.destroyed, ['k3s-cp-01']);
});
test('VMs that exist are changed one after another', () => {
  const made = planProvision(
    lab,
    { ...done, ...changed({ name: 'k3s-cp-01', action: 'update', differences: [] }) },
    settings,
  );
  const { action } = made.steps.find(({ id }) => id === 'terraform/apply')!;
  assert.ok(action.kind === 'run' && action.argv.includes('-parallelism=1'));
});
test('new VMs are made side by side, four for each Proxmox node', () => {
  const { action } = planProvision(labOf(), fresh, settings).steps.find(({ id }) => id === 'terraform/apply')!;
  assert.ok(action.kind === 'run' && action.argv.includes('-parallelism=12'));
});
test('the token is a reference', () => {
  const made = planProvision(labOf(), fresh, settings);
  const { action } = made.steps.find(({ id }) => id === 'terraform/apply')!;
  assert.deepEqual(action.kind === 'run' && action.env?.PROXMOX_VE_API_TOKEN, {
    join: ['homelab@pve!toolkit=', { secret: 'PROXMOX_TOKEN_SECRET' }],
  });
});

const withVms = (...vms: VmSeen[]): Partial<ProvisionSeen> => ({ vms: { ok: true, value: [...templates, ...vms] } });
const placed = (vms: VmSeen[]): Partial<ProvisionSeen> => ({
  vms: { ok: true, value: vms },
  placement: placeTemplates(lab.config, false, vms, wanted),
});
const change = (edit: (config: Config) => void): Config => labOf({ change: edit }).config;
const refused: [string, Partial<ProvisionSeen>, RegExp][] = [
  [
    'a stranger at a VMID',
    withVms(vm({ vmid: 200, node: 'pve-03', name: 'web' })),
    /VMID 200 is wanted for k3s-cp-01, and taken by "web" on pve-03, which this lab did not make.*adopt it once it is on pve-02: npx tsx scripts\/provision\.ts --import k3s-cp-01$/,
  ],
  [
    'a VM of another lab',
    withVms(vm({ vmid: 200, node: 'pve-02', name: 'k3s-cp-01', description: 'homelab:other/k3s-cp-01' })),
    /taken by "k3s-cp-01"/,
  ],
  [
    'a name that is taken',
    withVms(vm({ vmid: 133, node: 'pve-01', name: 'k3s-cp-02' })),
    /the name k3s-cp-02 is taken by VM 133 on pve-01/,
  ],
  [
    'ours on another node',
    withVms({ ...own[0]!, node: 'pve-03' }),
    /k3s-cp-01 \(VM 200\) is on pve-03, homelab.yaml says pve-02/,
  ],
  ['a lock', withVms({ ...own[0]!, lock: 'clone' }), /VM 200 on pve-02 is locked \(clone\)/],
  [
    'no template on a node',
    placed(templates.slice(0, 2)),
    /pve-03: there is no template of ours on pve-03; npx tsx scripts\/build-template\.ts/,
  ],
  [
    'templates of other inputs',
    placed(
      templates.map((t) => ({
        ...t,
        description: renderNotes({ hash: 'f'.repeat(64), parts: { ...wanted.parts, iso: '0' } }),
      })),
    ),
    /pve-02: template 9001 on pve-02 is stale: iso changed; npx tsx scripts\/build-template\.ts/,
  ],
  [
    'a copy that is on its way',
    placed([
      ...templates.slice(0, 2),
      { ...templates[2]!, template: false, description: renderNotes({ ...wanted, for: 'pve-03' }) },
    ]),
    /pve-03: VM 9002, which is to be the template on pve-03, is not finished/,
  ],
  [
    'a template of a stranger',
    placed(templates.map((t) => ({ ...t, description: '' }))),
    /no template of ours on pve-01/,
  ],
  ['no GPU mapping', { mappings: { ok: true, value: {} } }, /there is no PCI mapping rtx4000ada/],
  [
    'the GPU on another node',
    { mappings: { ok: true, value: { rtx4000ada: ['pve-03'] } } },
    /no device on pve-01 \(but on pve-03\)/,
  ],
  [
    'too little memory',
    {
      nodes: { ok: true, value: [{ name: 'pve-02', online: true, memoryBytes: 32 * GIB, freeMemoryBytes: 30 * GIB }] },
    },
    /pve-02 has 32 GiB of memory, its VMs want 64 GiB/,
  ],
  [
    'a node that is down',
    { nodes: { ok: true, value: [{ name: 'pve-02', online: false, memoryBytes: 0, freeMemoryBytes: 0 }] } },
    /pve-02 is not online/,
  ],
  [
    'a storage that is not there',
    { storages: storagesOf(lab, () => ({ name: 'x' })) },
    /storage local-zfs does not exist on pve-02/,
  ],
  [
    'no Terraform',
    { terraform: { ...fresh.terraform, problem: 'terraform is not installed' } },
    /terraform is not installed/,
  ],
  ['no key', { variables: undefined }, /id_ed25519\.pub is missing/],
  ['terraform plan fails', { changes: { ok: false, reason: 'Error: no' } }, /terraform plan failed:\nError: no/],
  [
    'an address that a VM has',
    { taken: [{ lease: 'k3s-cp-01', address: '10.20.11.80', by: 'VM web (133) on pve-01' }] },
    /10\.20\.11\.80 would be the address of k3s-cp-01, and is used by VM web \(133\) on pve-01/,
  ],
];
for (const [name, what, message] of refused)
  test(`blocked: ${name}`, () => {
    assert.match(blockers(planProvision(lab, { ...fresh, ...what }, settings)).join('\n'), message);
  });
test('warned: the network could not be asked whether new addresses are free', () => {
  const { notes } = planProvision(lab, { ...fresh, unasked: 'pve-01: no route to host' }, settings);
  assert.match(notes.map(({ text }) => text).join('\n'), /no Proxmox node answers by SSH \(pve-01: no route to host\)/);
});

const moved = own.map((one, i) => (i === 0 ? { ...one, node: 'pve-03' } : one));
const names = lab.config.k3s.nodes.map(({ name }) => name);
const lookCases: [string, { silent: string[]; vms: VmSeen[]; limit?: string[] }, boolean][] = [
  ['every agent answers', { silent: [], vms: own }, true],
  ['an agent is silent, and every VM where it was', { silent: [names[1]!], vms: own }, false],
  ['an agent is silent, and another VM is gone', { silent: [names[1]!], vms: own.slice(1) }, true],
  ['an agent is silent, and another VM was moved', { silent: [names[1]!], vms: moved }, true],
  ['a VM with a silent agent was moved', { silent: [names[0]!], vms: moved }, true],
  ['one outside of --limit is gone', { silent: [names[1]!], vms: own.slice(1), limit: [names[1]!] }, false],
  ['one outside of --limit is silent', { silent: [names[1]!], vms: own, limit: [names[0]!] }, true],
];
for (const [name, { silent, vms, limit }, looks] of lookCases)
  test(`Terraform ${looks ? 'looks' : 'does not look'} at the VMs: ${name}`, () => {
    const update = changed({ name: limit?.[0] ?? names[2]!, action: 'update', differences: [] });
    const seen = { ...done, ...withVms(...vms), ...update, silentAgents: silent };
    assert.equal(looksAtVms(seen, limit), looks);
    const made = planProvision(lab, seen, { ...settings, limit });
    const { action } = made.steps.find(({ id }) => id === 'terraform/plan')!;
    assert.equal(action.kind === 'run' && action.argv.includes('-refresh=false'), !looks);
    const told = made.notes.map(({ text }) => text).join('\n');
    assert.equal(/asked without looking at the VMs/.test(told), !looks);
    const destroy = planProvision(lab, seen, { ...settings, limit, destroy: true });
    const { action: last } = destroy.steps.find(({ id }) => id === 'terraform/plan')!;
    assert.equal(last.kind === 'run' && last.argv.includes('-refresh=false'), !looks);
  });

const failures: [string, string | undefined][] = [
  ['Error: Error acquiring the state lock\n\nLock Info:\n  Who: ops@laptop', 'another run'],
  ['Error: no', undefined],
];
for (const [reason, waitsFor] of failures)
  test(`terraform plan fails, and waits for ${waitsFor}: ${reason.split('\n')[0]}`, () => {
    const { notes } = planProvision(lab, { ...done, changes: { ok: false, reason } }, settings);
    const failed = notes.find(({ text }) => text.startsWith('terraform plan failed'));
    assert.equal(failed?.waitsFor, waitsFor);
  });

test('VMs that exist need no template', () => {
  assert.deepEqual(blockers(planProvision(lab, { ...done, vms: { ok: true, value: own } }, settings)), []);
});
test('a disk that the storage cannot hold is a warning', () => {
  const made = planProvision(
    lab,
    { ...fresh, storages: storagesOf(lab, () => ({ availableBytes: 10 * GIB })) },
    settings,
  );
  assert.match(
    made.notes.map(({ level, text }) => `${level} ${text}`).join('\n'),
    /warning local-zfs of pve-02 has 10 GiB free/,
  );
});

test('variables: shared template, untagged network, names as they are', () => {
  const config = change((c) => {
    delete c.network.vlan;
  });
  const made = JSON.parse(
    renderTfvars(config, {
      endpoint: 'https://x/',
      addresses,
      publicKey: 'k\n',
      placement: placeTemplates(config, true),
    }),
  ) as {
    nodes: Record<
      string,
      { template_vmid: number; template_node: string | null; vlan: null; memory_mib: number; gpu: string | null }
    >;
  };
  assert.equal(made.nodes['k3s-cp-01']?.template_node, 'pve-01');
  assert.equal(made.nodes['k3s-gpu-01']?.template_node, null);
  assert.equal(made.nodes['k3s-gpu-01']?.gpu, 'rtx4000ada');
  assert.deepEqual(
    [made.nodes['k3s-cp-02']?.template_vmid, made.nodes['k3s-cp-02']?.vlan, made.nodes['k3s-cp-02']?.memory_mib],
    [9000, null, 65536],
  );
});

test.run();
