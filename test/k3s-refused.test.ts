import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import { planK3s } from '../lib/plan/k3s.ts';
import type { SeenK3s } from '../lib/plan/k3s-seen.ts';
import type { Plan } from '../lib/step.ts';
import { emptyHost, labWith, seenConverged, withFacts } from './k3s-fixtures.ts';

/** What install-k3s does not do, and what it only warns of. */
const test = suite('k3s refusals');

const ids = (plan: Plan): string[] => plan.steps.map(({ id }) => id);
const blockers = (plan: Plan): string[] => plan.notes.filter((n) => n.level === 'blocker').map((n) => n.text);
const atVersion =
  (version: string) =>
  (config: Config): void => {
    config.k3s.version = version;
  };

const alone = (config: Config): void => {
  config.k3s.nodes = config.k3s.nodes.filter(({ name }) => name === 'k3s-cp-01');
};

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
    (s) => withFacts(s, 'k3s-cp-01', { secretHash: 'x' }),
    /cluster with another token/,
  ],
  [
    'no token anywhere',
    labWith(),
    (s) =>
      ['k3s-cp-01', 'k3s-cp-02'].reduce<SeenK3s>(
        (one, name) => withFacts(one, name, { tokenHash: undefined, secretHash: undefined }),
        { ...s, tokenHash: undefined },
      ),
    /k3s-cp-01, k3s-cp-02 have a cluster whose token is unknown here/,
  ],
  [
    'two machines of one name',
    labWith(),
    (s) => ({ ...s, hosts: { ...s.hosts, 'k3s-gpu-01': { reachable: true, facts: emptyHost } } }),
    /k3s-gpu-01 is Ready in the cluster, but the machine/,
  ],
  [
    'another network of pods on a cluster that exists',
    labWith((config) => void Object.assign(config.k3s, { cluster_cidr: '10.52.0.0/16' })),
    (s) => s,
    /^k3s-cp-02 has cluster-cidr 10.42.0.0\/16, k3s.cluster_cidr says 10.52.0.0\/16: it cannot be changed/,
  ],
  [
    'what an owner set by hand and this would take away',
    labWith(),
    (s) => withFacts(s, 'k3s-cp-01', { config: 'flannel-backend: host-gw\ndisable: [servicelb]\n' }),
    /^k3s-cp-01 has flannel-backend host-gw, and this would make it vxlan: it cannot be changed/,
  ],
  [
    'a read-only root',
    labWith(),
    (s) => withFacts(s, 'k3s-gpu-01', { readOnly: true }),
    /root file system of k3s-gpu-01/,
  ],
  [
    'a full disk',
    labWith(),
    (s) => withFacts(s, 'k3s-gpu-01', { freeKib: 1000 }),
    /k3s-gpu-01 has 0.0 GiB free .*does not fit/,
  ],
  [
    'a clock that is off, on a node that is to join',
    labWith(),
    (s) => ({ ...s, hosts: { ...s.hosts, 'k3s-gpu-01': { reachable: true, facts: emptyHost, skewSeconds: -600 } } }),
    /the clock of k3s-gpu-01 is 600 s behind the others: .* it cannot join/,
  ],
  [
    'two clusters',
    labWith(),
    (s) => ({
      ...s,
      views: {
        'k3s-cp-01': s.cluster.answers ? s.cluster.nodes.slice(0, 1) : [],
        'k3s-cp-02': s.cluster.answers ? s.cluster.nodes.slice(1) : [],
      },
    }),
    /^k3s-cp-01 and k3s-cp-02 run two clusters, not one$/,
  ],
  [
    'two clusters, of one snapshot: each takes the other server for dead',
    labWith(),
    (s) => ({
      ...s,
      views: Object.fromEntries(
        ['k3s-cp-01', 'k3s-cp-02'].map((own) => [
          own,
          s.cluster.answers
            ? s.cluster.nodes.map((node) => ({ ...node, ready: node.name === own || !node.name.includes('cp') }))
            : [],
        ]),
      ),
    }),
    /^k3s-cp-01 and k3s-cp-02 run two clusters, not one$/,
  ],
  [
    'all servers are new, and an agent is not',
    labWith(),
    (s) => ({
      ...s,
      cluster: { answers: false, reason: 'K3s runs on no server' },
      hosts: {
        ...s.hosts,
        'k3s-cp-01': { reachable: true, facts: emptyHost },
        'k3s-cp-02': { reachable: true, facts: emptyHost },
      },
    }),
    /^no server has etcd's data any more, and k3s-gpu-01 was in a cluster/,
  ],
  [
    'the only server was in a cluster, and its data was moved away',
    labWith(alone),
    (s) =>
      withFacts({ ...s, cluster: { answers: false, reason: 'K3s runs on no server' } }, 'k3s-cp-01', {
        ...{ etcdData: false, leader: undefined, members: undefined },
        units: { k3s: { state: 'inactive', enabled: true } },
      }),
    /^no server has etcd's data any more, and k3s-cp-01.* in a cluster/,
  ],
];
test('a key that a file in config.yaml.d sets is left to it', () => {
  const lab = labWith((config) => void Object.assign(config.k3s, { cluster_cidr: '10.52.0.0/16' }));
  const seen = seenConverged(labWith());
  const own = ['k3s-cp-01', 'k3s-cp-02'].reduce((s, name) => withFacts(s, name, { dropIns: ['cluster-cidr'] }), seen);
  assert.equal(blockers(planK3s(lab, own)), []);
});
test('when only the clock of this machine is wrong, that is no trouble', () => {
  const lab = labWith();
  const seen = seenConverged(lab);
  const hosts = Object.fromEntries(
    Object.entries(seen.hosts).map(([name, host]) => [name, { ...host, skewSeconds: -600 }] as const),
  );
  assert.not(planK3s(lab, { ...seen, hosts: hosts as SeenK3s['hosts'] }).notes.some(({ text }) => /clock/.test(text)));
});
for (const [what, lab, change, text] of refusals)
  test(`refused: ${what}`, () => {
    const found = blockers(planK3s(lab, change(seenConverged(labWith()))));
    assert.ok(
      found.some((one) => text.test(one)),
      found.join('\n'),
    );
  });

test('one cluster, of which one server just went down, or came up between two looks', () => {
  const lab = labWith();
  const seen = seenConverged(lab);
  const nodes = seen.cluster.answers ? seen.cluster.nodes : [];
  const views = {
    'k3s-cp-01': nodes.map((node) => ({ ...node, ready: node.name !== 'k3s-cp-02' })),
    'k3s-cp-02': nodes,
  };
  assert.equal(blockers(planK3s(lab, { ...seen, views })), []);
});

test('--limit that leaves an agent out does not need it', () => {
  const lab = labWith();
  const away = {
    ...seenConverged(lab),
    hosts: { ...seenConverged(lab).hosts, 'k3s-gpu-01': { reachable: false as const, reason: 'off' } },
  };
  assert.is(blockers(planK3s(lab, away)).length, 1);
  assert.equal(blockers(planK3s(lab, away, { limit: ['k3s-cp-01'] })), []);
  assert.is(blockers(planK3s(lab, away, { limit: ['k3s-gpu-01'] })).length, 1);
  const server = {
    ...away,
    hosts: { ...seenConverged(lab).hosts, 'k3s-cp-02': { reachable: false as const, reason: 'off' } },
  };
  assert.is(blockers(planK3s(lab, server, { limit: ['k3s-cp-01'] })).length, 1, 'what a server has counts for all');
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
      'warning: the clock of k3s-cp-02 is 90 s behind the others',
      'warning: k3s-gpu-01 has 1.0 GiB free under /var/lib',
      'warning: old is in the cluster and not in homelab.yaml',
    ],
  );
});

test.run();
