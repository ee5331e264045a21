import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from '../lib/loose.ts';
import type { KubeObject } from '../lib/step.ts';
import { object } from './cluster-fixture.ts';
import {
  addressOf,
  app,
  type ChainWorld,
  chainWorld,
  chart,
  get,
  METALLB,
  must,
  namespace,
  pool,
  withMetallb,
} from './cluster-parts.ts';

const test = suite<ChainWorld>('cluster charts');
test.before.each(chainWorld);
test.after.each(async ({ lab }) => lab.close());

test('MetalLB: its webhook comes late, then load balancers get the lowest addresses and answer', async (world) => {
  const { lab, first } = world;
  assert.is(await addressOf(lab, first, 'traefik', 'kube-system'), undefined);
  await lab.apply(first, namespace('metallb-system'), METALLB);
  const words: string[] = [];
  for (let left = 100; left > 0; left--) {
    const { code, stderr = '' } = await lab.apply(first, ...pool('10.20.11.200-10.20.11.220'));
    words.push(stderr);
    if (code === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(words.some((text) => /no matches for kind "IPAddressPool"/.test(text)));
  assert.ok(
    words.some((text) =>
      /failed calling webhook "ipaddresspoolvalidationwebhook\.metallb\.io".*no endpoints available/.test(text),
    ),
  );
  await lab.cluster.settle();
  assert.is(await addressOf(lab, first, 'traefik', 'kube-system'), '10.20.11.200');
  await must(lab, first, namespace('proof'), ...app('proof', 'proof', 'LoadBalancer'));
  assert.is(await addressOf(lab, first, 'proof', 'proof'), '10.20.11.201');
  assert.match((await get(world, 'http://10.20.11.201/', '10.20.11.201')).body, /service proof\/proof:80/);
  assert.match(lab.cluster.announces('10.20.11.201') ?? '', /^k3s-cp-0[12]$/);
  await lab.kubectl(first, ['delete', 'namespace', 'proof', '--timeout=5s']);
  await lab.cluster.settle();
  assert.is(lab.table().dial['10.20.11.201:80'], null);
});

test('MetalLB: without an advertisement an address is given and nobody answers; a full pool gives none', async (world) => {
  const { lab, first } = world;
  await must(lab, first, namespace('metallb-system'), METALLB);
  await must(lab, first, pool('10.20.11.200-10.20.11.200')[0] as KubeObject);
  assert.is(await addressOf(lab, first, 'traefik', 'kube-system'), '10.20.11.200');
  assert.is(lab.cluster.announces('10.20.11.200'), undefined);
  await must(lab, first, namespace('proof'), ...app('proof', 'proof', 'LoadBalancer'));
  assert.is(await addressOf(lab, first, 'proof', 'proof'), undefined);
  const { items } = (await lab.json(first, [
    'events',
    '-n',
    'proof',
    '--field-selector',
    'reason=AllocationFailed',
  ])) as { items: unknown[] };
  assert.match(String(at(items[0], 'message')), /Failed to allocate IP for "proof\/proof": no available IPs/);
  const other = object('metallb.io/v1beta1', 'IPAddressPool', 'other', 'metallb-system', {
    spec: { addresses: ['10.20.11.192/28'] },
  });
  assert.match(
    (await lab.apply(first, other)).stderr ?? '',
    /denied the request: CIDR "10\.20\.11\.192\/28" in pool "other" overlaps/,
  );
});

test('charts: what helm refuses is in the Job, and a second try works', async ({ lab, first }) => {
  const table: [KubeObject, RegExp][] = [
    [{ ...METALLB, metadata: { ...METALLB.metadata, name: 'a' } }, /namespaces "metallb-system" not found/],
    [chart('nginx', 'https://metallb.github.io/metallb', '1.0.0', 'default'), /chart "nginx" not found/],
    [chart('metallb', 'https://example.org/charts', '0.16.1', 'default'), /is not a valid chart repository/],
    [
      chart('cert-manager', 'https://charts.jetstack.io', '99.0.0', 'default'),
      /no chart version found for cert-manager-99\.0\.0/,
    ],
  ];
  for (const [bad, words] of table) {
    const { name } = bad.metadata;
    await must(lab, first, bad);
    const job = await lab.json(first, ['job', `helm-install-${name}`, '-n', 'kube-system']);
    assert.is(at(job, 'status.conditions[Failed].status'), 'True', name);
    assert.match(
      (await lab.kubectl(first, ['logs', `job/helm-install-${name}`, '-n', 'kube-system'])).stdout ?? '',
      words,
    );
  }
  await must(lab, first, namespace('metallb-system'), METALLB);
  const job = await lab.json(first, ['job', 'helm-install-metallb', '-n', 'kube-system']);
  assert.is(at(job, 'status.succeeded'), 1);
  assert.is(
    at(await lab.json(first, ['helmchart', 'metallb', '-n', 'kube-system']), 'status.jobName'),
    'helm-install-metallb',
  );
  assert.is(
    (await lab.kubectl(first, ['delete', 'helmchart', 'metallb', '-n', 'kube-system', '--timeout=5s'])).code,
    0,
  );
  assert.match(
    (await lab.kubectl(first, ['get', 'ipaddresspools', '-A'])).stderr ?? '',
    /doesn't have a resource type "ipaddresspools"/,
  );
});

test('two runs of the same objects leave the same snapshot, and applying again changes nothing', async (world) => {
  const { lab, first } = world;
  await withMetallb(world);
  const before = JSON.stringify(lab.cluster.snapshot());
  const { metadata } = await lab.json(first, ['nodes']);
  await withMetallb(world);
  assert.is(JSON.stringify(lab.cluster.snapshot()), before);
  assert.not.match(before, /[0-9a-f]{8}-[0-9a-f]{4}-/);
  assert.equal((await lab.json(first, ['nodes'])).metadata, metadata);
});

test.run();
