import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { nodeVolumes } from '../lib/observe/losses.ts';
import { type LossesSeen, lossLines, lossNotes } from '../lib/plan/losses.ts';
import { changeLine, summaryOf } from '../lib/plan/provision-lines.ts';
import { parsePlan, type VmChange } from '../lib/plan/terraform-json.ts';
import { restartsVm } from '../lib/plan/vm-attributes.ts';
import { labOf } from './provision-fixture.ts';

const test = suite('changes of VMs, as a person reads them');
const lab = labOf({ leased: true });
const state = lab.config.k3s.nodes.map(({ name, vmid, node }) => ({ name, vmid, node, tainted: false }));

const restarts: [path: string, restarts: boolean][] = [
  ...['cpu.cores', 'cpu.type', 'memory.dedicated', 'agent.enabled', 'agent.timeout', 'bios', 'machine'].map(
    (path): [string, boolean] => [path, true],
  ),
  ...['hostpci', 'hostpci.mapping', 'initialization.ip_config.ipv4.address', 'scsi_hardware', 'vga.type'].map(
    (path): [string, boolean] => [path, true],
  ),
  ...['disk.aio', 'disk.datastore_id', 'disk.queues'].map((path): [string, boolean] => [path, true]),
  ...['disk.size', 'disk.ssd', 'network_device.vlan_id', 'name', 'description', 'tags', 'on_boot', 'started'].map(
    (path): [string, boolean] => [path, false],
  ),
];
test('which attributes restart a VM', () => {
  for (const [path, expected] of restarts) assert.equal(restartsVm(path), expected, path);
});

/** What `terraform show -json` says of one VM. */
function planOf(actions: string[], before: unknown, after: unknown, more: object = {}): VmChange[] {
  const change = { actions, before, after, ...more };
  const resource = { type: 'proxmox_virtual_environment_vm', name: 'node', index: 'k3s-cp-01', change };
  return parsePlan(JSON.stringify({ resource_changes: [resource] }));
}
const vm = {
  node_name: 'pve-02',
  cpu: [{ cores: 4, flags: [] }],
  memory: [{ dedicated: 65536 }],
  disk: [{ interface: 'scsi0', size: 50, datastore_id: 'local-zfs' }],
  hostpci: [],
  initialization: [{ dns: [{ servers: ['10.20.11.1'] }], user_account: [{ keys: ['ssh-ed25519 AAAA'] }] }],
};
const lines: [what: string, changes: VmChange[], line: string][] = [
  [
    'created: from homelab.yaml',
    planOf(['create'], null, vm),
    'create k3s-cp-01 (VM 200 on pve-02: 4 cores, 64 GiB, 50 GiB on local-zfs, 10.20.11.80)',
  ],
  [
    'changed, and restarted',
    planOf(['update'], vm, { ...vm, cpu: [{ cores: 6, flags: null }], memory: [{ dedicated: 32768 }] }),
    'change k3s-cp-01 in place: cores: 4 → 6, memory: 64 GiB → 32 GiB (restarts it)',
  ],
  [
    'changed while it runs',
    planOf(['update'], vm, { ...vm, disk: [{ ...vm.disk[0], size: 80 }] }),
    'change k3s-cp-01 in place: disk: 50 GiB → 80 GiB',
  ],
  [
    'a GPU is added',
    planOf(['update'], vm, { ...vm, hostpci: [{ device: 'hostpci0', mapping: 'rtx4000ada' }] }),
    'change k3s-cp-01 in place: GPU: none → rtx4000ada (restarts it)',
  ],
  [
    'what is known only afterwards is no difference',
    planOf(
      ['update'],
      vm,
      { ...vm, node_name: null, memory: [{ dedicated: 1000 }] },
      { after_unknown: { node_name: true } },
    ),
    'change k3s-cp-01 in place: memory: 64 GiB → 1000 MiB (restarts it)',
  ],
  [
    'replaced: only why',
    planOf(
      ['delete', 'create'],
      vm,
      { ...vm, node_name: 'pve-03', cpu: [{ cores: 6 }] },
      { replace_paths: [['node_name']] },
    ),
    'REPLACE k3s-cp-01 (VM 200 on pve-02, destroyed and made anew): Proxmox node: pve-02 → pve-03 (needs a new VM)',
  ],
  [
    'replaced because it is tainted',
    planOf(['delete', 'create'], vm, vm),
    'REPLACE k3s-cp-01 (VM 200 on pve-02, destroyed and made anew): as Terraform was told',
  ],
  ['destroyed', planOf(['delete'], vm, null), 'DESTROY k3s-cp-01 (VM 200 on pve-02)'],
];
for (const [what, changes, line] of lines)
  test(what, () =>
    assert.deepEqual(
      changes.map((change) => changeLine(lab, state, change)),
      [line],
    ),
  );

test('a VM that homelab.yaml no longer has says so', () => {
  const old = [{ name: 'old', vmid: 300, node: 'pve-01', tainted: false }];
  assert.equal(
    changeLine(lab, old, { name: 'old', action: 'delete', differences: [] }),
    'DESTROY old (VM 300 on pve-01): homelab.yaml does not have it',
  );
});
test('many differences are counted, and a summary names the VMs', () => {
  const differences = Array.from({ length: 8 }, (_, i) => `a${i}: 1 → 2`);
  assert.match(changeLine(lab, state, { name: 'k3s-cp-01', action: 'update', differences }), /a5: 1 → 2 and 2 more$/);
  const change = (name: string, action: VmChange['action']): VmChange => ({ name, action, differences: [] });
  assert.equal(
    summaryOf([change('a', 'update'), change('b', 'create'), change('c', 'create')]),
    'to create: b, c; to change: a',
  );
});

test('whose the VM is by its notes, before the change', () => {
  const marks: [notes: string | null, mark: VmChange['markBefore']][] = [
    ['homelab:other/db-01\n', { lab: 'other', name: 'db-01' }],
    ['my web server', undefined],
    [null, undefined],
  ];
  for (const [description, mark] of marks)
    assert.deepEqual(planOf(['update'], { ...vm, description }, vm)[0]?.markBefore, mark);
});

const gone = (...names: string[]) => state.filter(({ name }) => names.includes(name));
const answered: LossesSeen = {
  volumes: {
    ok: true,
    value: [
      {
        node: 'k3s-cp-01',
        name: 'pvc-1',
        claim: 'databases/data-postgresql-0',
        size: '20Gi',
        storageClass: 'local-path',
      },
      { node: 'k3s-cp-02', name: 'pvc-2', size: '1Gi' },
    ],
  },
  members: { ok: true, value: ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'].map((name) => ({ name, ready: true })) },
  backups: { ok: true, value: [{ server: 'main', hours: 5.2 }] },
};
const losses: [what: string, names: string[], seen: LossesSeen | undefined, lines: string[]][] = [
  [
    'a server with volumes, of three',
    ['k3s-cp-01'],
    answered,
    [
      'VM k3s-cp-01 (200 on pve-02) with its disk',
      'k3s-cp-01: the volume databases/data-postgresql-0 (20Gi, local-path), which lies only there',
      'the etcd member k3s-cp-01: 2 of 3 are left, 2 are needed: the cluster goes on, and bears no further loss',
    ],
  ],
  [
    'a volume that nobody claims',
    ['k3s-cp-02'],
    { ...answered, members: { ok: true, value: [] } },
    ['VM k3s-cp-02 (201 on pve-03) with its disk', 'k3s-cp-02: the volume pvc-2 (1Gi), which lies only there'],
  ],
  [
    'a member that does not answer counts as lost already',
    ['k3s-gpu-01'],
    {
      ...answered,
      members: { ok: true, value: ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'].map((name, i) => ({ name, ready: i > 0 })) },
    },
    [
      'VM k3s-gpu-01 (210 on pve-01) with its disk; no volume is tied to it',
      'the etcd member k3s-gpu-01: 1 of 3 is left, 2 are needed: the API stops',
    ],
  ],
  [
    'a folder of no one node',
    ['k3s-gpu-01'],
    { ...answered, volumes: { ok: true, value: [{ name: 'old', claim: 'web/old', size: '1Gi' }] } },
    [
      'VM k3s-gpu-01 (210 on pve-01) with its disk; no volume is tied to it',
      'the volume web/old (1Gi), a folder that is tied to no node, may lie there',
      'the etcd member k3s-gpu-01: 2 of 3 are left, 2 are needed: the cluster goes on, and bears no further loss',
    ],
  ],
  [
    'all of them',
    ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'],
    { ...answered, volumes: { ok: true, value: [] } },
    [
      'VM k3s-cp-01 (200 on pve-02) with its disk; no volume is tied to it',
      'VM k3s-cp-02 (201 on pve-03) with its disk; no volume is tied to it',
      'VM k3s-gpu-01 (210 on pve-01) with its disk; no volume is tied to it',
      'the etcd members k3s-cp-01, k3s-cp-02, k3s-gpu-01: the whole cluster, with every object in it',
    ],
  ],
  [
    'K3s does not answer',
    ['k3s-cp-01'],
    { volumes: { ok: false, reason: 'k3s-cp-01: no route' }, members: { ok: false, reason: 'k3s-cp-01: no route' } },
    [
      'VM k3s-cp-01 (200 on pve-02) with its disk; every volume of local-path on it',
      'the etcd member k3s-cp-01: 1 of 2 is left, 2 are needed: the API stops (by homelab.yaml: the cluster could not be asked)',
    ],
  ],
  [
    'an agent is no member',
    ['k3s-gpu-01'],
    undefined,
    ['VM k3s-gpu-01 (210 on pve-01) with its disk; every volume of local-path on it'],
  ],
];
for (const [what, names, seen, expected] of losses)
  test(`is lost: ${what}`, () => assert.deepEqual(lossLines(lab, gone(...names), seen), expected));

const { backup } = lab.config;
const notes: [what: string, seen: LossesSeen, notes: string[]][] = [
  ['a young backup', answered, ['info: the last proven backup of the database server main is 5 hours old']],
  [
    'an old one',
    { ...answered, backups: { ok: true, value: [{ server: 'main', hours: 24 * 9 + 1 }] } },
    ['warning: the last proven backup of the database server main is 9 days old'],
  ],
  [
    'none',
    { ...answered, backups: { ok: true, value: [{ server: 'main' }] } },
    ['warning: there is no proven backup of the database server main'],
  ],
  [
    'nothing answers',
    { ...answered, volumes: { ok: false, reason: 'no route' }, backups: { ok: false, reason: '/mnt is not there' } },
    [
      'warning: which volumes lie only on these VMs could not be asked: no route',
      'warning: which backups there are could not be asked: /mnt is not there',
    ],
  ],
];
for (const [what, seen, expected] of notes)
  test(`beside the losses: ${what}`, () =>
    assert.deepEqual(
      lossNotes(backup, seen).map(({ level, text }) => `${level}: ${text}`),
      expected,
    ));
test('beside the losses: a lab without backups', () => {
  assert.match(lossNotes(undefined, { ...answered, backups: undefined })[0]?.text ?? '', /no `backup`/);
});

test('a volume is tied to the nodes of its affinity', () => {
  const volume = (spec: object) => ({ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: 'pvc-1' }, spec });
  const term = { matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: ['k3s-cp-01'] }] };
  const local = volume({
    capacity: { storage: '20Gi' },
    storageClassName: 'local-path',
    claimRef: { namespace: 'databases', name: 'data-postgresql-0' },
    nodeAffinity: { required: { nodeSelectorTerms: [term] } },
  });
  assert.deepEqual(nodeVolumes(local), [
    {
      ...{ node: 'k3s-cp-01', name: 'pvc-1', claim: 'databases/data-postgresql-0' },
      size: '20Gi',
      storageClass: 'local-path',
    },
  ]);
  const size = { capacity: { storage: '1Gi' } };
  assert.deepEqual(nodeVolumes(volume({ csi: {}, ...size })), []);
  assert.deepEqual(
    nodeVolumes(volume({ hostPath: { path: '/srv' }, ...size })).map(({ node, name }) => [node, name]),
    [[undefined, 'pvc-1']],
  );
  const { spec } = local;
  assert.deepEqual(
    nodeVolumes(volume({ ...spec, hostPath: { path: '/srv' } })).map(({ node }) => node),
    ['k3s-cp-01'],
  );
});

test.run();
