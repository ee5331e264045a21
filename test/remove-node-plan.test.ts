import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Member } from '../lib/plan/quorum-guard.ts';
import { planRemoval, type RemovalArgs, type RemovalSeen } from '../lib/plan/remove-node.ts';
import { planUninstall, type UninstallSeen } from '../lib/plan/uninstall-k3s.ts';
import { HOLD_FILE } from '../lib/render/k3s-uninstall.ts';
import type { KubeObject, Plan } from '../lib/step.ts';
import { removalProofs } from '../lib/verify/remove-node.ts';
import { labWith, seenConverged } from './k3s-fixtures.ts';

/** Who may leave, in which order, and what is said of it, without a machine. */
const test = suite('remove-node and uninstall-k3s: plans');
const lab = labWith();
const LEFT = ['the unit k3s', '/var/lib/rancher/k3s'];
const ETCD = { 'node-role.kubernetes.io/control-plane': 'true', 'node-role.kubernetes.io/etcd': 'true' };

const { cluster } = seenConverged(lab);
const nodes = cluster.answers
  ? cluster.nodes.map((node) => (node.name.includes('cp') ? { ...node, labels: { ...node.labels, ...ETCD } } : node))
  : [];
const members = (...names: string[]): Member[] =>
  names.map((name) => ({ name: name.replace('!', ''), ready: !name.endsWith('!') }));
const seen: RemovalSeen = {
  machine: { ok: true, value: LEFT },
  cluster: { answers: true, server: 'k3s-cp-01', nodes, pods: [] },
  members: members('k3s-cp-01', 'k3s-cp-02'),
  losses: { volumes: { ok: true, value: [] }, members: { ok: true, value: members('k3s-cp-01', 'k3s-cp-02') } },
  network: {},
};
const args = (name: string, more: Partial<RemovalArgs> = {}): RemovalArgs => ({ name, skipDrain: false, ...more });
const ids = ({ steps }: Plan): string[] => steps.map(({ id }) => id.split('/')[1] ?? id);
const told = ({ notes }: Plan, level: string): string[] =>
  notes.flatMap((note) => (note.level === level ? note.text : []));
const plan = (name: string, change: Partial<RemovalSeen> = {}, more: Partial<RemovalArgs> = {}): Plan =>
  planRemoval(lab, { ...seen, ...change }, args(name, more));
const unready = (name: string): RemovalSeen['cluster'] => ({
  ...{ answers: true, server: 'k3s-cp-01', pods: [] },
  nodes: nodes.map((node) => (node.name === name ? { ...node, ready: false } : node)),
});
const without = (name: string): RemovalSeen['cluster'] => ({
  ...{ answers: true, server: 'k3s-cp-01', pods: [] },
  nodes: nodes.filter((node) => node.name !== name),
});
const silent = { ok: false as const, reason: 'no answer' };

const orders: [what: string, name: string, seen: Partial<RemovalSeen>, more: Partial<RemovalArgs>, steps: string[]][] =
  [
    ['an agent that runs', 'k3s-gpu-01', {}, {}, ['cordon', 'drain', 'delete', 'gone', 'uninstall']],
    [
      'a server that runs is held before its Node goes',
      'k3s-cp-02',
      {},
      {},
      ['cordon', 'drain', 'hold', 'held', 'boot', 'delete', 'gone', 'uninstall'],
    ],
    [
      'a server of which only files are left cannot start',
      'k3s-cp-02',
      { machine: { ok: true, value: ['/etc/rancher/k3s'] } },
      {},
      ['cordon', 'drain', 'hold', 'held', 'delete', 'gone', 'uninstall'],
    ],
    ['without a drain', 'k3s-gpu-01', {}, { skipDrain: true }, ['cordon', 'delete', 'gone', 'uninstall']],
    [
      'one whose K3s is down is not drained',
      'k3s-gpu-01',
      { cluster: unready('k3s-gpu-01') },
      {},
      ['cordon', 'delete', 'gone', 'uninstall'],
    ],
    [
      'one that is gone',
      'k3s-gpu-01',
      { cluster: unready('k3s-gpu-01'), machine: silent },
      {},
      ['cordon', 'delete', 'gone'],
    ],
    [
      'out of the cluster already',
      'k3s-gpu-01',
      { cluster: { answers: true, server: 'k3s-cp-01', pods: [], nodes: nodes.slice(0, 2) } },
      {},
      ['uninstall'],
    ],
  ];
for (const [what, name, change, more, steps] of orders)
  test(what, () => {
    const planned = plan(name, change, more);
    assert.equal(told(planned, 'blocker'), []);
    assert.equal(ids(planned), steps);
    // One after the other, and only what takes something away asks.
    for (const [i, step] of planned.steps.entries()) assert.ok(i === 0 || (step.after ?? []).length > 0, step.id);
    for (const { destroys, confirm } of planned.steps) if (destroys) assert.equal(confirm, [name]);
    assert.ok(planned.steps.some(({ destroys }) => destroys));
  });

test('it is asked of a server that stays, whoever answered', () => {
  const hosts = (name: string): string[] =>
    plan(name).steps.flatMap(({ action }) => (action.kind === 'remote' && action.argv[0] === 'k3s' ? action.host : []));
  assert.equal([...new Set(hosts('k3s-cp-01'))], ['k3s-cp-02']);
  assert.equal([...new Set(hosts('k3s-cp-02'))], ['k3s-cp-01']);
});

const refusals: [what: string, name: string, seen: Partial<RemovalSeen>, said: RegExp][] = [
  [
    'the cluster is silent',
    'k3s-gpu-01',
    { cluster: { answers: false, reason: 'nobody' } },
    /^the cluster does not answer/,
  ],
  [
    'another server is down',
    'k3s-cp-02',
    { members: members('k3s-cp-01!', 'k3s-cp-02', 'k3s-cp-03') },
    /^etcd: 3 members, 2 needed .* without k3s-cp-02 1 is left of 2, 2 needed then: it stops$/,
  ],
  [
    'the last server',
    'k3s-cp-01',
    {
      cluster: {
        answers: true,
        server: 'k3s-cp-01',
        pods: [],
        nodes: nodes.filter(({ name }) => name !== 'k3s-cp-02'),
      },
      members: members('k3s-cp-01'),
    },
    /^k3s-cp-01 is the last server/,
  ],
  [
    'the Nodes of the majority are not Ready: one of them may be all that it hangs by',
    'k3s-cp-02',
    {
      ...{ cluster: unready('k3s-cp-02'), members: members('k3s-cp-01', 'k3s-cp-02!', 'k3s-cp-03!') },
      losses: { ...seen.losses, members: { ok: true, value: members('k3s-cp-01', 'k3s-cp-02!', 'k3s-cp-03!') } },
    },
    /^etcd: 3 members, 2 needed .* 1 ready; without k3s-cp-02 1 is left of 2/,
  ],
  [
    'a server that runs, and that the API which answers does not know',
    'k3s-cp-02',
    { cluster: without('k3s-cp-02'), machine: { ok: true, value: ['the unit k3s, which runs', ...LEFT.slice(1)] } },
    /^k3s runs on k3s-cp-02, and the cluster of k3s-cp-01 does not know it: it may be another cluster, with the majority of this one$/,
  ],
  [
    'the same, where a removal was ended half-way',
    'k3s-cp-02',
    {
      cluster: without('k3s-cp-02'),
      machine: { ok: true, value: ['the unit k3s, which runs', ...LEFT.slice(1), HOLD_FILE] },
    },
    /with the majority of this one, or what is left of a removal that was ended half-way$/,
  ],
  [
    'a server that is Ready by its own API, and not by the one that answers',
    'k3s-cp-02',
    {
      ...{ cluster: unready('k3s-cp-02'), elsewhere: true },
      machine: { ok: true, value: ['the unit k3s, which runs', ...LEFT.slice(1)] },
    },
    /^k3s runs on k3s-cp-02, and is not Ready by k3s-cp-01, but by its own API/,
  ],
  [
    'Ready, and out of reach',
    'k3s-gpu-01',
    { machine: silent },
    /^k3s-gpu-01 is Ready, and its machine cannot be reached/,
  ],
];
for (const [what, name, change, said] of refusals)
  test(`refused: ${what}`, () => {
    const [text = '', ...more] = told(plan(name, change), 'blocker');
    assert.match(text, said);
    assert.equal(more, []);
  });

test('a Node that came back with a snapshot is no member: etcd counts without it', () => {
  const planned = plan('k3s-cp-02', {
    ...{ machine: silent, cluster: unready('k3s-cp-02') },
    members: members('k3s-cp-01'),
  });
  assert.equal([told(planned, 'blocker'), ids(planned)], [[], ['cordon', 'delete', 'gone']]);
});

test('what is lost is named: pods, their folders, the member', () => {
  const pod = { ended: false, daemon: false, bare: false, emptyDirs: [] };
  const pods = [
    { ...pod, name: 'a/bare', bare: true },
    { ...pod, name: 'a/scratch', emptyDirs: ['data'] },
    { ...pod, name: 'a/done', bare: true, ended: true },
    { ...pod, name: 'a/speaker', daemon: true, emptyDirs: ['data'] },
  ];
  const { steps } = plan('k3s-cp-02', { cluster: { answers: true, server: 'k3s-cp-01', nodes, pods } });
  assert.equal(steps.find(({ destroys }) => destroys)?.destroys, [
    ...['pods that nothing makes again: a/bare', 'what pods keep in an emptyDir: a/scratch (data)'],
    ...['the etcd member k3s-cp-02', 'what K3s has on the machine of k3s-cp-02'],
  ]);
});

const DISK = [
  ...[...LEFT, '/var/lib/rancher/k3s/server/db/etcd', '/var/lib/rancher/k3s/server/db/snapshots/before-x'],
  ...['/var/lib/rancher/k3s/server/db.before-restore-1', '/var/lib/homelab/etcd-before-reset-20261126T000000Z'],
  ...['/var/lib/rancher/k3s/storage/pvc-1_default_data', '/var/lib/homelab/etcd-snapshots.state'],
];
const OF_ETCD = [
  'k3s-cp-02: its snapshots of etcd (those on the NAS stay): before-x',
  'k3s-cp-02: what etcd had before, put aside in /var/lib/rancher/k3s/server/db.before-restore-1',
  'k3s-cp-02: what etcd had before, put aside in /var/lib/homelab/etcd-before-reset-20261126T000000Z',
];

test('what a machine has that no cluster knows is named, one by one', () => {
  const planned = plan('k3s-cp-02', { cluster: without('k3s-cp-02'), machine: { ok: true, value: DISK } });
  assert.equal([told(planned, 'blocker'), ids(planned)], [[], ['uninstall']]);
  assert.equal(planned.steps[0]?.destroys, [
    'k3s-cp-02: what K3s left on its disk',
    "k3s-cp-02: etcd's data in /var/lib/rancher/k3s/server/db/etcd, with every object of the cluster that it was in",
    ...OF_ETCD,
    'k3s-cp-02: volumes of local-path: pvc-1_default_data',
  ]);
});

test('snapshots and copies of etcd that go with a server are named, also by uninstall-k3s', () => {
  const machine = { ok: true as const, value: DISK };
  const removed = plan('k3s-cp-02', { machine }).steps.find(({ destroys }) => destroys)?.destroys;
  const uninstalled = planUninstall(lab, { ...everywhere, nodes: { ...everywhere.nodes, 'k3s-cp-02': machine } }, {});
  const own = uninstalled.steps.find(({ id }) => id === 'k3s-cp-02/uninstall')?.destroys;
  for (const line of OF_ETCD) assert.ok(removed?.includes(line) && own?.includes(line), line);
});

test('etcd is counted once more after the drain, right before a member goes', () => {
  const step = plan('k3s-cp-02').steps.find(({ id }) => id.endsWith('/delete'));
  assert.is(step?.action.kind === 'operation' && step.action.name, 'delete-server');
  assert.is(plan('k3s-gpu-01').steps.find(({ id }) => id.endsWith('/delete'))?.action.kind, 'remote');
});

test('two servers or one are left: it is said what that bears', () => {
  const warned = told(plan('k3s-cp-02'), 'warning');
  assert.match(warned.join(), '1 server is left: 1 of 1 must answer, and none may be lost');
  assert.match(told(plan('k3s-cp-02'), 'info').join(), 'etcd: 2 members, 2 needed (⌊2/2⌋+1), 2 ready');
});

test('what the objects prove', () => {
  const node = (name: string, ready = 'True', etcd = true): KubeObject => ({
    ...{ apiVersion: 'v1', kind: 'Node' },
    metadata: { name, labels: etcd ? ETCD : {} },
    status: {
      conditions: [
        { type: 'Ready', status: ready },
        { type: 'EtcdIsVoter', status: 'True' },
      ],
    },
  });
  const ok = (...given: Parameters<typeof removalProofs>): boolean[] =>
    removalProofs(...given).map((proof) => proof.ok);
  const [a, b, agent] = [node('a'), node('b'), node('c', 'True', false)] as const;
  assert.equal(ok('x', [a, b, agent], false), [true, true, true]);
  assert.equal(ok('x', [a, b, agent], true), [false, true, true], 'its password is kept');
  assert.equal(ok('b', [a, b], false), [false, true, true], 'it is still there');
  assert.equal(ok('x', [a, node('c', 'False', false)], false), [true, false, true]);
  assert.equal(ok('x', [a, node('b', 'False')], false), [true, false, false], 'a member that does not answer');
});

// ---- uninstall-k3s

const everywhere: UninstallSeen = {
  nodes: Object.fromEntries(lab.config.k3s.nodes.map(({ name }) => [name, { ok: true, value: LEFT }])),
  cluster: { answers: true },
  files: ['/state/secrets/k3s-token', '/state/kubeconfig'],
  losses: seen.losses,
};
const only = (...names: string[]): UninstallSeen['nodes'] =>
  Object.fromEntries(
    lab.config.k3s.nodes.map(({ name }) => [name, { ok: true, value: names.includes(name) ? LEFT : [] }]),
  );

test('uninstall: agents first, then servers, then what we keep of it; each asks for the lab’s name', () => {
  const { steps } = planUninstall(lab, everywhere, {});
  assert.equal(
    steps.map(({ id }) => id),
    ['k3s-gpu-01/uninstall', 'k3s-cp-01/uninstall', 'k3s-cp-02/uninstall', 'forget'],
  );
  assert.equal(steps.find(({ id }) => id === 'k3s-cp-02/uninstall')?.after, ['k3s-gpu-01/uninstall']);
  assert.ok(steps.every(({ destroys, confirm }) => destroys?.length && (confirm ?? ['homelab']).join() === 'homelab'));
});

const limits: [what: string, seen: Partial<UninstallSeen>, limit: string[], steps: string[], blocked: boolean][] = [
  ['one of a cluster that lives', {}, ['k3s-gpu-01'], ['k3s-gpu-01/uninstall'], true],
  ['all but one', {}, ['k3s-cp-01', 'k3s-cp-02'], ['k3s-cp-01/uninstall', 'k3s-cp-02/uninstall'], true],
  [
    'the last one of a cluster that is gone',
    { nodes: only('k3s-gpu-01'), cluster: { answers: false, reason: '' } },
    ['k3s-gpu-01'],
    ['k3s-gpu-01/uninstall'],
    false,
  ],
  [
    'a server, while the other one only does not answer',
    { cluster: { answers: false, reason: '' } },
    ['k3s-cp-01'],
    ['k3s-cp-01/uninstall'],
    true,
  ],
  [
    'the servers of a cluster that does not answer',
    { cluster: { answers: false, reason: '' } },
    ['k3s-cp-01', 'k3s-cp-02'],
    ['k3s-cp-01/uninstall', 'k3s-cp-02/uninstall'],
    false,
  ],
  [
    'a server, while the machine of the other one does not answer',
    { cluster: { answers: false, reason: '' }, nodes: { ...everywhere.nodes, 'k3s-cp-02': silent } },
    ['k3s-cp-01'],
    ['k3s-cp-01/uninstall'],
    true,
  ],
  ['one on which there is nothing', { nodes: only('k3s-cp-01') }, ['k3s-gpu-01'], [], false],
];
for (const [what, change, limit, steps, blocked] of limits)
  test(`uninstall --limit: ${what}`, () => {
    const planned = planUninstall(lab, { ...everywhere, ...change }, { limit });
    assert.equal(
      planned.steps.map(({ id }) => id),
      steps,
    );
    assert.is(told(planned, 'blocker').length, blocked ? 1 : 0);
  });

test('uninstall --limit: all that answer, and a server that does not', () => {
  const seen = { ...everywhere, nodes: { ...everywhere.nodes, 'k3s-cp-02': silent } };
  const planned = planUninstall(lab, seen, { limit: ['k3s-cp-01', 'k3s-gpu-01'] });
  assert.equal(told(planned, 'blocker'), []);
  assert.match(told(planned, 'warning').join(), /^k3s-cp-02 cannot be asked: if it comes back/);
});

test('uninstall: a server of the cluster that homelab.yaml does not have is named', () => {
  const members = ['k3s-cp-01', 'k3s-cp-02', 'old-server'].map((name) => ({ name, ready: name !== 'old-server' }));
  const losses = { ...seen.losses!, members: { ok: true as const, value: members } };
  const planned = planUninstall(lab, { ...everywhere, losses }, {});
  assert.equal(
    told(planned, 'warning').filter((text) => text.includes('is a server of the cluster')),
    [
      'old-server is a server of the cluster, and homelab.yaml has no such node: it keeps K3s, and its copy of every object',
    ],
  );
  assert.not.match(told(planUninstall(lab, everywhere, {}), 'warning').join(), 'is a server of the cluster');
});

test('uninstall: a node that does not answer stands in the way', () => {
  const planned = planUninstall(lab, { ...everywhere, nodes: { ...everywhere.nodes, 'k3s-cp-02': silent } }, {});
  assert.equal(told(planned, 'blocker'), ['k3s-cp-02 is not reachable: no answer']);
});

test.run();
