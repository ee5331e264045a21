import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import { planK3s } from '../lib/plan/k3s.ts';
import { lostMajority, lostOrNot, membersOf } from '../lib/plan/k3s-members.ts';
import type { HostFacts, SeenK3s } from '../lib/plan/k3s-seen.ts';
import { inOrder, type Plan, type Step } from '../lib/step.ts';
import { emptyHost, labWith, seenConverged, withFacts, withNode } from './k3s-fixtures.ts';

/** Members of etcd that are lost, and restarts that it cannot spare. */
const test = suite('k3s and the majority of etcd');

const third = (config: Config): void => {
  config.k3s.nodes.push({ ...config.k3s.nodes[1]!, name: 'k3s-cp-03', vmid: 202 });
};
const ids = (plan: Plan): string[] => plan.steps.map(({ id }) => id);
const step = (plan: Plan, id: string): Step => plan.steps.find((s) => s.id === id)!;
const notes = (plan: Plan, level: string): string[] => plan.notes.filter((n) => n.level === level).map((n) => n.text);
const changed = (s: SeenK3s, name: string, facts: Partial<HostFacts>): SeenK3s => withFacts(s, name, facts);
const empty = (s: SeenK3s, name: string): SeenK3s => ({
  ...s,
  hosts: { ...s.hosts, [name]: { reachable: true, facts: emptyHost, skewSeconds: 0 } },
});
const silent = (s: SeenK3s): SeenK3s => ({ ...s, cluster: { answers: false, reason: 'etcdserver: no leader' } });
const down = (s: SeenK3s, name: string): SeenK3s =>
  changed(s, name, { units: { k3s: { state: 'failed', enabled: true } } });
const leaderless = (s: SeenK3s, name: string, members?: number): SeenK3s =>
  changed(s, name, { leader: false, members });

test('members are who the cluster says, and ready who also runs now', () => {
  const lab = labWith(third);
  const seen = down(withNode(seenConverged(lab), 'k3s-cp-02', { ready: false }), 'k3s-cp-03');
  assert.equal(membersOf(lab, seen), [
    { name: 'k3s-cp-01', ready: true },
    { name: 'k3s-cp-02', ready: false },
    { name: 'k3s-cp-03', ready: false },
  ]);
});

test('a Node that is left of a member which etcd has no more does not count', () => {
  const lab = labWith();
  const alone = withNode(changed(seenConverged(lab), 'k3s-cp-02', { members: 1 }), 'k3s-cp-01', { ready: false });
  const seen = changed(empty(alone, 'k3s-cp-01'), 'k3s-cp-02', { members: 1, leader: true });
  assert.equal(membersOf(lab, seen), [{ name: 'k3s-cp-02', ready: true }]);
});

test('where the API is silent, they are who has etcd’s data, and as many more as etcd counts', () => {
  const lab = labWith(third);
  const seen = leaderless(empty(silent(seenConverged(lab)), 'k3s-cp-01'), 'k3s-cp-02', 4);
  assert.equal(membersOf(lab, seen), [
    { name: 'k3s-cp-02', ready: true },
    { name: 'k3s-cp-03', ready: true },
    { name: 'k3s-cp-01', ready: false },
    { name: 'a server that homelab.yaml does not name', ready: false },
  ]);
});

const two = labWith();
const gone = leaderless(empty(silent(seenConverged(two)), 'k3s-cp-01'), 'k3s-cp-02', 2);

const lost: [what: string, lab: Lab, seen: SeenK3s, survivor: string | undefined][] = [
  ['one of two was replaced', two, gone, 'k3s-cp-02'],
  ['the other one', two, leaderless(empty(silent(seenConverged(two)), 'k3s-cp-02'), 'k3s-cp-01', 2), 'k3s-cp-01'],
  [
    'two of three were',
    labWith(third),
    leaderless(empty(empty(silent(seenConverged(labWith(third))), 'k3s-cp-01'), 'k3s-cp-03'), 'k3s-cp-02', 3),
    'k3s-cp-02',
  ],
  [
    'one of three: the others are a majority',
    labWith(third),
    empty(seenConverged(labWith(third)), 'k3s-cp-01'),
    undefined,
  ],
  ['the API answers', two, { ...gone, cluster: seenConverged(two).cluster }, undefined],
  [
    'the other one is only away',
    two,
    { ...gone, hosts: { ...gone.hosts, 'k3s-cp-01': { reachable: false, reason: 'off' } } },
    undefined,
  ],
  [
    'the other one has its data, and is down',
    two,
    down(leaderless(silent(seenConverged(two)), 'k3s-cp-02', 2), 'k3s-cp-01'),
    undefined,
  ],
  ['etcd has a leader: it only starts', two, changed(gone, 'k3s-cp-02', { leader: true }), undefined],
  ['its etcd does not run', two, changed(gone, 'k3s-cp-02', { leader: undefined, members: undefined }), undefined],
  ['a cluster of one that only starts', two, changed(gone, 'k3s-cp-02', { members: 1 }), undefined],
  [
    'it knows more members than homelab.yaml names: those were not looked at',
    two,
    changed(gone, 'k3s-cp-02', { members: 3 }),
    undefined,
  ],
  [
    'K3s has run on the other one, and its data is not there: its disk may just not be mounted',
    two,
    changed(gone, 'k3s-cp-01', { startedWith: 'f'.repeat(64) }),
    undefined,
  ],
  ['etcd does not say how many it knows', two, changed(gone, 'k3s-cp-02', { members: undefined }), undefined],
];
for (const [what, lab, seen, survivor] of lost)
  test(`a lost majority: ${what}`, () => assert.is(lostMajority(lab, seen)?.survivor, survivor));

const reasons: [seen: SeenK3s, why: RegExp][] = [
  [{ ...gone, cluster: seenConverged(two).cluster }, /^the API answers, on k3s-cp-01$/],
  [
    { ...gone, hosts: { ...gone.hosts, 'k3s-cp-01': { reachable: false, reason: 'off' } } },
    /^k3s-cp-01 does not answer: it may come back/,
  ],
  [down(leaderless(silent(seenConverged(two)), 'k3s-cp-02', 2), 'k3s-cp-01'), /^k3s-cp-01 and k3s-cp-02 both have/],
  [changed(gone, 'k3s-cp-02', { leader: true }), /^etcd has a leader, says k3s-cp-02$/],
  [changed(gone, 'k3s-cp-02', { leader: undefined, members: undefined }), /^etcd on k3s-cp-02 does not run$/],
  [changed(gone, 'k3s-cp-01', { joined: true }), /^k3s-cp-01 is not empty/],
  [changed(gone, 'k3s-cp-02', { members: 3 }), /^etcd has 3 members, and homelab.yaml names 2 servers$/],
];
for (const [seen, why] of reasons)
  test(`no lost majority, because: ${why.source}`, () => assert.match(String(lostOrNot(two, seen)), why));

test('a disk that is not mounted is no new machine: it is not forgotten, nothing is begun on it, and it is said', () => {
  const lab = labWith(third);
  const bereft = changed(empty(seenConverged(lab), 'k3s-cp-03'), 'k3s-cp-03', { startedWith: 'f'.repeat(64) });
  const plan = planK3s(lab, bereft);
  assert.not.ok(ids(plan).includes('k3s-cp-03/forget'));
  assert.match(
    notes(plan, 'blocker').join(),
    'K3s was started on k3s-cp-03 before, and nothing of it is in /var/lib/rancher/k3s',
  );
  assert.ok(ids(planK3s(lab, empty(seenConverged(lab), 'k3s-cp-03'))).includes('k3s-cp-03/forget'));
});

test('a restore that is not finished comes first', () => {
  const plan = planK3s(two, changed(seenConverged(two), 'k3s-cp-02', { restoring: 'mine-1' }));
  assert.match(notes(plan, 'blocker').join(), 'a restore of etcd was begun on k3s-cp-02, and is not finished');
  const fixes = plan.notes.map(({ fix }) => fix ?? '').join();
  assert.match(fixes, 'run `npx tsx scripts/etcd-snapshot.ts restore mine-1` again; it goes on');
});

test('the way out: a copy, a reset that is confirmed, and the new one joins', () => {
  const plan = planK3s(two, gone);
  inOrder(plan);
  assert.equal(
    ids(plan).filter((id) => !/script|token|kubeconfig/.test(id)),
    [
      ...['config', 'stop', 'keep', 'reset', 'start', 'stamp', 'ready', 'uncordon'].map((part) => `k3s-cp-02/${part}`),
      ...['config', 'install', 'enable', 'forget', 'start', 'stamp', 'ready'].map((part) => `k3s-cp-01/${part}`),
      ...['k3s-gpu-01/ready', 'k3s-gpu-01/uncordon'],
    ],
  );
  const { destroys, action, after, title } = step(plan, 'k3s-cp-02/reset');
  assert.is(title, 'reset etcd to k3s-cp-02 alone (it keeps its data)');
  assert.match(destroys?.[0] ?? '', /membership of k3s-cp-01 in etcd/);
  assert.match(destroys?.[0] ?? '', /no confirmed write, for both had to have it/);
  assert.equal(action.kind === 'remote' && action.argv.slice(-3), ['k3s', 'server', '--cluster-reset']);
  const stop = step(plan, 'k3s-cp-02/stop');
  assert.equal(stop.action.kind === 'operation' && [stop.action.name, stop.action.args.lost], [
    'stop-for-reset',
    ['k3s-cp-01'],
  ]);
  assert.match(stop.does?.[0] ?? '', /^looks once more: etcd has no leader/);
  for (const id of ['config', 'stop', 'keep']) assert.ok(after?.includes(`k3s-cp-02/${id}`));
  assert.match(
    notes(plan, 'warning').join('\n'),
    /k3s-cp-01 was replaced, and etcd has no majority. etcd: 2 members, 2 needed/,
  );
  assert.equal(notes(plan, 'blocker'), []);
});

test('the way out: who is left begins anew, without a server to join, as K3s wants it for a reset', () => {
  const first = leaderless(empty(silent(seenConverged(two)), 'k3s-cp-01'), 'k3s-cp-02', 2);
  const config = (name: string): string => JSON.stringify(step(planK3s(two, first), `${name}/config`).action);
  assert.match(config('k3s-cp-02'), 'cluster-init: true');
  assert.not.match(config('k3s-cp-02'), 'server: https');
  assert.match(config('k3s-cp-01'), 'server: https://10.20.11.81:6443');
  assert.not.match(config('k3s-cp-01'), 'cluster-init');
});

test('the way out: of three, what is lost may be more', () => {
  const lab = labWith(third);
  const seen = leaderless(empty(empty(silent(seenConverged(lab)), 'k3s-cp-01'), 'k3s-cp-03'), 'k3s-cp-02', 3);
  const { destroys } = step(planK3s(lab, seen), 'k3s-cp-02/reset');
  assert.match(destroys?.[0] ?? '', /membership of k3s-cp-01, k3s-cp-03/);
  assert.match(destroys?.[0] ?? '', /k3s-cp-02 may be behind/);
});

test('the way out: not together with an upgrade', () => {
  const lab = labWith((config) => void Object.assign(config.k3s, { version: 'v1.37.1+k3s1' }));
  assert.match(notes(planK3s(lab, gone), 'blocker').join(), /k3s-cp-02 alone has the cluster, and runs v1.36.5\+k3s1/);
});

test('a majority that is gone where etcd does not say how many it knows: only a person can tell', () => {
  const seen = changed(gone, 'k3s-cp-02', { members: undefined });
  const [note] = planK3s(two, seen).notes.filter(({ level }) => level === 'blocker');
  assert.match(note?.text ?? '', /etcd has no majority: more members than are left, left: k3s-cp-02/);
  assert.match(note?.fix ?? '', /k3s server --cluster-reset/);
});

test('a run that was killed after the reset: its server is started, and the rest goes on', () => {
  const seen = changed(gone, 'k3s-cp-02', {
    ...{ leader: undefined, members: undefined, units: { k3s: { state: 'inactive', enabled: true } } },
  });
  const plan = planK3s(two, seen);
  assert.equal(notes(plan, 'blocker'), []);
  assert.equal(
    ids(plan).filter((id) => /cp-0.\/(reset|start|forget)/.test(id)),
    ['k3s-cp-02/start', 'k3s-cp-01/forget', 'k3s-cp-01/start'],
  );
});

test('the arithmetic of each restart stands in the plan', () => {
  const lab = labWith((config) => void Object.assign(config, { search_domain: 'lab.arpa' }));
  const plan = planK3s(lab, seenConverged(labWith()));
  const words = 'etcd: 2 members, 2 needed (⌊2/2⌋+1), 2 ready; without k3s-cp-01 1 is left: it stops';
  assert.equal(step(plan, 'k3s-cp-01/stop').does, [words]);
  assert.ok(notes(plan, 'info').includes(`k3s-cp-01 restarts. ${words}, and the API with it, until it is back`));
});

test('a server is not restarted while another one, which the plan does not mend, is down', () => {
  const stranger = { name: 'old', ready: false, version: '', labels: {}, taints: [], member: true };
  const seen = changed(seenConverged(labWith()), 'k3s-cp-01', { members: 3 });
  if (seen.cluster.answers) seen.cluster.nodes.push(stranger);
  const plan = planK3s(
    labWith((config) => void Object.assign(config, { search_domain: 'lab.arpa' })),
    seen,
  );
  assert.match(
    notes(plan, 'blocker')[0] ?? '',
    /k3s-cp-01 must not be restarted now. etcd: 3 members, 2 needed .* without k3s-cp-01 1 is left: it stops/,
  );
});

test('one that is down and mended by the plan counts as ready by then', () => {
  const seen = down(seenConverged(labWith(third)), 'k3s-cp-03');
  const lab = labWith((config) => {
    third(config);
    config.search_domain = 'lab.arpa';
  });
  const plan = planK3s(lab, seen);
  assert.equal(notes(plan, 'blocker'), []);
  assert.match(step(plan, 'k3s-cp-01/stop').does?.[0] ?? '', /3 ready; without k3s-cp-01 2 are left$/);
});

test('a rebuilt server of three, and an upgrade at once: first the one, then the other', () => {
  const old = labWith((config) => {
    third(config);
    config.k3s.version = 'v1.36.4+k3s1';
  });
  const seen = empty(withNode(seenConverged(old), 'k3s-cp-01', { ready: false }), 'k3s-cp-01');
  const plan = planK3s(labWith(third), seen);
  assert.match(notes(plan, 'blocker').join(), /k3s-cp-02 must not be restarted now/);
  assert.match(
    plan.notes.find(({ level }) => level === 'blocker')?.fix ?? '',
    /^set k3s.version to v1.36.4\+k3s1 and run/,
  );
});

test.run();
