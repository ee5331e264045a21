import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { diagnose } from '../lib/plan/k3s-diagnose.ts';
import { troubleScreen } from '../lib/plan/k3s-screen.ts';
import type { HostFacts, SeenK3s } from '../lib/plan/k3s-seen.ts';
import type { PortAnswer, Trouble } from '../lib/plan/k3s-trouble.ts';
import { emptyHost, labWith, seenConverged, TOKEN_HASH, withFacts } from './k3s-fixtures.ts';

/** Why a node does not come up, from what was collected of it. */
const test = suite('k3s diagnosis');
const lab = labWith();

/** k3s-cp-02 as it tries to join: installed, and not let in yet. */
const joining: HostFacts = {
  ...{ ...emptyHost, hostname: 'k3s-cp-02', version: lab.config.k3s.version, freeKib: 30 * 2 ** 20 },
  ...{ units: { k3s: { state: 'activating', enabled: true } }, tokenHash: TOKEN_HASH, machineId: 'b' },
};
function seenWith(own: Partial<HostFacts> = {}, skewSeconds = 0): SeenK3s {
  const seen = withFacts(seenConverged(lab), 'k3s-cp-01', { members: 1 });
  const nodes = seen.cluster.answers ? seen.cluster.nodes.filter(({ name }) => name !== 'k3s-cp-02') : [];
  return {
    ...seen,
    cluster: { answers: true, server: 'k3s-cp-01', nodes },
    hosts: { ...seen.hosts, 'k3s-cp-02': { reachable: true, facts: { ...joining, ...own }, skewSeconds } },
  };
}
const way = (from: string, to: string, answers: Record<number, PortAnswer>): Trouble['ports'] =>
  Object.entries(answers).map(([port, answer]) => ({ from, to, port: Number(port), answer }));
const open = way('k3s-cp-02', 'k3s-cp-01', { 6443: 'open', 2379: 'open', 2380: 'open' });
const idle = way('k3s-cp-01', 'k3s-cp-02', { 6443: 'refused', 2379: 'refused', 2380: 'refused' });
const trouble: Trouble = {
  ...{ node: 'k3s-cp-02', role: 'server', unit: 'k3s', address: '10.20.11.81', servers: 2 },
  ...{ problem: 'k3s-cp-02 is Ready: not within 600 s', seen: seenWith(), journal: '', password: false },
  ...{ ports: [...open, ...idle], overlay: [] },
};

const causes: [journal: string, cause: RegExp][] = [
  [
    "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match",
    /knows k3s-cp-02 as another machine/,
  ],
  ['token CA hash does not match the Cluster CA certificate hash: a != b', /has another token/],
  ['bootstrap data already found and encrypted with different token', /has another token/],
  ['https://10.20.11.80:6443/v1-k3s/server-bootstrap: 401 Unauthorized', /has another token/],
  ['x509: certificate has expired or is not yet valid: current time 2026-01-01 is before', /clocks differ/],
  ['x509: certificate is valid for 10.43.0.1, 127.0.0.1, not 10.20.11.80', /tls-san/],
  ['failed to validate server configuration: critical configuration value mismatch between servers', /servers differ/],
  [
    'level=fatal msg="/var/lib/rancher/k3s/server/tls/client-ca.key newer than datastore and could cause a cluster outage. Remove the file(s)',
    /not those of the cluster that it joins/,
  ],
  ['etcdserver: too many learner members in cluster', /another server is joining/],
  ['etcd cluster join failed: duplicate node name found, please use a unique name', /still has a member/],
  ['write /var/lib/rancher: no space left on device', /disk of k3s-cp-02 is full/],
  ['listen tcp :6443: bind: address already in use', /another program on k3s-cp-02/],
  ['level=fatal msg="failed to find memory cgroup (v2)"', /no memory cgroup/],
  ['Error: flag provided but not defined: -clustr-cidr', /does not take a key/],
  [
    'failed to get CA certs: Get "https://10.20.11.80:6443/cacerts": dial tcp 10.20.11.80:6443: connect: connection refused',
    /does not reach the server/,
  ],
  ['{"msg":"rejected","error":"etcdserver: no leader"}', /no majority: of 2 servers 2 must answer/],
  [
    'this server has not yet been promoted from learner to voting member',
    /k3s-cp-02 and another server do not reach each other's etcd/,
  ],
  ['the member has been permanently removed from the cluster', /as it was before the cluster was reset/],
];
for (const [journal, cause] of causes)
  test(`a journal: ${journal.slice(0, 40)}`, () => assert.match(diagnose({ ...trouble, journal }).cause, cause));

const refused = 'Get "https://10.20.11.80:6443/cacerts": dial tcp 10.20.11.80:6443: connect: connection refused';
const silent: SeenK3s = { ...seenWith(), cluster: { answers: false, reason: 'etcdserver: request timed out' } };
const measured: [what: string, change: Partial<Trouble>, cause: RegExp][] = [
  [
    'the host went down',
    { seen: { ...seenWith(), hosts: { ...seenWith().hosts, 'k3s-cp-02': { reachable: false, reason: 'timeout' } } } },
    /^k3s-cp-02 does not answer any more: timeout$/,
  ],
  ['a full disk', { seen: seenWith({ freeKib: 1000 }) }, /^the disk of k3s-cp-02 is full$/],
  ['a read-only root', { seen: seenWith({ readOnly: true }) }, /root file system of k3s-cp-02 is read-only/],
  ['another token', { seen: seenWith({ tokenHash: 'x' }) }, /another token than the cluster/],
  ['a clock that is off', { seen: seenWith({}, -600) }, /^the clock of k3s-cp-02 is 600 s behind the others/],
  [
    'a password of another machine',
    { password: true, journal: 'Node password rejected' },
    /remembers another machine by the name k3s-cp-02, although its Node is gone/,
  ],
  ['a password that may be its own', { password: true }, /^k3s is activating$/],
  [
    'a Node of another machine',
    {
      seen: {
        ...seenWith(),
        cluster: {
          ...{ answers: true, server: 'k3s-cp-01' },
          nodes: [{ name: 'k3s-cp-02', ready: false, version: '', labels: {}, taints: [], machineId: 'a' }],
        },
      },
    },
    /^the cluster knows k3s-cp-02 as another machine$/,
  ],
  [
    'a firewall before 6443',
    { ports: way('k3s-cp-02', 'k3s-cp-01', { 6443: 'no answer', 2379: 'open', 2380: 'open' }), journal: refused },
    /^k3s-cp-02 does not reach port 6443 of k3s-cp-01 \(no answer\): a firewall/,
  ],
  [
    'the server that it joins does not run',
    {
      ports: way('k3s-cp-02', 'k3s-cp-01', { 6443: 'refused', 2379: 'refused', 2380: 'refused' }),
      seen: withFacts(seenWith(), 'k3s-cp-01', { units: { k3s: { state: 'inactive', enabled: true } } }),
    },
    /port 6443 of k3s-cp-01: K3s does not run there$/,
  ],
  [
    'a firewall between the etcds, on the way out',
    { ports: [...way('k3s-cp-02', 'k3s-cp-01', { 6443: 'open', 2379: 'open', 2380: 'no answer' }), ...idle] },
    /^k3s-cp-02 does not reach port 2380 of k3s-cp-01 \(no answer\)/,
  ],
  [
    'the same, on the way back',
    { ports: [...open, ...way('k3s-cp-01', 'k3s-cp-02', { 6443: 'refused', 2379: 'no answer', 2380: 'no answer' })] },
    /^k3s-cp-01 does not reach port 2380 of k3s-cp-02/,
  ],
  [
    'ports that nobody could try say nothing',
    { ports: way('k3s-cp-02', 'k3s-cp-01', { 6443: 'not tried' }) },
    /activating/,
  ],
  [
    'no majority',
    { seen: withFacts(silent, 'k3s-cp-01', { leader: false, members: 2 }) },
    /^etcd has no majority: of 2 members 2 must answer \(⌊2\/2⌋\+1\)$/,
  ],
  [
    'the network of the pods',
    {
      seen: seenWith({ joined: true, units: { k3s: { state: 'active', enabled: true } } }),
      overlay: [{ from: 'k3s-cp-01', answer: 'no answer' }],
    },
    /k3s-cp-01 does not reach k3s-cp-02 through the network of the pods: UDP 8472/,
  ],
  [
    'it runs, and is not Ready',
    { seen: seenWith({ joined: true, units: { k3s: { state: 'active', enabled: true } } }) },
    /k3s runs, but its node is not Ready/,
  ],
  ['it ends again and again', { restarts: 7 }, /k3s has ended 7 times/],
  ['nothing is known', { seen: seenWith({ units: { k3s: { state: 'failed', enabled: true } } }) }, /^k3s is failed$/],
];
for (const [what, change, cause] of measured)
  test(what, () => {
    const { cause: found, fix } = diagnose({ ...trouble, ...change });
    assert.match(found, cause);
    assert.ok(fix.length > 0);
  });

test('the screen: all at a glance, in a hundred columns', () => {
  const long = `time="2026-11-26T18:00:00Z" level=fatal msg="${'etcd '.repeat(120)}"`;
  const screen = troubleScreen({
    ...trouble,
    ...{ restarts: 3, journal: `time="2026-11-26T18:00:00Z" level=info msg="Starting k3s"\n${long}` },
    seen: seenWith({ tokenHash: 'x', hostname: 'ubuntu' }, -12),
    ports: [...way('k3s-cp-02', 'k3s-cp-01', { 6443: 'open', 2379: 'open', 2380: 'no answer' }), ...idle],
  });
  assert.is(
    screen,
    [
      'k3s-cp-02 (10.20.11.81), server: k3s is activating, started again 3 times',
      ' clock     12 s behind the others',
      ' ports     k3s-cp-02 → k3s-cp-01  2379 open · 2380 no answer · 6443 open',
      '           k3s-cp-01 → k3s-cp-02  2379 refused · 2380 refused · 6443 refused',
      '           8472/udp, through it to the kubelet: not tried: the node has no network of pods yet',
      ' token     DIFFERS from that of the cluster',
      ' name      it calls itself ubuntu; no other machine has this name',
      ' disk      30.0 GiB free under /var/lib',
      ' etcd      k3s-cp-01: has a leader, 1 member',
      ' nodes     k3s-cp-01 v1.36.5+k3s1 Ready · k3s-cp-02 has v1.36.5+k3s1',
      '           k3s-gpu-01 v1.36.5+k3s1 Ready',
      ' journal   level=info msg="Starting k3s"',
      `           ${`level=fatal msg="${'etcd '.repeat(120)}`.slice(0, 85)}`,
      `           ${`level=fatal msg="${'etcd '.repeat(120)}`.slice(85, 170)}`,
      `           ${`level=fatal msg="${'etcd '.repeat(120)}`.slice(170, 254)}…`,
    ].join('\n'),
  );
  // In front of each line of an error's output there are four more.
  for (const line of screen.split('\n')) assert.ok(line.length <= 96, `${line.length}: ${line}`);
});

test('five servers still fit a screen', () => {
  const names = ['k3s-cp-01', 'k3s-cp-03', 'k3s-cp-04', 'k3s-cp-05'];
  const all = (from: string, to: string): Trouble['ports'] =>
    way(from, to, { 6443: 'no answer', 2379: 'no answer', 2380: 'no answer' });
  const ports = names.flatMap((name) => [...all('k3s-cp-02', name), ...all(name, 'k3s-cp-02')]);
  const screen = troubleScreen({ ...trouble, ports, journal: 'x\n'.repeat(60) });
  assert.ok(screen.split('\n').length < 30);
  for (const line of screen.split('\n')) assert.ok(line.length <= 96, line);
});

test.run();
