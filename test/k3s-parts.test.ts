import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { quorum, quorumNote } from '../lib/config/quorum.ts';
import { diagnose, type Trouble } from '../lib/plan/k3s-diagnose.ts';
import { labelSteps, spelledOut } from '../lib/plan/k3s-labels.ts';
import { parseK3sVersion, versionObstacle } from '../lib/plan/k3s-version.ts';
import { k3sConfig, k3sConfigText, withToken } from '../lib/render/k3s-config.ts';
import { kubeconfigHeader, renderKubeconfig } from '../lib/render/kubeconfig.ts';
import { labWith } from './k3s-fixtures.ts';

const test = suite('k3s parts');

const versions: [from: string, to: string, obstacle: RegExp | undefined][] = [
  ['v1.36.5+k3s1', 'v1.36.5+k3s1', undefined],
  ['v1.36.5+k3s1', 'v1.36.5+k3s2', undefined],
  ['v1.36.5-rc1+k3s1', 'v1.36.5+k3s1', undefined],
  ['v1.36.5+k3s1', 'v1.37.1+k3s1', undefined],
  ['v1.36.5+k3s1', 'v1.38.0+k3s1', /a minor version would be skipped/],
  ['v1.36.5+k3s2', 'v1.36.5+k3s1', /is older than/],
  ['v1.36.5+k3s1', 'v1.36.5-rc1+k3s1', /is older than/],
  ['v1.36.5+k3s1', 'v1.35.9+k3s1', /is older than/],
  ['v1.36.10+k3s1', 'v1.36.9+k3s1', /is older than/],
  ['v1.36.5-dirty', 'v1.36.5+k3s1', /is not a version of K3s/],
];
for (const [from, to, obstacle] of versions)
  test(`${from} → ${to}`, () => {
    const found = versionObstacle(from, to);
    if (obstacle) assert.match(found?.why ?? '', obstacle);
    else assert.is(found, undefined);
  });
test('a version without a build is none', () => assert.is(parseK3sVersion('v1.36.5'), undefined));

const quorums: [servers: number, needed: number, survives: number][] = [
  [1, 1, 0],
  [2, 2, 0],
  [3, 2, 1],
  [4, 3, 1],
  [5, 3, 2],
];
for (const [servers, needed, survives] of quorums)
  test(`quorum of ${servers}`, () => assert.equal(quorum(servers), { servers, needed, survives }));

test('two servers: the arithmetic, and the GPU node as the way out', () => {
  const note = quorumNote(labWith().config);
  assert.is(note?.level, 'warning');
  assert.match(note?.text ?? '', 'etcd needs 2 of 2 (⌊2/2⌋+1), so the cluster survives the loss of 0');
  assert.match(note?.fix ?? '', 'make k3s-gpu-01 a third, tainted server (role: server): 2 of 3 are enough');
});
test('three servers: no warning', () => {
  const lab = labWith((config) => {
    config.k3s.nodes[2]!.role = 'server';
  });
  assert.is(quorumNote(lab.config), undefined);
});
test('two servers and no agent: add one', () => {
  const lab = labWith((config) => void config.k3s.nodes.pop());
  assert.match(quorumNote(lab.config)?.fix ?? '', 'add a third server to k3s.nodes');
});

test('config.yaml of the first server', () => {
  const lab = labWith();
  assert.is(
    k3sConfigText(k3sConfig(lab, lab.config.k3s.nodes[0]!, 'init')),
    `# Written by install-k3s from homelab.yaml; what is changed here is overwritten.
node-name: k3s-cp-01
node-ip: 10.20.11.80
cluster-init: true
tls-san:
  - 10.20.11.80
  - k3s-cp-01
  - k3s-cp-01.home.arpa
  - 10.20.11.81
  - k3s-cp-02
  - k3s-cp-02.home.arpa
cluster-cidr: 10.42.0.0/16
service-cidr: 10.43.0.0/16
disable:
  - servicelb
write-kubeconfig-mode: "0600"
`,
  );
});
test('config.yaml of an agent', () => {
  const lab = labWith();
  assert.is(
    k3sConfigText(k3sConfig(lab, lab.config.k3s.nodes[2]!, { server: 'https://10.20.11.80:6443' }))
      .split('\n')
      .slice(1)
      .join('\n'),
    `node-name: k3s-gpu-01
node-ip: 10.20.11.85
server: https://10.20.11.80:6443
node-label:
  - nvidia.com/gpu.present=true
node-taint:
  - dedicated=gpu:NoSchedule
`,
  );
});
test('the token is on the last line, as a reference', () => {
  assert.equal(withToken('a: 1\n'), { join: ['a: 1\n', 'token: "', { secret: 'k3s-token' }, '"\n'] });
});

test('the kubeconfig: address and names are the lab’s, the rest stays', () => {
  const k3sYaml = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: QQ==
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
users:
- name: default
  user:
    client-key-data: QQ==
`;
  const source = { server: 'k3s-cp-01', sha256: 'abc', address: '10.20.11.80', lab: 'homelab' };
  const text = renderKubeconfig(k3sYaml, source);
  assert.is(text.split('\n')[0], kubeconfigHeader(source));
  assert.not.match(text, /default|127\.0\.0\.1/);
  assert.is(text.match(/homelab/g)?.length, 7);
  assert.match(text, 'server: https://10.20.11.80:6443');
  assert.match(renderKubeconfig(k3sYaml, { ...source, address: 'fd00::1' }), 'server: https://[fd00::1]:6443');
});

const gpu = labWith().config.k3s.nodes[2]!;
const corrections: [what: string, labels: Record<string, string>, taints: string[], was: string, argv: string[]][] = [
  ['as wanted', { ...gpu.labels, other: 'x' }, [...gpu.taints, 'own:NoExecute'], '', []],
  ['missing', {}, [], '', ['nvidia.com/gpu.present=true', 'dedicated=gpu:NoSchedule']],
  [
    'another value',
    { 'nvidia.com/gpu.present': 'no' },
    ['dedicated=cpu:NoSchedule'],
    '',
    ['nvidia.com/gpu.present=true', 'dedicated=gpu:NoSchedule'],
  ],
  [
    'once ours, and no more',
    { ...gpu.labels, old: '1' },
    [...gpu.taints, 'old=:NoExecute'],
    'node-label: [old=1]\nnode-taint: ["old:NoExecute"]\n',
    ['old-', 'old:NoExecute-'],
  ],
  ['once ours, and gone already', gpu.labels, gpu.taints, 'node-label: [old=1]\nnode-taint: ["old:NoExecute"]\n', []],
  [
    'our taint with another value is overwritten',
    gpu.labels,
    ['dedicated=cpu:NoSchedule'],
    'node-taint: ["dedicated=cpu:NoSchedule"]\n',
    ['dedicated=gpu:NoSchedule'],
  ],
];
for (const [what, labels, taints, was, wanted] of corrections)
  test(`labels and taints: ${what}`, () => {
    const node = { name: gpu.name, ready: true, version: '', labels, taints };
    const found = labelSteps(gpu, node, 'k3s-cp-01', was).flatMap(({ action }) =>
      action.kind === 'remote' ? action.argv.slice(5, -1) : [],
    );
    assert.equal(found, wanted);
  });
test('a taint without a value', () => assert.is(spelledOut('a:NoSchedule'), 'a=:NoSchedule'));

const trouble: Trouble = { node: 'k3s-cp-02', role: 'server', state: 'activating', journal: '', servers: 2 };
const causes: [journal: string, cause: RegExp][] = [
  [
    "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match",
    /remembers another machine/,
  ],
  ['token CA hash does not match the Cluster CA certificate hash: a != b', /has another token/],
  ['bootstrap data already found and encrypted with different token', /has another token/],
  ['https://10.20.11.80:6443/v1-k3s/server-bootstrap: 401 Unauthorized', /has another token/],
  ['x509: certificate has expired or is not yet valid: current time 2026-01-01 is before', /clocks differ/],
  ['x509: certificate is valid for 10.43.0.1, 127.0.0.1, not 10.20.11.80', /tls-san/],
  ['failed to validate server configuration: critical configuration value mismatch between servers', /servers differ/],
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
];
for (const [journal, cause] of causes)
  test(`diagnosis: ${journal.slice(0, 40)}`, () => assert.match(diagnose({ ...trouble, journal }).cause, cause));
test('diagnosis: nothing but a clock that is off', () =>
  assert.match(diagnose({ ...trouble, skewSeconds: -300 }).cause, 'the clock of k3s-cp-02 is 300 s off'));
test('diagnosis: it runs, and is not Ready', () =>
  assert.match(diagnose({ ...trouble, state: 'active' }).cause, /k3s runs, but its node is not Ready/));
test('diagnosis: nothing is known', () => assert.is(diagnose({ ...trouble, state: 'failed' }).cause, 'k3s is failed'));

test.run();
