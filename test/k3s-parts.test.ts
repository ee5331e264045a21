import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { quorum, quorumNote } from '../lib/config/quorum.ts';
import { skewsOf } from '../lib/plan/k3s-clocks.ts';
import { drainTrouble } from '../lib/plan/k3s-drain.ts';
import { explainK3s } from '../lib/plan/k3s-explain.ts';
import { labelSteps, spelledOut } from '../lib/plan/k3s-labels.ts';
import { parseK3sVersion, versionObstacle } from '../lib/plan/k3s-version.ts';
import { k3sConfig, k3sConfigText, withToken } from '../lib/render/k3s-config.ts';
import { kubeconfigHeader, renderKubeconfig } from '../lib/render/kubeconfig.ts';
import { emptyHost, labWith } from './k3s-fixtures.ts';

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

const drains: [what: string, output: string, cause: RegExp | undefined, fix: RegExp][] = [
  [
    'a bare pod',
    'error: unable to drain node "k3s-cp-01" due to error: cannot delete cannot delete Pods that declare no controller (use --force to override): default/debug, continuing command...\nThere are pending nodes to be drained:\n k3s-cp-01',
    /nothing would make default\/debug again: it belongs to no Deployment/,
    /kubectl -n default delete pod debug/,
  ],
  [
    'two bare pods, and local storage',
    'error: unable to drain node "n" due to error: [cannot delete Pods that declare no controller (use --force to override): a/b, c/d, cannot delete Pods with local storage (use --delete-emptydir-data to override): e/f], continuing command...',
    /nothing would make a\/b, c\/d again: they belong/,
    /delete them/,
  ],
  [
    'a budget',
    'error when evicting pods/"db-0" -n "databases" (will retry after 5s): Cannot evict pod as it would violate the pod\'s disruption budget.\nerror when evicting pods/"db-0" -n "databases" (will retry after 5s): Cannot evict pod as it would violate the pod\'s disruption budget.\nerror: unable to drain node "n" due to error: error when evicting pods/"db-0" -n "databases": global timeout reached: 5m0s',
    /a PodDisruptionBudget keeps databases\/db-0 where it is/,
    /kubectl -n databases get pdb/,
  ],
  [
    'a pod that does not end',
    'error: unable to drain node "n" due to error: error when waiting for pod "slow" in namespace "x" to terminate: global timeout reached: 5m0s',
    /x\/slow did not end within 5 minutes/,
    /describe pod/,
  ],
  ['something else', 'error: nodes "n" not found', undefined, /^$/],
];
for (const [what, output, cause, fix] of drains)
  test(`a drain that cannot: ${what}`, () => {
    const found = drainTrouble(output);
    if (cause) assert.match(found?.cause ?? '', cause);
    else assert.is(found, undefined);
    assert.match(found?.fix ?? '', fix);
  });

const outputs: [output: string, cause: RegExp][] = [
  ['cat: write error: No space left on device', /disk is full/],
  ["mkdir: cannot create directory '/var/lib/homelab': Read-only file system", /read-only/],
  ['[ERROR]  Download sha256 does not match 1234, got 5678', /not what its release says/],
  ['curl: (6) Could not resolve host: github.com\n[ERROR]  Download failed', /does not reach github.com/],
  ['sudo: a password is required', /sudo wants a password/],
];
for (const [output, cause] of outputs)
  test(`explained: ${output.slice(0, 40)}`, () => assert.match(explainK3s(output)?.cause ?? '', cause));
test('explained: not what nobody knows', () => assert.is(explainK3s('exit status 1'), undefined));

const clocks: [what: string, skews: number[], wanted: number[]][] = [
  ['one of three', [0, 600, 1], [0, 600, 1]],
  ['one of two', [0, -600], [0, -600]],
  ['only ours is wrong', [300, 300, 301], [0, 0, 1]],
  ['a single node', [600], [600]],
];
for (const [what, skews, wanted] of clocks)
  test(`clocks: ${what}`, () => {
    const hosts = Object.fromEntries(
      skews.map((skewSeconds, index) => [`n${index}`, { reachable: true as const, facts: emptyHost, skewSeconds }]),
    );
    assert.equal(Object.values(skewsOf({ hosts })), wanted);
  });

test.run();
