import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configSchema } from '../lib/config/schema.ts';
import { HomelabError } from '../lib/errors.ts';
import { refOf } from '../lib/kube-object.ts';
import { nodeState } from '../lib/observe/k3s.ts';
import { cordon, uncordon } from '../lib/operations/k3s-cordon.ts';
import { needsApply } from '../lib/plan/differences.ts';
import { drainCommand, drainTrouble } from '../lib/plan/k3s-drain.ts';
import { labelSteps } from '../lib/plan/k3s-labels.ts';
import { type NewIngressArgs, readCall } from '../lib/plan/new-ingress.ts';
import { connectKube } from '../lib/ports/kube.ts';
import type { Kube, KubeRef, Ports } from '../lib/ports/types.ts';
import { ingressObject, middlewareObject } from '../lib/render/ingress.ts';
import { Secrets } from '../lib/secret.ts';
import type { KubeObject } from '../lib/step.ts';
import { object } from './cluster-fixture.ts';
import { labWith } from './k3s-fixtures.ts';
import { listOf, said } from './kube-controllers.ts';
import { type KubeServer, kubeAssets, startKubeServer } from './kube-server.ts';
import { gate } from './pve-fixture.ts';

/** The kube port against a real API server: what it makes of the words that it gets, and of none. */
const test = suite('kube port, real API server');
const assets = kubeAssets();
const real = gate(test, 'kube', 'missing' in assets ? assets.missing : undefined);
/** One server, so that nothing is asked twice where nobody answers. */
const lab = labWith(({ k3s }) => {
  k3s.nodes = k3s.nodes.filter(({ name }) => name !== 'k3s-cp-02');
});
let server: KubeServer;
let kube: Kube;

test.before(async () => {
  if ('missing' in assets) return;
  server = await startKubeServer(assets.folder);
  kube = connectKube({ lab, secrets: new Secrets() }, server.ssh, { readSeconds: 5 });
});
test.after(() => server?.close());

const map = (name: string, data: Record<string, string> = {}, namespace = 'default'): KubeObject =>
  object('v1', 'ConfigMap', name, namespace, { data });
const ref = (name: string): KubeRef => ({ apiVersion: 'v1', kind: 'ConfigMap', name, namespace: 'default' });
const pool = { apiVersion: 'metallb.io/v1beta1', kind: 'IPAddressPool' };
const node = { apiVersion: 'v1', kind: 'Node' };

/** What an attempt ends with. */
async function errorOf(attempt: Promise<unknown>): Promise<HomelabError> {
  const error = await attempt.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof HomelabError) return error;
  throw error;
}

real('applies, reads, and deletes; what is not there, and what is no kind, is nothing', async () => {
  await kube.apply([map('a', { x: '1' }), map('b')]);
  assert.equal((await kube.get(ref('a')))?.data, { x: '1' });
  const names = (await kube.list('v1', 'ConfigMap', 'default')).map(({ metadata }) => metadata.name);
  assert.equal(names, ['a', 'b']);
  await kube.delete([ref('a'), ref('b'), ref('never there'), { ...pool, name: 'x', namespace: 'y' }], 10);
  assert.is(await kube.get(ref('a')), undefined);
  assert.is(await kube.get({ ...pool, name: 'x', namespace: 'y' }), undefined);
  assert.equal(await kube.list(pool.apiVersion, pool.kind), []);
  assert.equal(await kube.list('v1', 'ConfigMap', 'nowhere'), []);
  const seen = await kube.survey([
    pool,
    { apiVersion: 'v1', kind: 'Namespace' },
    { apiVersion: 'x.org/v1', kind: 'Y' },
  ]);
  assert.ok(seen.ok && seen.value.some(({ metadata }) => metadata.name === 'kube-system'));
  assert.equal(await kube.survey([pool]), { ok: true, value: [] });
});

real('a field that is somebody else`s: said in our words, and taken over only by force', async () => {
  await said(server, ['create', 'configmap', 'theirs', '--from-literal=x=1', '--field-manager=deploy@k3s-cp-01']);
  const error = await errorOf(kube.apply([map('theirs', { x: '2' })]));
  const conflict = 'Apply failed with 1 conflict: conflict with "deploy@k3s-cp-01" using v1: .data.x';
  assert.is(error.message, `apply ConfigMap theirs: error: ${conflict}`);
  assert.match(error.fix ?? '', /take the change back there, or move it into homelab\.yaml/);
  await kube.apply([map('theirs', { x: '2' })], { force: true });
  assert.equal((await kube.get(ref('theirs')))?.data, { x: '2' });
});

const refused: [what: string, object: KubeObject, words: RegExp][] = [
  ['no such namespace', map('x', {}, 'nowhere'), /namespaces "nowhere" not found$/],
  ['no name', map('Not_A_Name'), /metadata\.name: Invalid value: "Not_A_Name"/],
  ['no such kind', object(pool.apiVersion, pool.kind, 'x', 'default', {}), /no matches for kind "IPAddressPool" in/],
  ['no such field', object('v1', 'Service', 'x', 'default', { spec: { porst: [] } }), /unknown field "porst"/],
];
for (const [what, bad, words] of refused)
  real(`refused: ${what}`, async () => assert.match((await errorOf(kube.apply([bad]))).message, words));

real('what holds on is named when the deadline is over, and gone once it lets go', async () => {
  const held = map('held');
  await kube.apply([{ ...held, metadata: { ...held.metadata, finalizers: ['homelab.test/hold'] } }]);
  const late = await errorOf(kube.delete([ref('held')], 1));
  assert.is(
    late.message,
    'delete ConfigMap default/held: error: timed out waiting for the condition on configmaps/held',
  );
  assert.is(needsApply(held, await kube.get(ref('held'))), 'is being deleted');
  await said(server, ['patch', 'configmap', 'held', '-p', '{"metadata":{"finalizers":null}}']);
  await kube.delete([ref('held')], 10);
  assert.is(await kube.get(ref('held')), undefined);
});

real('nothing goes into a namespace that is being deleted', async () => {
  const namespace: KubeRef = { apiVersion: 'v1', kind: 'Namespace', name: 'going' };
  await kube.apply([object('v1', 'Namespace', 'going', undefined, {})]);
  assert.match(
    (await errorOf(kube.delete([namespace], 1))).message,
    /timed out waiting for the condition on namespaces\/going$/,
  );
  const words = /"x" is forbidden: unable to create new content in namespace going because it is being terminated$/;
  assert.match((await errorOf(kube.apply([map('x', {}, 'going')]))).message, words);
  await server.finish('going');
  await kube.delete([namespace], 10);
  assert.is(await kube.get(namespace), undefined);
});

async function makeNode(name: string): Promise<KubeObject> {
  const made = object('v1', 'Node', name, undefined, {});
  await said(server, ['apply', '--server-side', '-f', '-'], JSON.stringify(made));
  return made;
}

real('labels and taints of a node become what homelab.yaml says', async () => {
  await makeNode('k3s-gpu-01');
  const wanted = lab.config.k3s.nodes.find(({ name }) => name === 'k3s-gpu-01')!;
  const before = 'node-label: [old=label]\nnode-taint: ["old=taint:NoExecute", "dedicated=cpu:NoSchedule"]\n';
  const steps = async (): Promise<string[][]> => {
    const seen = nodeState((await kube.get({ ...node, name: wanted.name }))!);
    return labelSteps(wanted, seen, 'k3s-cp-01', before).map(({ action }) =>
      action.kind === 'remote' ? action.argv.map(String) : [],
    );
  };
  await said(server, ['label', 'node', wanted.name, 'old=label', 'kept=by-others']);
  await said(server, ['taint', 'node', wanted.name, 'old=taint:NoExecute', 'dedicated=cpu:NoSchedule']);
  assert.equal((await steps()).length, 2);
  for (const argv of await steps()) assert.is((await server.ssh.run('k3s-cp-01', argv)).code, 0);
  assert.equal(await steps(), []);
  const { labels, taints } = nodeState((await kube.get({ ...node, name: wanted.name }))!);
  assert.equal([labels['nvidia.com/gpu.present'], labels.kept, labels.old], ['true', 'by-others', undefined]);
  assert.ok(taints.includes('dedicated=gpu:NoSchedule') && !taints.some((taint) => /^old/.test(taint)), taints.join());
  await kube.delete([{ ...node, name: wanted.name }], 10);
  assert.is(await kube.get({ ...node, name: wanted.name }), undefined);
});

real('a node is cordoned with our mark, and let in again by it only', async () => {
  const { name } = (await makeNode('k3s-cp-01')).metadata;
  const ports = { kube, ssh: server.ssh } as Ports;
  const state = async (): Promise<unknown> => nodeState((await kube.get({ ...node, name }))!).cordoned;
  await cordon(name, ports);
  assert.is(await state(), 'by us');
  await uncordon(name, ports);
  assert.is(await state(), undefined);
  await said(server, ['cordon', name]);
  await uncordon(name, ports);
  assert.is(await state(), 'by others');
});

real('why a node cannot be drained, in the words of the real kubectl', async () => {
  const { name } = (await makeNode('k3s-cp-03')).metadata;
  const drained = async (): Promise<string | undefined> => {
    const { code, stderr } = await server.kubectl([
      ...drainCommand(name).filter((word) => !word.startsWith('--timeout')),
      '--timeout=3s',
    ]);
    return code === 0 ? undefined : (drainTrouble(stderr)?.cause ?? stderr);
  };
  const pod = (uid?: string): KubeObject => {
    const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid, controller: true }];
    const metadata = { name: 'web-1', namespace: 'default', labels: { app: 'web' }, ...(uid && { ownerReferences }) };
    const spec = { nodeName: name, containers: [{ name: 'c', image: 'i' }] };
    return { apiVersion: 'v1', kind: 'Pod', metadata, spec };
  };
  await kube.apply([pod()]);
  assert.match((await drained()) ?? '', /^nothing would make default\/web-1 again: it belongs to no Deployment/);
  const selector = { matchLabels: { app: 'web' } };
  const template = { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  const [set, budget] = [
    object('apps/v1', 'ReplicaSet', 'web', 'default', { spec: { selector, template } }),
    object('policy/v1', 'PodDisruptionBudget', 'web', 'default', { spec: { minAvailable: 1, selector } }),
  ];
  await kube.apply([set, budget]);
  await kube.apply([pod((await kube.get(refOf(set)))?.metadata.uid as string)]);
  const status = async (kind: string, of: string, value: unknown): Promise<unknown> =>
    said(server, ['patch', kind, of, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: value })]);
  await status('pod', 'web-1', { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] });
  await status('pdb', 'web', { observedGeneration: 1, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 });
  assert.is(await drained(), 'a PodDisruptionBudget keeps default/web-1 where it is');
  await kube.delete([refOf(budget)], 10);
  // It is evicted, and no kubelet ends it.
  assert.match((await drained()) ?? '', /^default\/web-1 did not end within/);
});

real('a webhook that does not serve is the cluster`s answer, not its silence', async () => {
  const rules = [{ apiGroups: [''], apiVersions: ['v1'], operations: ['*'], resources: ['configmaps'] }];
  const webhook = { name: 'hook.homelab.test', rules, sideEffects: 'None', admissionReviewVersions: ['v1'] };
  const service = { namespace: 'default', name: 'none', path: '/' };
  for (const clientConfig of [{ url: 'https://127.0.0.1:1/' }, { service }]) {
    const hook = object('admissionregistration.k8s.io/v1', 'ValidatingWebhookConfiguration', 'hook', undefined, {
      webhooks: [{ ...webhook, clientConfig }],
    });
    await kube.apply([hook]);
    // It takes the API server a moment to know of it.
    let message = '';
    for (let left = 50; left > 0 && message === ''; left--)
      message = await kube.apply([map('asked', { left: String(left) })]).then(
        () => '',
        (error: Error) => error.message,
      );
    assert.match(message, /^apply ConfigMap asked: .*failed calling webhook "hook\.homelab\.test": /);
    await kube.delete([{ apiVersion: hook.apiVersion, kind: hook.kind, name: 'hook' }], 10);
  }
});

/** Taken by the API server, in one call, without being kept; the first refusal is told. */
async function wouldTake(objects: readonly KubeObject[]): Promise<void> {
  await said(server, ['apply', '--server-side', '--dry-run=server', '-f', '-'], listOf(objects));
}

const near = (alphabet: string, maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...alphabet), minLength: 1, maxLength });
const label = fc.oneof(fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/), near('ab0-', 4));
const host = fc
  .tuple(fc.constantFrom('', '', '*.', 'x.*.'), fc.array(label, { minLength: 1, maxLength: 4 }))
  .map(([start, labels]) => `${start}${labels.join('.')}`);

real('whatever new-ingress takes, the API server takes', async () => {
  const args = fc.record({ name: label, host, service: label, port: fc.constantFrom('1', '80', '65535') });
  const calls = fc.sample(args, { numRuns: 3000, seed: 11 }).flatMap((given) => {
    try {
      return [readCall({ ...given, apply: true, force: false, probe: '/' } satisfies NewIngressArgs)];
    } catch {
      return [];
    }
  });
  assert.ok(calls.length > 100, `${calls.length} calls`);
  const objects = calls
    .slice(0, 200)
    .map((call) => ingressObject({ ...call, namespace: 'default' }, lab.config.ingress));
  await wouldTake(objects);
});

real('whatever homelab.yaml takes as labels and taints, the API server takes', async () => {
  const { labels, taints } = configSchema.shape.k3s.shape.nodes.element.shape;
  const word = near('aB0._-', 5);
  const key = fc.oneof(
    word,
    near('a0-', 66),
    fc.tuple(near('ab0.-', 6), word).map((parts) => parts.join('/')),
  );
  const effect = fc.constantFrom('NoSchedule', 'PreferNoSchedule', 'NoExecute');
  const pairs = fc.sample(fc.tuple(key, fc.oneof(word, fc.constant(''))), { numRuns: 3000, seed: 11 });
  const taken = pairs.filter(([name, value]) => labels.safeParse({ [name]: value }).success);
  assert.ok(taken.length > 100, `${taken.length} labels`);
  const some = taken
    .slice(0, 300)
    .map(([name, value]) =>
      object('v1', 'Node', 'n', undefined, { metadata: { name: 'n', labels: { [name]: value } } }),
    );
  await wouldTake(some);
  const texts = fc
    .sample(fc.tuple(key, fc.option(word), effect), { numRuns: 3000, seed: 11 })
    .map(([name, value, e]) => `${name}${value === null ? '' : `=${value}`}:${e}`);
  const tainted = texts.filter((text) => taints.safeParse([text]).success).slice(0, 300);
  assert.ok(tainted.length > 100, `${tainted.length} taints`);
  const nodes = tainted.map((text) => {
    const [, name, value, e] = /^([^=:]+)(?:=([^:]*))?:(.*)$/.exec(text)!;
    return object('v1', 'Node', 'n', undefined, { spec: { taints: [{ key: name, value, effect: e }] } });
  });
  await wouldTake(nodes);
});

real('whatever homelab.yaml takes as the redirect, is a name and a namespace', async () => {
  const { middleware } = configSchema.shape.ingress.shape;
  const texts = fc.sample(fc.array(near('a0-', 5), { minLength: 1, maxLength: 3 }), { numRuns: 2000, seed: 11 });
  const taken = texts
    .map((parts) => `${parts.join('-')}@kubernetescrd`)
    .filter((text) => middleware.safeParse(text).success);
  assert.ok(taken.length > 100, `${taken.length} names`);
  const objects = taken
    .slice(0, 200)
    .map((text) => middlewareObject({ ...lab.config.ingress, middleware: text }).metadata);
  await wouldTake(objects.map(({ name }) => map(name)));
  await wouldTake(objects.map(({ namespace = '' }) => object('v1', 'Namespace', namespace, undefined, {})));
});

// The last: nothing answers from then on.
real('without a majority of etcd nothing is answered, and that is said instead of waited for', async () => {
  await server.loseMember();
  let answer = await kube.reachable();
  for (let left = 30; left > 0 && answer.ok; left--) answer = await kube.reachable();
  assert.equal(answer, { ok: false, reason: 'k3s-cp-01: the API server is not ready: etcd, etcd-readiness' });
  const [read, surveyed, written, listed] = await Promise.all([
    errorOf(kube.get(ref('a'))),
    kube.survey([node]),
    errorOf(kube.apply([map('late')])),
    server.kubectl(['get', 'node,storageclass', '-o', 'json', '--request-timeout=5s']),
  ]);
  // Whoever reads what kubectl prints, and not how it ends, sees a cluster without nodes.
  assert.is(listed.code, 1);
  assert.equal((JSON.parse(listed.stdout) as { items: unknown[] }).items, []);
  assert.match(
    read.message,
    /^get ConfigMap default\/a: no K3s server answers: k3s-cp-01: Unable to connect to the server: /,
  );
  assert.match(surveyed.ok ? '' : surveyed.reason, /^k3s-cp-01: Unable to connect to the server: /);
  assert.match(
    written.message,
    /^apply ConfigMap late: no K3s server answers: k3s-cp-01: Error from server \(Timeout\): /,
  );
});

test.run();
