import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HomelabError } from '../lib/errors.ts';
import type { Answer, HttpAnswer, Kube, Ports } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';
import { verifyMetallb } from '../lib/verify/metallb.ts';
import { labWith } from './k3s-fixtures.ts';

const test = suite('metallb proof');

type World = { address?: string; http?: Answer<HttpAnswer>; apply?: Error; services?: KubeObject[] };

/** A cluster that gives `address` to whatever is applied; time passes as fast as it is slept. */
function worldOf({ address, http, apply, services = [] }: World) {
  const done: string[] = [];
  const kube: Kube = {
    reachable: async () => ({ ok: true, value: 'k3s-cp-01' }),
    get: async ({ apiVersion, kind, name }) => ({ apiVersion, kind, metadata: { name }, ...ingress(address) }),
    list: async () => services,
    apply: async (objects) => {
      done.push(...objects.map(({ kind }) => `apply ${kind}`));
      if (apply) throw apply;
    },
    delete: async (refs) => void done.push(...refs.map(({ kind, name }) => `delete ${kind} ${name}`)),
    logs: async () => '',
  };
  const net: Ports['net'] = {
    http: async (url) => {
      done.push(`GET ${url}`);
      return http ?? { ok: true, value: { status: 200, headers: {}, body: 'NOW' } };
    },
    tcp: async () => ({ ok: true, value: true }),
    download: async () => '',
    certificate: async () => ({ ok: false, reason: 'not asked' }),
  };
  return { done, ports: { kube, net, clock: { now: () => new Date(), sleep: async () => {} } } };
}

function ingress(ip: string | undefined): { status?: unknown } {
  return ip ? { status: { loadBalancer: { ingress: [{ ip }] } } } : {};
}

test('an address of the pool, an answer, and nothing left behind', async () => {
  const { done, ports } = worldOf({ address: '10.20.11.200' });
  const proofs = await verifyMetallb(labWith(), ports);
  assert.equal(
    proofs.map(({ ok, detail }) => `${ok} ${detail}`),
    ['true 10.20.11.200', 'true http://10.20.11.200/ → 200'],
  );
  const remove = 'delete Namespace homelab-proof-metallb';
  const apply = ['apply Namespace', 'apply Deployment', 'apply Service'];
  assert.equal(done, [remove, ...apply, 'GET http://10.20.11.200/', remove]);
});

test('an address of somewhere else', async () => {
  const { ports } = worldOf({ address: '10.20.11.150' });
  const [first] = await verifyMetallb(labWith(), ports);
  assert.equal([first?.ok, first?.detail], [false, '10.20.11.150 is not of it']);
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
  const { ports } = worldOf({ apply: new HomelabError('x'), services });
  const [first] = await verifyMetallb(labWith(), ports);
  assert.is(first?.detail, 'the pool is exhausted: all 21 addresses are in use; widen metallb.pool');
});

test.run();
