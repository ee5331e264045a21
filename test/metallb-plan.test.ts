import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { planMetallb } from '../lib/plan/metallb.ts';
import { EXCLUDED, type MetallbSeen, nothingOfMetallb, type SeenMetallb } from '../lib/plan/metallb-seen.ts';
import { helmChart } from '../lib/render/helm-chart.ts';
import { metallbChart, metallbNamespace, metallbPool } from '../lib/render/metallb.ts';
import { inOrder, type KubeObject } from '../lib/step.ts';
import { labWith } from './k3s-fixtures.ts';

const test = suite('metallb plan');
const lab = labWith();
type Answering = Extract<SeenMetallb, { answers: true }>;

const nothing: Answering = { answers: true, ...nothingOfMetallb };
/** A Service of type LoadBalancer; `address` is of the lab's pool unless `pool` is another. */
const service = (name: string, address?: string, pool = 'homelab', spec: object = {}): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'a', annotations: address ? { 'metallb.io/ip-allocated-from-pool': pool } : {} },
  spec: { type: 'LoadBalancer', ...spec },
  ...(address && { status: { loadBalancer: { ingress: [{ ip: address }] } } }),
});
const node = (name: string, excluded = false, taints: string[] = []) => ({ name, excluded, taints });
const all = Array.from({ length: 21 }, (_, i) => service(`s${i}`, `10.20.11.${200 + i}`));
function converged(): Answering {
  const [pool, advertisement] = metallbPool(lab.config);
  return {
    ...nothing,
    namespace: metallbNamespace(),
    chart: { chart: helmChart(metallbChart(lab.config)), rolledOut: true },
    pool,
    advertisement,
  };
}
const ids = (seen: SeenMetallb, of = lab): string[] => planMetallb(of, seen).steps.map(({ id }) => id);

test('from nothing', () => {
  const plan = planMetallb(lab, nothing);
  inOrder(plan);
  const chart = ['metallb/chart', 'metallb/installed', 'metallb/rollout'];
  assert.equal(ids(nothing), ['namespace', ...chart, 'pool', 'advertisement']);
  assert.equal(plan.steps.find(({ id }) => id === 'pool')?.after, ['metallb/rollout']);
});

test('as wanted: nothing', () => assert.equal(ids(converged()), []));

const repairs: [what: string, change: Partial<Answering>, steps: string[]][] = [
  [
    'the pool is another',
    { pool: { ...metallbPool(lab.config)[0]!, spec: { addresses: ['10.20.11.200-10.20.11.210'] } } },
    ['pool'],
  ],
  ['the announcement is gone', { advertisement: undefined }, ['advertisement']],
  [
    'the namespace lost its labels',
    { namespace: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'metallb-system' } } },
    ['namespace'],
  ],
  [
    'its pods do not run',
    { chart: { ...converged().chart, rolledOut: false } },
    ['metallb/installed', 'metallb/rollout'],
  ],
];
for (const [what, change, steps] of repairs) test(what, () => assert.equal(ids({ ...converged(), ...change }), steps));

test('an upgrade that failed is tried again, though the version before still runs', () => {
  const job = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: 'helm-install-metallb' },
    status: { failed: 1 },
  };
  const seen = { ...converged(), chart: { ...converged().chart, job } };
  assert.equal(ids(seen), ['metallb/retry', 'metallb/installed', 'metallb/rollout']);
});

test('a newer version goes through the chart, and leaves pool and announcement', () => {
  const newer = labWith((config) => {
    config.metallb.version = 'v0.16.2';
  });
  assert.equal(ids(converged(), newer), ['metallb/chart', 'metallb/installed', 'metallb/rollout']);
});

test('layer 2 only, in a privileged namespace, and a failed install stops', () => {
  const { spec } = helmChart(metallbChart(lab.config));
  assert.equal(spec, {
    chart: 'metallb',
    repo: 'https://metallb.github.io/metallb',
    version: '0.16.1',
    targetNamespace: 'metallb-system',
    failurePolicy: 'abort',
    valuesContent: 'frrk8s:\n  enabled: false\nspeaker:\n  frr:\n    enabled: false\n',
  });
  assert.is(metallbNamespace().metadata.labels?.['pod-security.kubernetes.io/enforce'], 'privileged');
});

const smaller = labWith((config) => {
  config.metallb.pool = '10.20.11.200-10.20.11.204';
});
const losing: [what: string, services: KubeObject[], lost: RegExp[]][] = [
  ['nobody', [service('in', '10.20.11.204'), service('waits')], []],
  [
    'one outside of it',
    [service('out', '10.20.11.205'), service('in', '10.20.11.200')],
    [/^10\.20\.11\.205, .*Service a\/out/],
  ],
  ['one of another pool', [service('other', '10.20.11.150', 'old')], []],
  [
    'one that an older MetalLB gave',
    [
      {
        ...service('old', '10.20.11.210'),
        metadata: { name: 'old', annotations: { 'metallb.universe.tf/ip-allocated-from-pool': 'homelab' } },
      },
    ],
    [/^10\.20\.11\.210, .*Service old/],
  ],
];
for (const [what, services, lost] of losing)
  test(`a smaller pool takes an address from: ${what}`, () => {
    const [step] = planMetallb(smaller, { ...converged(), services }).steps;
    assert.is(step?.id, 'pool');
    assert.is(step?.destroys?.length ?? 0, lost.length);
    for (const [i, one] of lost.entries()) assert.match(step?.destroys?.[i] ?? '', one);
  });
test('a pool that stays takes none, and asks for nothing', () =>
  assert.equal(ids({ ...converged(), services: [service('stray', '10.20.11.150')] }), []));

const notes: [what: string, seen: SeenMetallb, note: RegExp][] = [
  ['no server answers', { answers: false, reason: 'ECONNREFUSED' }, /^blocker: no K3s server answers: ECONNREFUSED$/],
  ['servicelb is on', { ...nothing, servicelbOn: ['k3s-cp-01'] }, /^blocker: servicelb is not disabled on k3s-cp-01/],
  [
    'servicelb still runs',
    { ...nothing, servicelbSets: ['svclb-traefik-1'] },
    /^blocker: servicelb still runs \(svclb-traefik-1/,
  ],
  [
    'a node is excluded',
    { ...nothing, nodes: [node('k3s-cp-01', true), node('k3s-cp-02')] },
    new RegExp(`^warning: k3s-cp-01 has the label ${EXCLUDED}`),
  ],
  [
    'every node is excluded',
    { ...nothing, nodes: [node('k3s-cp-01', true), node('k3s-cp-02', true)] },
    new RegExp(`^blocker: no node would announce an address: k3s-cp-01 has the label ${EXCLUDED}; k3s-cp-02 has`),
  ],
  [
    'what is not excluded is tainted',
    { ...nothing, nodes: [node('k3s-cp-01', true), node('k3s-gpu-01', false, ['dedicated=gpu:NoSchedule'])] },
    /^blocker: no node would announce .*; k3s-gpu-01 has the taint dedicated=gpu:NoSchedule$/,
  ],
  [
    'the pool is full',
    { ...nothing, services: [...all, service('more'), service('not ours', undefined, '', { loadBalancerClass: 'x' })] },
    /^warning: the pool is exhausted: all 21 addresses .* are in use \(Service a\/s0, .* and 17 more\); without an address: Service a\/more$/,
  ],
  [
    'somebody has an address of the pool',
    { ...nothing, taken: [{ address: '10.20.11.205', by: 'the machine with the MAC address bc:24:11:00:00:01' }] },
    /^blocker: metallb\.pool has addresses that others use: 10\.20\.11\.205 \(the machine with the MAC/,
  ],
  [
    'somebody answers for all of them',
    { ...nothing, taken: all.map((_, i) => ({ address: `10.20.11.${200 + i}`, by: 'the router' })) },
    /^warning: every address of .* is answered for by the router: proxy ARP\?$/,
  ],
  [
    'MetalLB does not take its configuration',
    { ...nothing, refused: ['controller: cidr overlaps'] },
    /^warning: MetalLB does not take its configuration: controller: cidr overlaps$/,
  ],
  [
    'another pool',
    { ...nothing, otherPools: [{ ...metallbPool(lab.config)[0]!, metadata: { name: 'old' } }] },
    /^info: there is another IPAddressPool, old \(\["10.20.11.200-10.20.11.220"\]\)/,
  ],
];
for (const [what, seen, note] of notes)
  test(`said: ${what}`, () => {
    const [found] = planMetallb(lab, seen).notes;
    assert.match(`${found?.level}: ${found?.text}`, note);
  });
const silent: [what: string, seen: Partial<MetallbSeen>][] = [
  [
    'a node that is only tainted',
    { nodes: [node('k3s-cp-01'), node('k3s-gpu-01', false, ['dedicated=gpu:NoSchedule'])] },
  ],
  ['an address is left', { services: all.slice(1) }],
  ['all addresses, one of them twice (shared)', { services: [...all.slice(2), service('x', '10.20.11.220')] }],
];
for (const [what, seen] of silent)
  test(`not said: ${what}`, () => assert.equal(planMetallb(lab, { ...converged(), ...seen }).notes, []));

test.run();
