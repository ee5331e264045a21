import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HomelabError } from '../lib/errors.ts';
import type { Answer, HttpAnswer, Kube, Ports } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';
import { verifyMetallb } from '../lib/verify/metallb.ts';
import { labWith } from './k3s-fixtures.ts';

const test = suite('metallb proof');

type World = {
  address?: string;
  /** What answers at the address; default: agnhost, which says what it is told. */
  http?: Answer<HttpAnswer>;
  apply?: Error;
  /** By kind. */
  lists?: Record<string, KubeObject[]>;
  /** Whether this MetalLB knows ServiceL2Status. */
  says?: boolean;
};

/** A cluster that gives `address` to whatever is applied; time passes as fast as it is slept. */
function worldOf({ address, http, apply, lists = {}, says = true }: World) {
  const done: string[] = [];
  let now = Date.now();
  const kube: Kube = {
    reachable: async () => ({ ok: true, value: 'k3s-cp-01' }),
    get: async ({ apiVersion, kind, name }) =>
      kind === 'CustomResourceDefinition' && !says
        ? undefined
        : { apiVersion, kind, metadata: { name }, ...ingress(address) },
    list: async (_version, kind) => lists[kind] ?? [],
    survey: async (kinds) => ({ ok: true, value: kinds.flatMap(({ kind }) => lists[kind] ?? []) }),
    apply: async (objects) => {
      done.push(...objects.map(({ kind }) => `apply ${kind}`));
      if (apply) throw apply;
    },
    delete: async (refs) => void done.push(...refs.map(({ kind, name }) => `delete ${kind} ${name}`)),
    logs: async () => '',
  };
  const net: Ports['net'] = {
    http: async (url) => {
      if (done.at(-1) !== 'GET') done.push('GET');
      return http ?? { ok: true, value: { status: 200, headers: {}, body: url.split('msg=')[1] ?? '' } };
    },
    tcp: async () => ({ ok: true, value: true }),
    send: async () => ({ ok: true, value: { status: 200 } }),
    download: async () => '',
    certificate: async () => ({ ok: false, reason: 'not asked' }),
  };
  const clock: Ports['clock'] = {
    now: () => new Date(now),
    sleep: async (seconds) => {
      now += seconds * 1000;
    },
  };
  return {
    done,
    ports: { kube, net, clock },
  };
}

function ingress(ip: string | undefined): { status?: unknown } {
  return ip ? { status: { loadBalancer: { ingress: [{ ip }] } } } : {};
}

/** What the speaker says that announces the proof's Service. */
const announced: KubeObject = {
  apiVersion: 'metallb.io/v1beta1',
  kind: 'ServiceL2Status',
  metadata: { name: 'l2-x', namespace: 'metallb-system' },
  status: {
    node: 'k3s-cp-01',
    serviceName: 'proof',
    serviceNamespace: 'homelab-proof-metallb',
    interfaces: [{ name: 'eth0' }],
  },
};

test('an address of the pool, an answer, and nothing left behind', async () => {
  const { done, ports } = worldOf({ address: '10.20.11.200', lists: { ServiceL2Status: [announced] } });
  const proofs = await verifyMetallb(labWith(), ports);
  assert.equal(
    proofs.map(({ ok, detail }) => `${ok} ${detail}`),
    ['true 10.20.11.200', 'true http://10.20.11.200/ → 200', 'true k3s-cp-01 (eth0)'],
  );
  const remove = 'delete Namespace homelab-proof-metallb';
  const apply = ['apply Namespace', 'apply Deployment', 'apply Service'];
  assert.equal(done, [remove, ...apply, 'GET', remove]);
});

test('an address of somewhere else', async () => {
  const { ports } = worldOf({ address: '10.20.11.150' });
  const [first] = await verifyMetallb(labWith(), ports);
  assert.equal([first?.ok, first?.detail], [false, '10.20.11.150 is not of it: who else gives addresses to Services?']);
});

test('what failed is said, and removed all the same', async () => {
  const { done, ports } = worldOf({ apply: new HomelabError('no such thing') });
  const [first] = await verifyMetallb(labWith(), ports);
  assert.equal([first?.ok, first?.detail], [false, 'no such thing']);
  assert.is(done.at(-1), 'delete Namespace homelab-proof-metallb');
});

test('a pool without a free address is recognised', async () => {
  const services = Array.from({ length: 21 }, (_, i) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `s${i}`, namespace: 'a' },
    ...ingress(`10.20.11.${200 + i}`),
  }));
  const { done, ports } = worldOf({ lists: { Service: services } });
  const [first] = await verifyMetallb(labWith(), ports);
  assert.not.ok(
    done.some((what) => what.startsWith('apply')),
    'nothing is applied for a proof that cannot hold',
  );
  assert.is(first?.detail, 'the pool is exhausted: all 21 addresses are in use; widen metallb.pool');
});

const event = (message: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Event',
  metadata: { name: 'e', namespace: 'homelab-proof-metallb' },
  type: 'Warning',
  message,
});
const invalid = (errorSummary: string): KubeObject => ({
  ...{ apiVersion: 'metallb.io/v1beta1', kind: 'ConfigurationState' },
  ...{ metadata: { name: 'controller', namespace: 'metallb-system' }, status: { result: 'Invalid', errorSummary } },
});
const page: Answer<HttpAnswer> = { ok: true, value: { status: 200, headers: {}, body: '<html>printer</html>' } };
const refused: Answer<HttpAnswer> = { ok: false, reason: 'ECONNREFUSED' };
const table: [what: string, world: World, proofs: RegExp[]][] = [
  [
    'no address: MetalLB says why',
    { lists: { Event: [event('no available IPs')], ConfigurationState: [invalid('bad CIDR')] } },
    [/^false none within 60 s: controller: bad CIDR: no available IPs$/],
  ],
  [
    'another machine answers',
    { address: '10.20.11.205', http: page },
    [
      /^true/,
      /^false not within 180 s: .* of another web server: a machine on the network has 10\.20\.11\.205 too; announced by no node$/,
    ],
  ],
  [
    'nothing answers, though it is announced',
    { address: '10.20.11.205', http: refused, lists: { ServiceL2Status: [announced] } },
    [/^true/, /^false not within 180 s: ECONNREFUSED; announced by k3s-cp-01 \(eth0\)$/],
  ],
  [
    'it answers, and no speaker announces it',
    { address: '10.20.11.205' },
    [/^true/, /^true/, /^false none does, though it answers$/],
  ],
  [
    'an older MetalLB does not say who announces',
    { address: '10.20.11.205', says: false },
    [/^true/, /^true/, /^skipped this version of MetalLB does not say who does$/],
  ],
];
for (const [what, world, expected] of table)
  test(what, async () => {
    const { done, ports } = worldOf(world);
    const proofs = await verifyMetallb(labWith(), ports);
    assert.is(proofs.length, expected.length);
    for (const [i, { ok, skipped, detail }] of proofs.entries())
      assert.match(`${skipped ? 'skipped' : ok} ${detail}`, expected[i]!);
    assert.is(done.at(-1), 'delete Namespace homelab-proof-metallb');
  });

test.run();
