import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from '../lib/loose.ts';
import { type Bench, bench, type FakeHost, object, SERVER } from './cluster-fixture.ts';

type World = {
  lab: Bench;
  host: FakeHost;
  kubectl(args: string, stdin?: string): Promise<{ code: number; out: string; err: string }>;
};

const test = suite<World>('cluster kubectl');
test.before(async (world) => {
  world.lab = await bench();
  world.host = world.lab.host('k3s-cp-01', '10.20.11.80');
  world.host.writeFile('/etc/rancher/k3s/config.yaml', `cluster-init: true\n${SERVER}`);
  await world.lab.cluster.units.get('k3s')?.start(world.host);
  await world.lab.cluster.settle();
  world.kubectl = async (args, stdin) => {
    const { code, stdout = '', stderr = '' } = await world.lab.kubectl(world.host, args.split(' '), stdin);
    return { code, out: stdout, err: stderr };
  };
});
test.after(async ({ lab }) => lab.close());

const APPLY = 'apply --server-side -f -';
const map = (data: Record<string, string>, labels?: Record<string, string>): string =>
  JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'm', ...(labels ? { labels } : {}) }, data });

test('server-side apply: own fields go when they are no longer said, those of others stay', async ({ kubectl }) => {
  await kubectl(`${APPLY} --field-manager=a`, map({ x: '1', y: '2' }));
  await kubectl(`${APPLY} --field-manager=b`, map({ z: '3' }));
  await kubectl(`${APPLY} --field-manager=a`, map({ x: '1' }));
  assert.equal(JSON.parse((await kubectl('get cm m -o json')).out).data, { x: '1', z: '3' });
  const clash = await kubectl(`${APPLY} --field-manager=b`, map({ x: 'other', z: '3' }));
  assert.is(clash.code, 1);
  assert.match(clash.err, /Apply failed with 1 conflict: conflict with "a": \.data\.x/);
  assert.is((await kubectl(`${APPLY} --field-manager=b`, map({ x: '1', z: '3' }))).code, 0, 'the same value is shared');
  assert.is((await kubectl(`${APPLY} --field-manager=b --force-conflicts`, map({ x: 'other', z: '3' }))).code, 0);
  assert.is(JSON.parse((await kubectl('get cm m -o json')).out).data.x, 'other');
});

test('an apply that changes nothing leaves the resourceVersion; a dry run changes nothing', async ({ kubectl }) => {
  const service = JSON.stringify(
    object('v1', 'Service', 's', 'default', { spec: { selector: { a: 'b' }, ports: [{ port: 80 }] } }),
  );
  await kubectl(APPLY, service);
  const before = (await kubectl('get svc s -o json')).out;
  await kubectl(APPLY, service);
  assert.is((await kubectl('get svc s -o json')).out, before);
  const dry = await kubectl(`${APPLY} --dry-run=server -o json`, service.replace('80', '81'));
  assert.equal(at(JSON.parse(dry.out), 'spec.ports.0.port'), 81);
  assert.is((await kubectl('get svc s -o json')).out, before);
  await kubectl(APPLY, service.replace('80', '81'));
  const ports = at(JSON.parse((await kubectl('get svc s -o json')).out), 'spec.ports');
  assert.equal(ports, [{ port: 81, protocol: 'TCP', targetPort: 81 }], 'no remains of the port before');
});

test('YAML with several documents; what is refused does not keep the rest from being applied', async ({ kubectl }) => {
  const yaml =
    'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: two, namespace: nowhere}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\n';
  const { code, out, err } = await kubectl(APPLY, yaml);
  assert.is(code, 1);
  assert.is(out, 'configmap/one serverside-applied\nconfigmap/three serverside-applied\n');
  assert.is(err, 'Error from server (NotFound): namespaces "nowhere" not found\n');
});

test('get: a name, a list, nothing, and what is not known', async ({ kubectl }) => {
  assert.match(
    (await kubectl('get ingressclass.networking.k8s.io traefik -o name')).out,
    /^ingressclass\.networking\.k8s\.io\/traefik\n$/,
  );
  assert.is((await kubectl('get sc local-path -o jsonpath={.provisioner}')).out, 'rancher.io/local-path');
  assert.is(
    (await kubectl('get node k3s-cp-01 -o jsonpath={.status.conditions[?(@.type=="Ready")].status}')).out,
    'True',
  );
  assert.equal(await kubectl('get ns nowhere --ignore-not-found -o json'), { code: 0, out: '', err: '' });
  assert.is((await kubectl('get ns nowhere')).err, 'Error from server (NotFound): namespaces "nowhere" not found\n');
  assert.is((await kubectl('get flowers')).err, `error: the server doesn't have a resource type "flowers"\n`);
  assert.equal(JSON.parse((await kubectl('get secrets -n default -o json')).out).items, []);
  assert.is((await kubectl('get --raw /readyz')).out, 'ok');
  assert.match((await kubectl('get pods --frobnicate')).err, /error: unknown flag: --frobnicate/);
  assert.match(
    (await kubectl('get deploy,ds -n kube-system -l k8s-app=kube-dns -o name')).out,
    /^deployment\.apps\/coredns\n$/,
  );
});

test('labels and taints of a node', async ({ kubectl }) => {
  const node = async (path: string): Promise<unknown> =>
    at(JSON.parse((await kubectl('get node k3s-cp-01 -o json')).out), path);
  assert.is((await kubectl('label node k3s-cp-01 tier=one')).out, 'node/k3s-cp-01 labeled\n');
  assert.match(
    (await kubectl('label node k3s-cp-01 tier=two')).err,
    /'tier' already has a value \(one\), and --overwrite is false/,
  );
  await kubectl('label node k3s-cp-01 tier=two --overwrite');
  assert.is(await node('metadata.labels.tier'), 'two');
  await kubectl('taint nodes k3s-cp-01 dedicated=gpu:NoSchedule');
  assert.equal(await node('spec.taints'), [{ key: 'dedicated', value: 'gpu', effect: 'NoSchedule' }]);
  await kubectl('taint nodes k3s-cp-01 dedicated:NoSchedule-');
  assert.is(await node('spec.taints'), undefined);
  await kubectl('cordon k3s-cp-01');
  assert.is(await node('spec.unschedulable'), true);
  await kubectl('uncordon k3s-cp-01');
  assert.is(await node('spec.unschedulable'), undefined);
  assert.match((await kubectl('label node nobody a=b')).err, /nodes "nobody" not found/);
});

test('waits: met, in vain, and for the end of something', async ({ kubectl }) => {
  assert.is(
    (await kubectl('rollout status deployment/coredns -n kube-system --timeout=2s')).out,
    'deployment "coredns" successfully rolled out\n',
  );
  assert.is((await kubectl('wait --for=condition=Ready node/k3s-cp-01 --timeout=1s')).code, 0);
  assert.match(
    (await kubectl('wait --for=condition=Gone node/k3s-cp-01 --timeout=50ms')).err,
    /timed out waiting for the condition on nodes\/k3s-cp-01/,
  );
  await kubectl('create namespace short');
  assert.match((await kubectl('create namespace short')).err, /AlreadyExists/);
  assert.match((await kubectl('delete namespace short --timeout=5s')).out, /namespace "short" deleted/);
  assert.match((await kubectl('delete namespace kube-system')).err, /Forbidden/);
});

test('a claim that a pod uses is deleted after it', async ({ kubectl, lab, host }) => {
  const claim = object('v1', 'PersistentVolumeClaim', 'c', 'default', {
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
  });
  const pod = object('v1', 'Pod', 'p', 'default', {
    spec: {
      containers: [{ name: 'c', image: 'i' }],
      volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }],
    },
  });
  await lab.apply(host, claim, pod);
  await lab.cluster.settle();
  assert.match(
    (await kubectl('delete pvc c --timeout=60ms')).err,
    /timed out waiting for the condition on persistentvolumeclaims\/c/,
  );
  assert.is((await kubectl('delete pod p --timeout=1s')).code, 0);
  assert.is((await kubectl('wait --for=delete pvc/c --timeout=1s')).code, 0);
});

test('etcd without quorum, on request', async ({ kubectl, lab }) => {
  lab.cluster.faults.api = 'etcdserver: leader changed';
  assert.is((await kubectl('get nodes')).err, 'Error from server: etcdserver: leader changed\n');
  lab.cluster.faults.api = undefined;
  assert.is((await kubectl('get nodes')).code, 0);
});

test.run();
