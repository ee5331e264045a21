import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { KubeObject } from '../lib/step.ts';
import { k3sProofs } from '../lib/verify/k3s.ts';
import { labWith } from './k3s-fixtures.ts';

const test = suite('k3s proofs');
const lab = labWith();
const { version } = lab.config.k3s;

const nodes: KubeObject[] = lab.config.k3s.nodes.map(({ name, role, labels, taints }) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: {
    name,
    labels: { ...labels, ...(role === 'server' ? { 'node-role.kubernetes.io/control-plane': 'true' } : {}) },
  },
  spec: { taints: taints.map(() => ({ key: 'dedicated', value: 'gpu', effect: 'NoSchedule' })) },
  status: {
    nodeInfo: { kubeletVersion: version },
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'EtcdIsVoter', status: role === 'server' ? 'True' : 'False' },
    ],
  },
}));
const storageClass = (name: string): KubeObject => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name, annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
});
const classes = [storageClass('local-path')];
const changed = (name: string, change: (node: KubeObject) => void): KubeObject[] =>
  structuredClone(nodes).map((node) => {
    if (node.metadata.name === name) change(node);
    return node;
  });

test('all holds', () => {
  const proofs = k3sProofs(lab, nodes, classes);
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

const failures: [what: string, of: KubeObject[], storage: KubeObject[], failed: string][] = [
  ['a node is gone', nodes.slice(0, 2), classes, 'k3s-gpu-01 is Ready at v1.36.5+k3s1: it is not in the cluster'],
  [
    'a node is not Ready',
    changed(
      'k3s-cp-02',
      (n) =>
        void Object.assign(n, {
          status: { nodeInfo: { kubeletVersion: version }, conditions: [{ type: 'EtcdIsVoter', status: 'True' }] },
        }),
    ),
    classes,
    'k3s-cp-02 is Ready at v1.36.5+k3s1: not Ready, v1.36.5+k3s1',
  ],
  [
    'a taint is gone',
    changed('k3s-gpu-01', (n) => void Object.assign(n, { spec: {} })),
    classes,
    'k3s-gpu-01 has its labels and taints: without dedicated=gpu:NoSchedule',
  ],
  [
    'a server that does not vote',
    changed(
      'k3s-cp-02',
      (n) =>
        void Object.assign(n, {
          status: { nodeInfo: { kubeletVersion: version }, conditions: [{ type: 'Ready', status: 'True' }] },
        }),
    ),
    classes,
    '2 voting members of etcd, the servers: k3s-cp-01',
  ],
  [
    'two default classes',
    nodes,
    [...classes, storageClass('nfs-client')],
    'local-path is the default StorageClass: local-path, nfs-client',
  ],
  ['no default class', nodes, [], 'local-path is the default StorageClass: there is no default'],
];
for (const [what, of, storage, failed] of failures)
  test(what, () => {
    const found = k3sProofs(lab, of, storage).filter(({ ok }) => !ok);
    assert.is(found.map(({ claim, detail }) => `${claim}: ${detail}`)[0], failed);
  });

test.run();
