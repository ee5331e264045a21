import { request } from 'node:http';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from '../lib/loose.ts';
import { object } from './cluster-fixture.ts';
import {
  app,
  type ChainWorld,
  chainWorld,
  get,
  ingress,
  MIDDLEWARE,
  must,
  namespace,
  withCertManager,
  withMetallb,
} from './cluster-parts.ts';

const test = suite<ChainWorld>('cluster ingress');
test.before.each(chainWorld);
test.after.each(async ({ lab }) => lab.close());

test('ingress: 301 to https, then 200 under a certificate of the lab; what breaks the convention breaks it', async (world) => {
  const { lab, first } = world;
  await withMetallb(world);
  await withCertManager(world);
  await must(
    lab,
    first,
    namespace('my-app'),
    ...app('my-app', 'my-app'),
    MIDDLEWARE,
    ingress('my-app', 'myapp.codeofficer.com'),
  );
  const at200 = '10.20.11.200';
  const redirect = await get(world, 'http://myapp.codeofficer.com/a?b=c', at200);
  assert.equal([redirect.status, redirect.headers.location], [301, 'https://myapp.codeofficer.com/a?b=c']);
  const page = await get(world, 'https://myapp.codeofficer.com/', at200);
  assert.is(page.status, 200);
  assert.match(page.body, /service my-app\/my-app:80/);
  assert.equal([page.certificate?.authorized, page.certificate?.names], [true, ['myapp.codeofficer.com']]);
  const unknown = await get(world, 'https://other.codeofficer.com/', at200);
  assert.equal([unknown.status, unknown.certificate?.issuer.includes('TRAEFIK DEFAULT CERT')], [404, true]);

  const annotation = (key: string, value: string) => ({ [`traefik.ingress.kubernetes.io/router.${key}`]: value });
  const broken: [string, Record<string, string>, number][] = [
    ['entry', annotation('entrypoints', 'websecure'), 404],
    ['tls-only', annotation('tls', 'true'), 404],
    ['no-middleware', annotation('middlewares', 'default-missing@kubernetescrd'), 404],
  ];
  for (const [name, annotations, status] of broken) {
    await must(lab, first, ingress(name, `${name}.codeofficer.com`, annotations));
    assert.is((await get(world, `http://${name}.codeofficer.com/`, at200)).status, status, name);
  }
  await lab.kubectl(first, ['scale', 'deployment', 'my-app', '-n', 'my-app', '--replicas=0']);
  await lab.cluster.settle();
  assert.is((await get(world, 'https://myapp.codeofficer.com/', at200)).status, 503);
});

test('cert-manager: no token no issuer, one owner a Secret, no certificate outside the zone', async (world) => {
  const { lab, first } = world;
  await withCertManager(world);
  await must(lab, first, namespace('my-app'), ingress('one', 'one.codeofficer.com'));
  const twin = ingress('two', 'two.codeofficer.com');
  at(twin, 'spec.tls.0') && Object.assign(at(twin, 'spec.tls.0') as object, { secretName: 'one-tls' });
  await must(lab, first, twin, ingress('far', 'far.example.org'));
  const ready = async (name: string) =>
    at(await lab.json(first, ['certificate', name, '-n', 'my-app']), 'status.conditions[Ready].status');
  assert.is(await ready('one-tls'), 'True');
  assert.equal(at(await lab.json(first, ['certificate', 'one-tls', '-n', 'my-app']), 'spec.dnsNames'), [
    'one.codeofficer.com',
  ]);
  assert.is(await ready('far-tls'), 'False');
  const events = JSON.stringify(await lab.json(first, ['events', '-n', 'my-app']));
  assert.match(events, /refusing to update non-owned certificate/);
  await lab.kubectl(first, ['delete', 'secret', 'cloudflare-api-token', '-n', 'cert-manager']);
  await lab.cluster.settle();
  const issuer = await lab.json(first, ['clusterissuer', 'letsencrypt-prod']);
  assert.is(at(issuer, 'status.conditions[Ready].status'), 'False');
  assert.match(String(at(issuer, 'status.conditions[Ready].message')), /secrets "cloudflare-api-token" not found/);
});

test('a Service may have a real program behind it', async ({ lab, first }) => {
  await must(
    lab,
    first,
    namespace('databases'),
    object('v1', 'Service', 'postgresql', 'databases', { spec: { ports: [{ port: 5432 }] } }),
  );
  const ip = String(at(await lab.json(first, ['svc', 'postgresql', '-n', 'databases']), 'spec.clusterIP'));
  assert.match(ip, /^10\.43\./);
  assert.is(lab.cluster.route(first, ip, 5432), undefined);
  lab.cluster.setBackend('databases/postgresql', { host: '127.0.0.1', port: 5999 });
  assert.equal(lab.cluster.route(first, ip, 5432), { host: '127.0.0.1', port: 5999 });
  assert.is(lab.cluster.route(lab.host('pve-01', '10.20.11.11'), ip, 5432), undefined);
});

test('a ClusterIP is reached from a node', async ({ lab, first }) => {
  await must(lab, first, namespace('my-app'), ...app('my-app', 'my-app'));
  const ip = String(at(await lab.json(first, ['svc', 'my-app', '-n', 'my-app']), 'spec.clusterIP'));
  const target = lab.cluster.route(first, ip, 80);
  const status = await new Promise((resolve, reject) => {
    request({ ...target, path: '/' }, (response) => resolve(response.resume().statusCode))
      .on('error', reject)
      .end();
  });
  assert.is(status, 200);
});

test.run();
