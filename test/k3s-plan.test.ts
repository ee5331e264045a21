import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import { planK3s, scriptUrl } from '../lib/plan/k3s.ts';
import type { SeenK3s } from '../lib/plan/k3s-seen.ts';
import { inOrder, type Plan, type Step } from '../lib/step.ts';
import { emptyHost, labWith, seenConverged, seenFresh, TOKEN_HASH, withFacts, withNode } from './k3s-fixtures.ts';

const test = suite('k3s plan');

const ids = (plan: Plan): string[] => plan.steps.map(({ id }) => id);
const step = (plan: Plan, id: string): Step => plan.steps.find((s) => s.id === id)!;
const blockers = (plan: Plan): string[] => plan.notes.filter((n) => n.level === 'blocker').map((n) => n.text);
const content = (plan: Plan, node: string): string => {
  const { action } = step(plan, `${node}/config`);
  return action.kind === 'upload' ? JSON.stringify(action.content) : '';
};
/** Every step that must have ended before `id` starts. */
function before(plan: Plan, id: string): Set<string> {
  const all = new Set<string>();
  const visit = (one: string): void => {
    for (const next of step(plan, one).after ?? []) {
      if (all.has(next)) continue;
      all.add(next);
      visit(next);
    }
  };
  visit(id);
  return all;
}
const atVersion =
  (version: string) =>
  (config: Config): void => {
    config.k3s.version = version;
  };
const third = (config: Config): void => {
  config.k3s.nodes.push({ ...config.k3s.nodes[1]!, name: 'k3s-cp-03', vmid: 202 });
};

test('from nothing: servers one after another, then agents', () => {
  const plan = planK3s(labWith(), seenFresh(labWith()));
  inOrder(plan);
  const parts = ['config', 'script', 'install', 'enable', 'start', 'stamp', 'ready'];
  const nodes = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
  const wanted = ['token', 'install-script', ...nodes.flatMap((n) => parts.map((p) => `${n}/${p}`)), 'kubeconfig'];
  assert.equal(ids(plan), wanted);
  assert.ok(before(plan, 'k3s-cp-02/start').has('k3s-cp-01/ready'));
  assert.ok(before(plan, 'k3s-gpu-01/start').has('k3s-cp-02/ready'));
  assert.not(before(plan, 'k3s-gpu-01/install').has('k3s-cp-01/ready'), 'what can be brought before is');
  assert.equal(blockers(plan), []);
});

test('from nothing: only the first server starts a cluster', () => {
  const plan = planK3s(labWith(), seenFresh(labWith()));
  assert.match(content(plan, 'k3s-cp-01'), 'cluster-init: true');
  assert.match(content(plan, 'k3s-cp-02'), 'server: https://10.20.11.80:6443');
  assert.match(content(plan, 'k3s-gpu-01'), 'server: https://10.20.11.80:6443');
});

test('the token is a reference in the plan', () => {
  assert.match(content(planK3s(labWith(), seenFresh(labWith())), 'k3s-cp-01'), '{"secret":"k3s-token"}');
});

test('two agents are started side by side', () => {
  const lab = labWith((config) => config.k3s.nodes.push({ ...config.k3s.nodes[2]!, name: 'k3s-gpu-02', vmid: 211 }));
  const plan = planK3s(lab, seenFresh(lab));
  assert.not(before(plan, 'k3s-gpu-02/start').has('k3s-gpu-01/start'));
});

test('the install script is that of the version, and runs without starting', () => {
  const plan = planK3s(labWith(), seenFresh(labWith()));
  const { action } = step(plan, 'install-script');
  assert.is(
    action.kind === 'download' && action.url,
    'https://raw.githubusercontent.com/k3s-io/k3s/v1.36.5%2Bk3s1/install.sh',
  );
  const install = step(plan, 'k3s-gpu-01/install').action;
  assert.equal(install.kind === 'remote' && install.argv, [
    ...['env', 'INSTALL_K3S_VERSION=v1.36.5+k3s1', 'INSTALL_K3S_SKIP_START=true'],
    ...['sh', '/var/lib/homelab/k3s-install.sh', 'agent'],
  ]);
});

test('as wanted: nothing', () => {
  const lab = labWith();
  assert.equal(ids(planK3s(lab, seenConverged(lab))), []);
});

test('the script that was fetched before is not fetched again', () => {
  const lab = labWith();
  lab.lock.downloads[scriptUrl(lab.config.k3s.version)] = 'hash';
  assert.not(ids(planK3s(lab, { ...seenFresh(lab), scriptHash: 'hash' })).includes('install-script'));
  assert.ok(ids(planK3s(lab, { ...seenFresh(lab), scriptHash: 'other' })).includes('install-script'));
});

/** What one thing that is not as wanted leads to. */
const repairs: [what: string, lab: Lab, change: (seen: SeenK3s) => SeenK3s, steps: string[]][] = [
  [
    'a unit that is down is started, and nothing else',
    labWith(),
    (s) => withFacts(s, 'k3s-gpu-01', { units: { 'k3s-agent': { state: 'failed', enabled: true } } }),
    ['k3s-gpu-01/start', 'k3s-gpu-01/stamp', 'k3s-gpu-01/ready'],
  ],
  [
    'a unit that is starting is waited for',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-02', { units: { k3s: { state: 'activating', enabled: true } } }),
    ['k3s-cp-02/ready'],
  ],
  [
    'a unit that is not enabled',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-02', { units: { k3s: { state: 'active', enabled: false } } }),
    ['k3s-cp-02/enable'],
  ],
  ['a node that is not Ready', labWith(), (s) => withNode(s, 'k3s-gpu-01', { ready: false }), ['k3s-gpu-01/ready']],
  [
    'a binary that was replaced while the old one runs on',
    labWith(),
    (s) => withNode(s, 'k3s-gpu-01', { version: 'v1.36.4+k3s1' }),
    ['k3s-gpu-01/stop', 'k3s-gpu-01/start', 'k3s-gpu-01/stamp', 'k3s-gpu-01/ready'],
  ],
  [
    'a configuration that was written, but not started with',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-02', { startedWith: 'older' }),
    ['k3s-cp-02/stop', 'k3s-cp-02/start', 'k3s-cp-02/stamp', 'k3s-cp-02/ready'],
  ],
  [
    'a configuration that others can read is written again, without a restart',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-02', { configPrivate: false }),
    ['k3s-cp-02/config'],
  ],
  [
    'a node without our stamp is taken as it runs',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-02', { startedWith: undefined }),
    ['k3s-cp-02/stamp'],
  ],
  [
    'another token on an agent',
    labWith(),
    (s) => withFacts(s, 'k3s-gpu-01', { tokenHash: 'other' }),
    ['k3s-gpu-01/config', 'k3s-gpu-01/stop', 'k3s-gpu-01/start', 'k3s-gpu-01/stamp', 'k3s-gpu-01/ready'],
  ],
  ['a label that is wrong', labWith(), (s) => withNode(s, 'k3s-gpu-01', { labels: {} }), ['k3s-gpu-01/labels']],
  ['a taint that is gone', labWith(), (s) => withNode(s, 'k3s-gpu-01', { taints: [] }), ['k3s-gpu-01/taints']],
  ['a kubeconfig of before', labWith(), (s) => ({ ...s, kubeconfig: { header: '#', mode: 0o600 } }), ['kubeconfig']],
  [
    'a kubeconfig that others can read',
    labWith(),
    (s) => ({ ...s, kubeconfig: { ...s.kubeconfig!, mode: 0o644 } }),
    ['kubeconfig'],
  ],
];
for (const [what, lab, change, wanted] of repairs)
  test(what, () => assert.equal(ids(planK3s(lab, change(seenConverged(lab)))), wanted));

test('a new label is set through the API and noted for later; nothing restarts', () => {
  const seen = seenConverged(labWith());
  const lab = labWith((config) => {
    config.k3s.nodes[2]!.labels = { 'nvidia.com/gpu.present': 'true', tier: 'gpu' };
    config.k3s.nodes[2]!.taints = [];
  });
  const plan = planK3s(lab, seen);
  assert.equal(ids(plan), ['k3s-gpu-01/labels', 'k3s-gpu-01/taints', 'k3s-gpu-01/config']);
  const { action } = step(plan, 'k3s-gpu-01/taints');
  assert.equal(action.kind === 'remote' && action.argv.slice(3), [
    'node',
    'k3s-gpu-01',
    'dedicated:NoSchedule-',
    '--overwrite',
  ]);
});

test('a changed configuration restarts the servers one after another', () => {
  const seen = seenConverged(labWith());
  const lab = labWith((config) => {
    config.search_domain = 'lab.arpa';
  });
  const plan = planK3s(lab, seen);
  const parts = ['config', 'stop', 'start', 'stamp', 'ready'];
  assert.equal(ids(plan), [...['k3s-cp-01', 'k3s-cp-02'].flatMap((n) => parts.map((p) => `${n}/${p}`)), 'kubeconfig']);
  assert.ok(before(plan, 'k3s-cp-02/config').has('k3s-cp-01/ready'));
  assert.match(step(plan, 'k3s-cp-01/config').why, 'tls-san differs');
});

test('a newer version goes through the nodes one at a time, servers first', () => {
  const seen = seenConverged(labWith(atVersion('v1.35.9+k3s1')));
  const plan = planK3s(labWith(), seen);
  inOrder(plan);
  assert.ok(before(plan, 'k3s-cp-02/script').has('k3s-cp-01/ready'));
  assert.ok(before(plan, 'k3s-gpu-01/script').has('k3s-cp-02/ready'));
  assert.equal(blockers(plan), []);
});

test('a server that is down is mended before one that runs is touched', () => {
  const lab = labWith(third);
  const old = seenConverged(
    labWith((config) => {
      third(config);
      config.k3s.version = 'v1.36.4+k3s1';
    }),
  );
  const seen = withFacts(old, 'k3s-cp-03', { units: { k3s: { state: 'failed', enabled: true } } });
  assert.ok(before(planK3s(lab, seen), 'k3s-cp-01/install').has('k3s-cp-03/ready'));
});

test('a rebuilt first server joins the survivors, after the cluster forgot it', () => {
  const lab = labWith(third);
  const seen = withNode(seenConverged(lab), 'k3s-cp-01', { ready: false });
  if (seen.cluster.answers) seen.cluster.server = 'k3s-cp-02';
  const plan = planK3s(lab, {
    ...seen,
    hosts: { ...seen.hosts, 'k3s-cp-01': { reachable: true, facts: { ...emptyHost } } },
  });
  assert.match(content(plan, 'k3s-cp-01'), 'server: https://10.20.11.81:6443');
  assert.not.match(content(plan, 'k3s-cp-01'), 'cluster-init');
  assert.ok(before(plan, 'k3s-cp-01/start').has('k3s-cp-01/forget'));
  assert.not(ids(plan).includes('token'));
  assert.equal(
    ids(plan).filter((id) => !id.startsWith('k3s-cp-01/') && id !== 'kubeconfig' && id !== 'install-script'),
    [],
  );
});

test('a rebuilt first server does not start a second cluster while the other cannot be asked', () => {
  const lab = labWith();
  const seen: SeenK3s = { ...seenConverged(lab), cluster: { answers: false, reason: 'etcd has no leader' } };
  const rebuilt = { ...seen, hosts: { ...seen.hosts, 'k3s-cp-01': { reachable: true as const, facts: emptyHost } } };
  assert.not.match(content(planK3s(lab, rebuilt), 'k3s-cp-01'), 'cluster-init');
});

test('a cluster that is there, and no token here: it is taken over', () => {
  const lab = labWith((config) => config.k3s.nodes.push({ ...config.k3s.nodes[2]!, name: 'k3s-gpu-02', vmid: 211 }));
  const seen = { ...seenConverged(labWith()), tokenHash: undefined };
  const plan = planK3s(lab, { ...seen, hosts: { ...seen.hosts, 'k3s-gpu-02': { reachable: true, facts: emptyHost } } });
  assert.match(step(plan, 'token').title, 'take over the token of the cluster from k3s-cp-01');
  assert.equal(blockers(plan), []);
});

const refusals: [what: string, lab: Lab, change: (seen: SeenK3s) => SeenK3s, text: RegExp][] = [
  [
    'unreachable',
    labWith(),
    (s) => ({ ...s, hosts: { ...s.hosts, 'k3s-cp-01': { reachable: false, reason: 'connect ECONNREFUSED' } } }),
    /^k3s-cp-01 is not reachable: connect ECONNREFUSED$/,
  ],
  ['downgrade', labWith(atVersion('v1.36.4+k3s1')), (s) => s, /v1\.36\.4\+k3s1 is older than v1\.36\.5/],
  ['skipped minor', labWith(atVersion('v1.38.0+k3s1')), (s) => s, /a minor version would be skipped/],
  ['another host name', labWith(), (s) => withFacts(s, 'k3s-cp-01', { hostname: 'ubuntu' }), /calls itself ubuntu/],
  [
    'another role',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-02', { units: { 'k3s-agent': { state: 'active', enabled: true } } }),
    /k3s-cp-02 has the unit k3s-agent, homelab.yaml says server/,
  ],
  [
    'another token on a server',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-01', { tokenHash: 'x' }),
    /cluster with another token/,
  ],
  [
    'no token anywhere',
    labWith(),
    (s) =>
      withFacts(withFacts({ ...s, tokenHash: undefined }, 'k3s-cp-01', { tokenHash: undefined }), 'k3s-cp-02', {
        tokenHash: undefined,
      }),
    /k3s-cp-01, k3s-cp-02 have a cluster whose token is unknown here/,
  ],
  [
    'two machines of one name',
    labWith(),
    (s) => ({ ...s, hosts: { ...s.hosts, 'k3s-gpu-01': { reachable: true, facts: emptyHost } } }),
    /k3s-gpu-01 is Ready in the cluster, but the machine/,
  ],
];
for (const [what, lab, change, text] of refusals)
  test(`refused: ${what}`, () => {
    const found = blockers(planK3s(lab, change(seenConverged(labWith()))));
    assert.ok(
      found.some((one) => text.test(one)),
      found.join('\n'),
    );
  });

test('unreachable hosts are planned for as new ones', () => {
  const lab = labWith();
  const hosts = Object.fromEntries(
    lab.config.k3s.nodes.map(({ name }) => [name, { reachable: false as const, reason: 'no' }]),
  );
  const plan = planK3s(lab, { hosts, cluster: { answers: false, reason: 'no' } });
  assert.equal(ids(plan), ids(planK3s(lab, seenFresh(lab))));
  assert.is(blockers(plan).length, 3);
});

test('warned: clock, disk, strangers, an even number of servers', () => {
  const lab = labWith();
  let seen = withFacts(seenConverged(lab), 'k3s-gpu-01', { freeKib: 1024 ** 2 });
  seen = {
    ...seen,
    hosts: {
      ...seen.hosts,
      'k3s-cp-02': { ...seen.hosts['k3s-cp-02']!, skewSeconds: -90 } as SeenK3s['hosts'][string],
    },
  };
  if (seen.cluster.answers) seen.cluster.nodes.push({ name: 'old', ready: false, version: '', labels: {}, taints: [] });
  const plan = planK3s(lab, seen);
  assert.equal(ids(plan), []);
  assert.equal(
    plan.notes.map(({ level, text }) => `${level}: ${text.split(/[;:]/)[0]}`),
    [
      'warning: 2 K3s servers',
      'warning: the clock of k3s-cp-02 is 90 s behind',
      'warning: k3s-gpu-01 has 1.0 GiB free under /var/lib',
      'warning: old is in the cluster and not in homelab.yaml',
    ],
  );
});

test('the token of the fixtures is a hash', () => assert.is(TOKEN_HASH.length, 64));

test.run();
