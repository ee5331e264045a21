import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import { limited } from '../lib/limit.ts';
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
    [
      ...['k3s-gpu-01/drain', 'k3s-gpu-01/stop', 'k3s-gpu-01/start', 'k3s-gpu-01/stamp', 'k3s-gpu-01/ready'],
      'k3s-gpu-01/uncordon',
    ],
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
  [
    'a node that we cordoned and were stopped before we took it back',
    labWith(),
    (s) => withNode(s, 'k3s-cp-02', { cordoned: 'by us' }),
    ['k3s-cp-02/uncordon'],
  ],
  [
    'a node that its owner cordoned stays so',
    labWith(),
    (s) => withNode(s, 'k3s-cp-02', { cordoned: 'by others' }),
    [],
  ],
  [
    "NVIDIA's toolkit that came after K3s",
    labWith(),
    (s) => withFacts(s, 'k3s-gpu-01', { nvidia: 'later' }),
    ['k3s-gpu-01/stop', 'k3s-gpu-01/start', 'k3s-gpu-01/stamp', 'k3s-gpu-01/ready'],
  ],
  [
    "NVIDIA's toolkit on a node without a GPU is nobody's business",
    labWith(),
    (s) => withFacts(s, 'k3s-cp-02', { nvidia: 'later' }),
    [],
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

test('a token that somebody changed in a config.yaml is put right again', () => {
  const lab = labWith();
  const plan = planK3s(lab, withFacts(seenConverged(lab), 'k3s-cp-02', { tokenHash: 'x' }));
  assert.equal(blockers(plan), []);
  assert.match(step(plan, 'k3s-cp-02/config').why, 'token differs');
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

test('a newer version: saved first, then node by node, drained before and let in again afterwards', () => {
  const seen = seenConverged(labWith(atVersion('v1.35.9+k3s1')));
  const plan = planK3s(labWith(), seen);
  inOrder(plan);
  const parts = ['script', 'install', 'drain', 'stop', 'start', 'stamp', 'ready', 'uncordon'];
  const nodes = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
  assert.equal(ids(plan), [
    ...['install-script', 'snapshot', ...nodes.flatMap((n) => parts.map((p) => `${n}/${p}`)), 'kubeconfig'],
  ]);
  assert.ok(before(plan, 'k3s-cp-01/install').has('snapshot'));
  assert.ok(before(plan, 'k3s-cp-01/stop').has('k3s-cp-01/drain'));
  assert.ok(before(plan, 'k3s-cp-02/script').has('k3s-cp-01/uncordon'));
  assert.ok(before(plan, 'k3s-gpu-01/script').has('k3s-cp-02/uncordon'));
  assert.equal(blockers(plan), []);
});

test('a newer version on one server only: it is saved first as well', () => {
  const plan = planK3s(labWith(), seenConverged(labWith(atVersion('v1.35.9+k3s1'))));
  const one = limited(plan, ['k3s-cp-02']);
  assert.equal(ids(one).slice(0, 3), ['install-script', 'snapshot', 'k3s-cp-02/script']);
  assert.ok(before(one, 'k3s-cp-02/install').has('snapshot'));
});

test('our mark goes once somebody let pods in again: their next cordon is theirs', () => {
  const plan = planK3s(labWith(), withNode(seenConverged(labWith()), 'k3s-cp-02', { marked: true }));
  assert.equal(ids(plan), ['k3s-cp-02/unmark']);
});

test('an upgrade says what pods lose in emptyDirs, node by node, and asks nobody', () => {
  const pod = { name: 'a/x', ended: false, daemon: false, bare: false, emptyDirs: [] };
  const pods = {
    'k3s-cp-01': [{ ...pod, name: 'a/cache', emptyDirs: ['tmp', 'data'] }, pod],
    'k3s-cp-02': [pod, { ...pod, name: 'a/done', ended: true, emptyDirs: ['tmp'] }],
    'k3s-gpu-01': [{ ...pod, name: 'a/speaker', daemon: true, emptyDirs: ['tmp'] }],
  };
  const old = seenConverged(labWith(atVersion('v1.35.9+k3s1')));
  const plan = planK3s(labWith(), { ...old, pods: { ok: true, value: pods } });
  const said = (of: Plan): string[] => of.notes.flatMap(({ text }) => (/emptyDir/.test(text) ? text : []));
  assert.equal(said(plan), ['k3s-cp-01 is drained, and lost is what pods keep in an emptyDir: a/cache (tmp, data)']);
  assert.not(plan.steps.some(({ destroys }) => destroys));
  const other = planK3s(labWith(), { ...old, pods: { ok: true, value: pods } }, { limit: ['k3s-cp-02'] });
  assert.equal(said(other), []);
  assert.match(said(planK3s(labWith(), { ...old, pods: { ok: false, reason: 'too long' } })).join(), 'too long');
});

const DOWN = { units: { k3s: { state: 'inactive', enabled: true } } };

test('a newer version while no server runs: etcd is copied as it lies, and it is said', () => {
  const old = seenConverged(labWith(atVersion('v1.35.9+k3s1')));
  const down = withFacts(withFacts(old, 'k3s-cp-01', DOWN), 'k3s-cp-02', DOWN);
  const plan = planK3s(labWith(), { ...down, cluster: { answers: false, reason: 'K3s runs on no server' } });
  assert.equal(ids(plan).slice(0, 4), ['install-script', 'copy-k3s-cp-01', 'copy-k3s-cp-02', 'k3s-cp-01/script']);
  for (const name of ['copy-k3s-cp-01', 'copy-k3s-cp-02']) assert.ok(before(plan, 'k3s-cp-01/install').has(name), name);
  assert.equal(ids(limited(plan, ['k3s-cp-02'])).slice(1, 3), ['copy-k3s-cp-01', 'copy-k3s-cp-02']);
  assert.match(
    plan.notes.find(({ level, text }) => level === 'warning' && text.startsWith('no server runs'))?.fix ?? '',
    'set k3s.version to v1.35.9+k3s1 and run this first',
  );
  assert.equal(blockers(plan), []);
});

test('a newer version while servers only start, and none is up: nothing could save etcd, and it is refused', () => {
  const starting = { units: { k3s: { state: 'activating', enabled: true } }, leader: false };
  const old = seenConverged(labWith(atVersion('v1.35.9+k3s1')));
  const seen = withFacts(withFacts(old, 'k3s-cp-01', starting), 'k3s-cp-02', starting);
  const plan = planK3s(labWith(), { ...seen, cluster: { answers: false, reason: 'K3s runs on no server' } });
  assert.ok(blockers(plan).some((text) => text.startsWith('no server runs, so etcd cannot be saved')));
});

test('a newer version while one of two is down: the copy comes before it is touched, the snapshot when it is back', () => {
  const old = withFacts(seenConverged(labWith(atVersion('v1.35.9+k3s1'))), 'k3s-cp-01', DOWN);
  const plan = planK3s(labWith(), { ...old, cluster: { answers: false, reason: 'no majority' } });
  assert.ok(before(plan, 'k3s-cp-01/install').has('copy-k3s-cp-01'));
  assert.ok(before(plan, 'snapshot').has('k3s-cp-01/ready'));
  assert.ok(before(plan, 'k3s-cp-02/install').has('snapshot'));
});

test('a plain restart drains nothing: K3s leaves containers running', () => {
  const seen = seenConverged(labWith());
  const plan = planK3s(
    labWith((config) => void Object.assign(config, { search_domain: 'lab.arpa' })),
    seen,
  );
  assert.not(ids(plan).some((id) => id.endsWith('/drain')));
});

test('a node that is alone is not drained: nobody would take its pods', () => {
  const one = (config: Config): void => void config.k3s.nodes.splice(1);
  const seen = seenConverged(
    labWith((config) => {
      one(config);
      config.k3s.version = 'v1.36.4+k3s1';
    }),
  );
  const plan = planK3s(labWith(one), seen);
  assert.not(ids(plan).some((id) => /drain|uncordon/.test(id)));
  assert.ok(ids(plan).includes('snapshot'));
});

test('a server that is added joins before those that run are restarted for it; in an upgrade, after them', () => {
  const added = labWith(third);
  const adding = planK3s(added, {
    ...seenConverged(labWith()),
    hosts: { ...seenConverged(labWith()).hosts, 'k3s-cp-03': { reachable: true, facts: emptyHost } },
  });
  assert.ok(before(adding, 'k3s-cp-01/stop').has('k3s-cp-03/ready'));
  const old = seenConverged(labWith(atVersion('v1.36.4+k3s1')));
  const upgrading = planK3s(added, {
    ...old,
    hosts: { ...old.hosts, 'k3s-cp-03': { reachable: true, facts: emptyHost } },
  });
  assert.ok(before(upgrading, 'k3s-cp-03/start').has('k3s-cp-02/ready'));
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

test('unreachable hosts are planned for as new ones', () => {
  const lab = labWith();
  const hosts = Object.fromEntries(
    lab.config.k3s.nodes.map(({ name }) => [name, { reachable: false as const, reason: 'no' }]),
  );
  const plan = planK3s(lab, { hosts, cluster: { answers: false, reason: 'no' } });
  assert.equal(ids(plan), ids(planK3s(lab, seenFresh(lab))));
  assert.is(blockers(plan).length, 3);
});

test('the token of the fixtures is a hash', () => assert.is(TOKEN_HASH.length, 64));

test.run();
