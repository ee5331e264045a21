import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SeenNode } from '../lib/plan/k3s-seen.ts';
import { k3sProofs, type Runtime, runtimeProofs, verifyK3s } from '../lib/verify/k3s.ts';
import { labWith, seenConverged } from './k3s-fixtures.ts';

const test = suite('k3s proofs');
const lab = labWith();
const seen = seenConverged(lab);
const nodes = seen.cluster.answers ? seen.cluster.nodes : [];
const changed = (name: string, change: Partial<SeenNode>): SeenNode[] =>
  nodes.map((node) => (node.name === name ? { ...node, ...change } : node));

test('all holds', () => {
  const proofs = k3sProofs(lab, nodes, ['local-path']);
  assert.equal(
    proofs.filter(({ ok }) => !ok),
    [],
  );
  assert.equal(
    proofs.map(({ claim }) => claim),
    [
      'k3s-cp-01 is Ready at v1.36.5+k3s1',
      'k3s-cp-02 is Ready at v1.36.5+k3s1',
      'k3s-gpu-01 is Ready at v1.36.5+k3s1',
      'k3s-gpu-01 has its labels and taints',
      '2 servers',
      '2 voting members of etcd, the servers',
      'local-path is the default StorageClass',
    ],
  );
});

const failures: [what: string, of: SeenNode[], classes: string[], failed: string][] = [
  [
    'a node is gone',
    nodes.slice(0, 2),
    ['local-path'],
    'k3s-gpu-01 is Ready at v1.36.5+k3s1: it is not in the cluster',
  ],
  [
    'a node is not Ready',
    changed('k3s-cp-02', { ready: false }),
    ['local-path'],
    'k3s-cp-02 is Ready at v1.36.5+k3s1: not Ready, v1.36.5+k3s1',
  ],
  [
    'a taint is gone',
    changed('k3s-gpu-01', { taints: [] }),
    ['local-path'],
    'k3s-gpu-01 has its labels and taints: without dedicated=gpu:NoSchedule',
  ],
  [
    'a server that does not vote',
    changed('k3s-cp-02', { voter: false }),
    ['local-path'],
    '2 voting members of etcd, the servers: k3s-cp-01',
  ],
  [
    'two default classes',
    nodes,
    ['local-path', 'nfs-client'],
    'local-path is the default StorageClass: local-path, nfs-client',
  ],
  ['no default class', nodes, [], 'local-path is the default StorageClass: there is no default'],
];
for (const [what, of, classes, failed] of failures)
  test(what, () => {
    const found = k3sProofs(lab, of, classes).filter(({ ok }) => !ok);
    assert.is(found.map(({ claim, detail }) => `${claim}: ${detail}`)[0], failed);
  });

const runtimes: [Runtime, ok: boolean[], detail: RegExp][] = [
  ['runtime', [true], /config\.toml/],
  ['installed', [false], /K3s does not use it/],
  ['absent', [], /^$/],
  [undefined, [false], /does not answer/],
];
for (const [runtime, ok, detail] of runtimes)
  test(`NVIDIA's runtime: ${runtime}`, () => {
    const proofs = runtimeProofs(lab, () => runtime);
    assert.equal(
      proofs.map((proof) => proof.ok),
      ok,
    );
    assert.match(proofs[0]?.detail ?? '', detail);
  });

test('what --limit leaves out need not hold', async () => {
  const away = { ...seen, cluster: { ...seen.cluster, nodes: changed('k3s-gpu-01', { ready: false }) } } as typeof seen;
  const silent = new Proxy({}, { get: () => assert.unreachable('a port was used') });
  const ports = { kube: silent, ssh: silent, clock: silent } as unknown as Parameters<typeof verifyK3s>[1];
  const proofs = await verifyK3s(lab, ports, { limit: ['k3s-cp-01'] }, {}, away, []);
  assert.equal(
    proofs.filter(({ ok }) => !ok).map(({ claim, skipped }) => [claim, skipped]),
    [['k3s-gpu-01 is Ready at v1.36.5+k3s1', true]],
  );
});

test('where nothing was changed, nobody is asked again', async () => {
  const silent = new Proxy({}, { get: () => assert.unreachable('a port was used') });
  const ports = { kube: silent, ssh: silent, clock: silent } as unknown as Parameters<typeof verifyK3s>[1];
  const proofs = await verifyK3s(lab, ports, {}, {}, seen, []);
  assert.is(proofs.length, 8);
  assert.ok(proofs.every(({ ok }) => ok));
});

test.run();
