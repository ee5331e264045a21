import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EXCLUDED, planMetallb, type SeenMetallb } from '../lib/plan/metallb.ts';
import { helmChart } from '../lib/render/helm-chart.ts';
import { metallbChart, metallbNamespace, metallbPool } from '../lib/render/metallb.ts';
import { inOrder } from '../lib/step.ts';
import { labWith } from './k3s-fixtures.ts';

const test = suite('metallb plan');
const lab = labWith();
type Answering = Extract<SeenMetallb, { answers: true }>;

const nothing: Answering = {
  answers: true,
  chart: { rolledOut: false },
  otherPools: [],
  servicelbOn: [],
  servicelbSets: [],
  excluded: [],
};
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

const notes: [what: string, seen: SeenMetallb, note: RegExp][] = [
  ['no server answers', { answers: false, reason: 'ECONNREFUSED' }, /^blocker: no K3s server answers: ECONNREFUSED$/],
  ['servicelb is on', { ...nothing, servicelbOn: ['k3s-cp-01'] }, /^blocker: servicelb is not disabled on k3s-cp-01/],
  [
    'servicelb still runs',
    { ...nothing, servicelbSets: ['svclb-traefik-1'] },
    /^blocker: servicelb still runs \(svclb-traefik-1/,
  ],
  [
    'nodes are excluded',
    { ...nothing, excluded: ['k3s-cp-01'] },
    new RegExp(`^warning: k3s-cp-01 has the label ${EXCLUDED}`),
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

test.run();
