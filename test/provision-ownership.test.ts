import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { Config } from '../lib/config/schema.ts';
import { UsageError } from '../lib/errors.ts';
import type { ProvisionSeen } from '../lib/observe/provision.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import { planProvision } from '../lib/plan/provision.ts';
import { type ProvisionContext, parallelismOf } from '../lib/plan/provision-terraform.ts';
import type { StateVm } from '../lib/plan/terraform-json.ts';
import { inOrder, type Plan, type Step } from '../lib/step.ts';
import { labOf, vm } from './provision-fixture.ts';
import { done, lab, managed, own, settings, templates } from './provision-seen.ts';

/** Whose VM it is: what is destroyed, taken over, left alone, and refused. */
const test = suite('provision: whose VM it is');

const ids = (plan: Plan): string[] => inOrder(plan).map(({ id }) => id);
const said = ({ notes }: Plan): string => notes.map(({ level, text, fix }) => `${level}: ${text}; ${fix}`).join('\n');
const applyOf = (plan: Plan): Step => plan.steps.find(({ id }) => id === 'terraform/apply')!;
const argvOf = ({ action }: Step): string =>
  action.kind === 'run' ? action.argv.filter((word) => typeof word === 'string').join(' ') : '';
const withVms = (...vms: VmSeen[]): ProvisionSeen => ({ ...done, vms: { ok: true, value: [...templates, ...vms] } });
const withState = (state: StateVm[], seen = done): ProvisionSeen => ({
  ...seen,
  terraform: { ...seen.terraform, state },
  changes: undefined,
});
const destroy: ProvisionContext = { ...settings, destroy: true };

test('--destroy: every VM of the state, the lab by name, keys forgotten, leases kept', () => {
  const plan = planProvision(lab, done, destroy);
  assert.deepEqual(ids(plan), [
    ...['terraform/plan', 'terraform/guard', 'terraform/apply'],
    ...['k3s-cp-01/forget-key', 'k3s-cp-02/forget-key', 'k3s-gpu-01/forget-key'],
  ]);
  const apply = applyOf(plan);
  assert.deepEqual(apply.confirm, ['homelab']);
  assert.deepEqual(apply.does, [
    'DESTROY k3s-cp-01 (VM 200 on pve-02)',
    'DESTROY k3s-cp-02 (VM 201 on pve-03)',
    'DESTROY k3s-gpu-01 (VM 210 on pve-01)',
  ]);
  assert.equal(
    apply.destroys?.at(-1),
    'the etcd members k3s-cp-01, k3s-cp-02: the whole cluster, with every object in it',
  );
  assert.match(argvOf(plan.steps[0]!), /plan -destroy .*-out=destroy\.tfplan$/);
  assert.match(said(plan), /leases stay \(k3s-cp-01 10\.20\.11\.80, .*network\.ts release/);
  const { action } = plan.steps[1]!;
  assert.deepEqual(action.kind === 'operation' && action.args.destroyed, ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01']);
});

test('--destroy --limit: those, one by one, the lab and the VMs by name', () => {
  const plan = planProvision(lab, done, { ...destroy, limit: ['k3s-cp-02'] });
  assert.deepEqual(applyOf(plan).confirm, ['homelab', 'k3s-cp-02']);
  assert.match(argvOf(plan.steps[0]!), /-target=proxmox_virtual_environment_vm\.node\["k3s-cp-02"\]$/);
  assert.match(argvOf(applyOf(plan)), /-parallelism=1 /);
  assert.ok(!ids(plan).includes('k3s-cp-01/forget-key'));
});

test('--destroy of nothing: no steps, no question', () => {
  const plan = planProvision(lab, withState([], withVms()), destroy);
  assert.deepEqual(plan.steps, []);
  assert.match(said(plan), /nothing to destroy/);
});

test('--destroy: a VM that is gone is forgotten, without a name to type', () => {
  const plan = planProvision(lab, withState(managed.slice(0, 1), withVms(...own.slice(1))), destroy);
  assert.deepEqual(applyOf(plan).does, ['forget k3s-cp-01 (VM 200), which is gone already']);
  assert.equal(applyOf(plan).destroys, undefined);
});

test('--destroy: VMs of homelab.yaml that are not in the state are named, and stay', () => {
  const web = vm({ vmid: 210, node: 'pve-01', name: 'web' });
  const plan = planProvision(lab, withState(managed.slice(0, 1), withVms(own[0]!, own[1]!, web)), destroy);
  assert.deepEqual(applyOf(plan).does, ['DESTROY k3s-cp-01 (VM 200 on pve-02)']);
  assert.match(said(plan), /warning: k3s-cp-02 \(VM 201 on pve-03\) carries this lab's mark, .* and stays/);
  assert.match(said(plan), /info: web \(VM 210 on pve-01\) has the VMID of k3s-gpu-01, is not this lab's, and stays/);
});

test('--destroy needs neither a key nor an agent that answers', () => {
  const { files } = done.terraform;
  const seen = { ...done, variables: undefined, silentAgents: ['k3s-cp-01'] };
  const plan = planProvision(lab, { ...seen, terraform: { ...done.terraform, files } }, destroy);
  assert.ok(ids(plan).includes('terraform/apply'), said(plan));
  assert.match(argvOf(plan.steps.find(({ id }) => id === 'terraform/plan')!), /-refresh=false/);
});

test('--destroy: a VM that homelab.yaml no longer has goes too', () => {
  const old = { name: 'old-01', vmid: 300, node: 'pve-01', tainted: false };
  const there = vm({ vmid: 300, node: 'pve-01', name: 'old-01', description: 'homelab:homelab/old-01' });
  const plan = planProvision(lab, withState([old], withVms(there)), destroy);
  assert.deepEqual(applyOf(plan).does, ['DESTROY old-01 (VM 300 on pve-01): homelab.yaml does not have it']);
  assert.ok(!said(plan).includes('blocker'), said(plan));
});

test('--destroy: a VM that was moved by hand goes too', () => {
  const plan = planProvision(lab, withVms({ ...own[0]!, node: 'pve-03' }, ...own.slice(1)), destroy);
  assert.ok(!said(plan).includes('blocker'), said(plan));
});

const web = vm({ vmid: 200, node: 'pve-02', name: 'web' });
const ofB = 'homelab:other/k3s-cp-01';
/** The list alone, as it is of VMs that the state knows: their notes were not read. */
const listed = own.map((one) => ({ ...one, description: '' }));
const replaced =
  /VM 200 on pve-02 is k3s-cp-01 of the lab "other", and no more k3s-cp-01, for which Terraform's state takes it; choose another vmid/;
const blocked: [what: string, seen: ProvisionSeen, context: ProvisionContext, message: RegExp][] = [
  ...[settings, destroy].flatMap((context): typeof blocked => [
    [
      `another VM has the VMID now${context.destroy ? ', --destroy' : ''}`,
      withVms(web, ...own.slice(1)),
      context,
      /VM 200 on pve-02 is "web", and no more k3s-cp-01, .*terraform -chdir=\S+ state rm 'proxmox_virtual_environment_vm\.node\["k3s-cp-01"\]'/,
    ],
    [
      `another lab has the VMID now, under the same name${context.destroy ? ', --destroy' : ''}`,
      withVms({ ...own[0]!, description: ofB }, ...own.slice(1)),
      context,
      replaced,
    ],
    [
      `another VM of this lab has it, under the same name${context.destroy ? ', --destroy' : ''}`,
      withVms({ ...own[0]!, description: 'homelab:homelab/k3s-x' }, ...own.slice(1)),
      context,
      /VM 200 on pve-02 is k3s-x of the lab "homelab", and no more k3s-cp-01/,
    ],
    [
      `the state of another lab${context.destroy ? ', --destroy' : ''}`,
      withState([{ ...managed[0]!, description: 'homelab:other/k3s-cp-01' }]),
      context,
      /terraform\.tfstate is the state of the lab "other": it holds k3s-cp-01 \(VM 200\); nothing is done with it; put the file of homelab/,
    ],
    [
      `a VM that cannot be looked at${context.destroy ? ', --destroy' : ''}`,
      withVms({ ...own[0]!, description: '', unread: '595 no route to host' }, ...own.slice(1)),
      context,
      /VM 200 on pve-02 cannot be looked at: 595 no route to host/,
    ],
  ]),
  ...(['update', 'replace', 'delete'] as const).map((action): (typeof blocked)[number] => [
    `another lab has the VMID now, as only Terraform saw: ${action}`,
    {
      ...withVms(...(action === 'update' ? own : listed)),
      changes: {
        ok: true,
        value: [{ name: 'k3s-cp-01', action, differences: [], markBefore: { lab: 'other', name: 'k3s-cp-01' } }],
      },
    },
    settings,
    replaced,
  ]),
  [
    'a VM that homelab.yaml no longer has, whose VMID is another VM now',
    withState(
      [...managed, { name: 'old-01', vmid: 300, node: 'pve-01', tainted: false }],
      withVms(...own, vm({ vmid: 300, node: 'pve-01', name: 'web' })),
    ),
    settings,
    /VM 300 on pve-01 is "web", and no more old-01/,
  ],
  [
    'a VM that was moved by hand',
    withVms({ ...own[0]!, node: 'pve-03' }, ...own.slice(1)),
    settings,
    /k3s-cp-01 \(VM 200\) is on pve-03, homelab\.yaml says pve-02; migrate it/,
  ],
  [
    'a VM of the state under another name',
    withState(
      [{ ...managed[0]!, name: 'old' }, ...managed.slice(1)],
      withVms({ ...own[0]!, name: 'old' }, ...own.slice(1)),
    ),
    settings,
    /VM 200 on pve-02 is old in Terraform's state, and homelab\.yaml gives its vmid to k3s-cp-01.*state mv '.*\["old"\]' '.*\["k3s-cp-01"\]'/,
  ],
  [
    'a VM of another lab at the VMID',
    withState(managed.slice(1), withVms({ ...web, description: 'homelab:other/web-01' }, ...own.slice(1))),
    settings,
    /taken by "web" on pve-02, which is web-01 of the lab "other"; choose another vmid in homelab\.yaml$/m,
  ],
  [
    'a disk that would shrink',
    withVms({ ...own[0]!, config: { scsi0: 'local-zfs:vm-200-disk-1,aio=io_uring,size=80G,ssd=1' } }, ...own.slice(1)),
    settings,
    /k3s-cp-01: homelab\.yaml says disk_gib: 50, its disk has 80 GiB, and Proxmox cannot shrink a disk; set disk_gib: 80 again; or .*--destroy --limit k3s-cp-01/,
  ],
  [
    'a disk that would shrink, by the list of the cluster',
    withVms({ ...own[0]!, diskBytes: 80 * 2 ** 30 }, ...own.slice(1)),
    settings,
    /its disk has 80 GiB/,
  ],
  [
    'a disk that would shrink, by the state alone',
    withState([{ ...managed[0]!, attributes: { disk: [{ interface: 'scsi0', size: 64 }] } }, ...managed.slice(1)]),
    settings,
    /its disk has 64 GiB/,
  ],
];
for (const [what, seen, context, message] of blocked)
  test(`blocked: ${what}`, () => assert.match(said(planProvision(lab, seen, context)), message));

test('a VM that moved to where homelab.yaml wants it is fine; so is a disk of the size that it has', () => {
  const moved = { ...managed[0]!, node: 'pve-01' };
  const disk = { ...own[0]!, config: { scsi0: 'local-zfs:vm-200-disk-1,size=51200M' } };
  const plan = planProvision(
    lab,
    { ...withState([moved, ...managed.slice(1)], withVms(disk, ...own.slice(1))) },
    settings,
  );
  assert.ok(!said(plan).includes('blocker'), said(plan));
});

test('what another lab has is said once', () => {
  const value = [
    { name: 'k3s-cp-01', action: 'update' as const, differences: [], markBefore: { lab: 'other', name: 'k3s-cp-01' } },
  ];
  const seen = withVms({ ...own[0]!, description: ofB }, ...own.slice(1));
  const plan = planProvision(lab, { ...seen, changes: { ok: true, value } }, settings);
  assert.equal(plan.notes.filter(({ level }) => level === 'blocker').length, 1, said(plan));
});

const still: [what: string, seen: ProvisionSeen][] = [
  ['the notes were not read', withVms(...listed)],
  [
    "Terraform saw this lab's own mark",
    {
      ...withVms(...listed),
      changes: {
        ok: true,
        value: [
          {
            ...{ name: 'k3s-cp-01', action: 'update', differences: [] },
            markBefore: { lab: 'homelab', name: 'k3s-cp-01' },
          },
        ],
      },
    },
  ],
  [
    'it has the mark of its old name still, after terraform state mv',
    withState(
      [{ ...managed[0]!, description: 'homelab:homelab/old' }, ...managed.slice(1)],
      withVms({ ...own[0]!, name: 'old', description: 'homelab:homelab/old' }, ...own.slice(1)),
    ),
  ],
];
for (const [what, seen] of still)
  test(`it is still ours: ${what}`, () => {
    const plan = planProvision(lab, seen, settings);
    assert.ok(!said(plan).includes('blocker'), said(plan));
  });

const notOurs: [what: string, vm: VmSeen, state: StateVm[]][] = [
  ['a stranger', web, managed.slice(1)],
  ['one that replaced ours', web, managed],
  ['one of another lab', { ...web, description: ofB }, managed.slice(1)],
  ['a locked one', { ...own[0]!, lock: 'clone' }, managed],
];
for (const [what, vm, state] of notOurs)
  test(`no disk is judged of ${what}`, () => {
    const seen = withState(state, withVms({ ...vm, diskBytes: 80 * 2 ** 30 }, ...own.slice(1)));
    assert.ok(!said(planProvision(lab, seen, settings)).includes('shrink'));
  });
test("the disk is judged of a VM that is ours by its mark, and that the state doesn't know", () => {
  const seen = withState(managed.slice(1), withVms({ ...own[0]!, diskBytes: 80 * 2 ** 30 }, ...own.slice(1)));
  assert.match(said(planProvision(lab, seen, settings)), /its disk has 80 GiB/);
});

const taints: [limit: string[] | undefined, untainted: string[]][] = [
  [undefined, ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01']],
  [['k3s-cp-01'], ['k3s-cp-01']],
];
for (const [limit, names] of taints)
  test(`tainted VMs are kept: --limit ${limit}`, () => {
    const plan = planProvision(lab, withState(managed.map((one) => ({ ...one, tainted: true }))), {
      ...settings,
      limit,
    });
    assert.deepEqual(
      ids(plan).filter((id) => id.includes('untaint')),
      names.map((name) => `terraform/untaint ${name}`),
    );
  });

test('a VM that is made anew may have a smaller disk', () => {
  const seen = withVms({ ...own[0]!, config: { scsi0: 'x:y,size=80G' } }, ...own.slice(1));
  const replaced = { name: 'k3s-cp-01', action: 'replace' as const, differences: [] };
  const plan = planProvision(lab, { ...seen, changes: { ok: true, value: [replaced] } }, settings);
  assert.ok(!said(plan).includes('shrink'), said(plan));
});

test('--import: imports, plans, says what would change; applies nothing, asks for no name', () => {
  const seen = withState(managed.slice(1), withVms(web, ...own.slice(1)));
  const plan = planProvision(lab, seen, { ...settings, imports: ['k3s-cp-01'] });
  assert.deepEqual(ids(plan), ['terraform/import k3s-cp-01', 'terraform/plan', 'terraform/would-change']);
  assert.match(argvOf(plan.steps[0]!), /import .*node\["k3s-cp-01"\] pve-02\/200$/);
  assert.ok(plan.steps.every(({ destroys }) => !destroys));
});
const imported: [imports: string[], limit: string[] | undefined][] = [
  [['k3s-cp-01', 'k3s-cp-01'], undefined],
  [['k3s-cp-01'], ['k3s-cp-01', 'k3s-cp-02']],
];
for (const [imports, limit] of imported)
  test(`--import ${imports}, --limit ${limit}: once`, () => {
    const seen = withState(managed.slice(1), withVms(web, ...own.slice(1)));
    const plan = planProvision(lab, seen, { ...settings, imports, limit });
    assert.deepEqual(ids(plan), ['terraform/import k3s-cp-01', 'terraform/plan', 'terraform/would-change']);
    assert.equal(argvOf(plan.steps[1]!).match(/-target=/g)?.length, 1);
  });
for (const limit of [['k3s-cp-02'], []])
  test(`--import outside --limit ${limit} is refused`, () => {
    const seen = withState(managed.slice(1), withVms(web, ...own.slice(1)));
    assert.throws(
      () => planProvision(lab, seen, { ...settings, imports: ['k3s-cp-01', 'k3s-cp-02'], limit }),
      (error) => error instanceof UsageError && /^--import k3s-cp-01\b.*: --limit leaves it out/.test(error.message),
    );
  });
test('imported and not yet changed: it is ours by the name in the state', () => {
  const state = [{ ...managed[0]!, attributes: { name: 'web' } }, ...managed.slice(1)];
  const plan = planProvision(lab, withState(state, withVms(web, ...own.slice(1))), settings);
  assert.ok(!said(plan).includes('blocker'), said(plan));
});

const wrong: [what: string, seen: ProvisionSeen, names: string[], message: RegExp][] = [
  [
    'no such node',
    done,
    ['k3s-cp-1'],
    /--import k3s-cp-1: homelab\.yaml has no such K3s node; did you mean "k3s-cp-01"\?/,
  ],
  ['managed already', done, ['k3s-cp-01'], /VM 200 is in Terraform's state already/],
  ['not there', withState([], withVms()), ['k3s-cp-01'], /there is no VM 200 on Proxmox/],
  [
    'a container',
    withState([], withVms({ ...web, kind: 'lxc' })),
    ['k3s-cp-01'],
    /VM 200 \("web"\) on pve-02 is a container/,
  ],
  ['a template', withState([], withVms({ ...web, template: true })), ['k3s-cp-01'], /is a template/],
  [
    'on another node',
    withState([], withVms({ ...web, node: 'pve-01' })),
    ['k3s-cp-01'],
    /is on pve-01, homelab\.yaml says pve-02/,
  ],
  [
    "another lab's",
    withState([], withVms({ ...web, description: 'homelab:b/x' })),
    ['k3s-cp-01'],
    /is x of the lab "b"/,
  ],
  [
    'two of them',
    withState([], withVms()),
    ['k3s-cp-01', 'k3s-cp-02'],
    /no VM 200.*\n--import k3s-cp-02: there is no VM 201/,
  ],
];
for (const [what, seen, imports, message] of wrong)
  test(`--import is refused: ${what}`, () => {
    assert.throws(
      () => planProvision(lab, seen, { ...settings, imports }),
      (error) => error instanceof UsageError && error.exit === 2 && message.test(error.message),
    );
  });
test('--destroy and --import exclude each other', () => {
  assert.throws(() => planProvision(lab, done, { ...destroy, imports: ['k3s-cp-01'] }), UsageError);
});

test('new VMs are made side by side; what exists is changed one by one', () => {
  assert.equal(parallelismOf(lab, ['update']), 1);
  assert.equal(parallelismOf(lab, ['create', 'replace']), 1);
  assert.equal(parallelismOf(lab, undefined), 1);
  assert.ok(parallelismOf(lab, ['create', 'create']) > 1);
});

test('before Terraform can be asked, the VMs are shown from homelab.yaml and Proxmox', () => {
  const change = (config: Config): void => {
    config.k3s.nodes[2]!.memory_gib = 32;
  };
  const plan = planProvision(
    labOf({ leased: true, change }),
    withState(managed.slice(2), withVms(own[1]!, own[2]!)),
    settings,
  );
  assert.deepEqual(applyOf(plan).does, [
    'create k3s-cp-01 (VM 200 on pve-02: 4 cores, 64 GiB, 50 GiB on local-zfs, 10.20.11.80)',
    'import k3s-cp-02 (VM 201 on pve-03)',
    'what differs of k3s-cp-02, k3s-gpu-01 is known after that; what destroys or restarts one stops the run',
  ]);
});

test.run();
