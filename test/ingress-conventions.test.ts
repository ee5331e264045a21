import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lintObjects } from '../lib/plan/conventions.ts';
import { isDatabase } from '../lib/plan/conventions-storage.ts';
import { hostProblem } from '../lib/plan/host-name.ts';
import { type IngressCall, ingressYaml } from '../lib/render/ingress.ts';
import { objectsOf } from '../lib/render/manifests.ts';

const ingress = {
  class: 'traefik',
  issuer: 'letsencrypt-prod',
  email: 'admin@codeofficer.com',
  dns01: 'cloudflare' as const,
  middleware: 'default-redirect-https@kubernetescrd',
  cert_manager: 'v1.21.2',
};
const conventions = {
  domain: 'codeofficer.com',
  ingress,
  storage_classes: [
    { name: 'local-path', default: true, path: '' },
    { name: 'nfs-client', default: false, export: 'unas/K3sStorage', path: '{namespace}-{pvc-name}' },
  ],
};
const app: IngressCall = {
  name: 'my-app',
  namespace: 'my-app',
  host: 'myapp.codeofficer.com',
  service: 'my-app',
  port: 8080,
};
const good = ingressYaml(app, ingress);

/** Problems of some YAML, as "level message". */
const lint = (...texts: string[]): string[] =>
  lintObjects(
    texts.flatMap((text, i) => objectsOf(text).objects.map((object) => ({ place: `${i}.yaml`, object }))),
    conventions,
  ).map(({ level, message }) => `${level}: ${message}`);

const Ingress = suite('conventions of an Ingress');

Ingress('the convention itself has no problem', () => assert.equal(lint(good), []));

const broken: [what: string, from: string | RegExp, to: string, problems: string[]][] = [
  ['class', 'ingressClassName: traefik', 'ingressClassName: nginx', ['error: ingressClassName is nginx']],
  ['no class', '  ingressClassName: traefik\n', '', ['error: ingressClassName is missing']],
  [
    'staging issuer',
    'issuer: letsencrypt-prod',
    'issuer: letsencrypt-staging',
    ['error: cert-manager.io/cluster-issuer is letsencrypt-staging'],
  ],
  [
    'no middleware',
    /.*router.middlewares.*\n/,
    '',
    ['error: traefik.ingress.kubernetes.io/router.middlewares does not name the redirect: HTTP is not sent to HTTPS'],
  ],
  ['a second middleware', 'middlewares: ', 'middlewares: default-auth@kubernetescrd, ', []],
  [
    'websecure only',
    '  annotations:\n',
    '  annotations:\n    traefik.ingress.kubernetes.io/router.entrypoints: websecure\n',
    ['error: traefik.ingress.kubernetes.io/router.entrypoints is websecure: HTTP answers 404 instead of a redirect'],
  ],
  [
    'both entrypoints',
    '  annotations:\n',
    '  annotations:\n    traefik.ingress.kubernetes.io/router.entrypoints: web,websecure\n',
    [],
  ],
  [
    'router.tls',
    '  annotations:\n',
    '  annotations:\n    traefik.ingress.kubernetes.io/router.tls: "true"\n',
    ['error: traefik.ingress.kubernetes.io/router.tls is "true": HTTP answers 404 instead of a redirect'],
  ],
  ['no tls', / {2}tls:[\s\S]*-tls\n/, '', ['error: spec.tls is missing: no certificate is issued']],
  ['no secretName', / {6}secretName.*\n/, '', ['error: a spec.tls entry has no secretName: no certificate is issued']],
  [
    'tls of another host',
    '- myapp.codeofficer.com\n',
    '- other.codeofficer.com\n',
    ['error: myapp.codeofficer.com is not among the hosts of spec.tls'],
  ],
  [
    'no host',
    '- host: myapp.codeofficer.com\n      http',
    '- http',
    ['error: a rule has no host: it answers for every name'],
  ],
  [
    'another domain',
    /myapp\.codeofficer\.com/g,
    'myapp.example.com',
    ['warning: myapp.example.com is outside codeofficer.com'],
  ],
  [
    'an address',
    /myapp\.codeofficer\.com/g,
    '10.0.0.1',
    ['error: "10.0.0.1" is an IP address; an ingress routes by name'],
  ],
  ['no pathType', / {12}pathType.*\n/, '', ['error: path / has no pathType: the API server refuses it']],
  [
    'port by name and number',
    'number: 8080',
    'number: 8080\n                  name: http',
    ["error: path / must name its service's port by number or by name, not by both"],
  ],
  ['port by name', 'number: 8080', 'name: http', []],
  [
    'no port',
    / {16}port:\n.*\n/,
    '',
    ["error: path / must name its service's port by number or by name, not by neither"],
  ],
  [
    'nothing as it should be',
    /spec:[\s\S]*/,
    'spec: [1, {rules: 5}]\n',
    ['error: ingressClassName is missing', 'error: spec.tls is missing: no certificate is issued'],
  ],
];
for (const [what, from, to, problems] of broken)
  Ingress(what, () => {
    const changed = good.replace(from, to);
    assert.is.not(changed, good, 'the replacement matches');
    assert.equal(lint(changed), problems);
  });

Ingress('a host and a secretName claimed twice', () => {
  assert.equal(lint(good, ingressYaml({ ...app, namespace: 'b' }, ingress)), [
    'error: host myapp.codeofficer.com is also claimed by Ingress my-app/my-app (0.yaml)',
  ]);
  assert.equal(lint(good, ingressYaml({ ...app, host: 'b.codeofficer.com' }, ingress)), [
    'error: secretName my-app/my-app-tls is also claimed by Ingress my-app/my-app (0.yaml)',
  ]);
});
Ingress.run();

const Storage = suite('conventions of storage');

const workload = (kind: string, image: string, volume: string): string => `
apiVersion: apps/v1
kind: ${kind}
metadata: { name: w, namespace: a }
spec: { ${kind === 'CronJob' ? 'jobTemplate: { spec: {' : ''} template: { spec: { containers: [{ name: c, image: "${image}" }], volumes: [${volume}] } } ${kind === 'CronJob' ? '} }' : ''} }
`;
const claim = (storageClass: string): string => `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data, namespace: a }
spec: { ${storageClass} }
`;
const uses = '{ name: v, persistentVolumeClaim: { claimName: data } }';
const nfs = claim('storageClassName: nfs-client');
const local = claim('storageClassName: local-path');

const cases: [what: string, texts: string[], problems: string[]][] = [
  ['a database on local-path', [workload('Deployment', 'postgres:17', uses), local], []],
  ['a database on the default', [workload('Deployment', 'postgres:17', uses), claim('')], []],
  [
    'a database on NFS',
    [workload('Deployment', 'postgres:17', uses), nfs],
    ['error: it keeps a database on nfs-client'],
  ],
  ['an application on NFS', [workload('Deployment', 'ghcr.io/immich-app/immich-server:v1', uses), nfs], []],
  [
    'an application on local-path',
    [workload('Deployment', 'nginx', uses), local],
    ['warning: it keeps application data on local-path: it is lost with its node'],
  ],
  [
    'an application on the default',
    [workload('Deployment', 'nginx', uses), claim('')],
    ['warning: it keeps application data on local-path, the default: it is lost with its node'],
  ],
  ['a dump on NFS', [workload('CronJob', 'postgres:17', uses), nfs], []],
  ['a claim that nobody uses', [local], []],
  ['a claim bound by hand', [workload('Deployment', 'nginx', uses), claim('storageClassName: ""')], []],
  [
    'an unknown class',
    [claim('storageClassName: longhorn')],
    ['warning: it uses the StorageClass longhorn, which homelab.yaml does not name'],
  ],
  [
    'a template of a StatefulSet',
    [
      workload('StatefulSet', 'docker.io/valkey/valkey@sha256:1', '').replace(
        / }\n$/,
        ', volumeClaimTemplates: [{ metadata: { name: data }, spec: { storageClassName: nfs-client } }] }\n',
      ),
    ],
    ['error: claim data keeps a database on nfs-client'],
  ],
  [
    'an emptyDir without a limit',
    [workload('DaemonSet', 'nginx', '{ name: tmp, emptyDir: {} }')],
    ["error: the emptyDir tmp has no sizeLimit: it can fill its node's disk"],
  ],
  [
    'the same in a CronJob',
    [workload('CronJob', 'nginx', '{ name: tmp, emptyDir: null }')],
    ["error: the emptyDir tmp has no sizeLimit: it can fill its node's disk"],
  ],
  ['an emptyDir with one', [workload('Deployment', 'nginx', '{ name: tmp, emptyDir: { sizeLimit: 1Gi } }')], []],
];
for (const [what, texts, problems] of cases) Storage(what, () => assert.equal(lint(...texts), problems));

const images: [string, boolean][] = [
  ['postgres:17', true],
  ['ghcr.io/cloudnative-pg/postgresql:17.2', true],
  ['registry:5000/redis', true],
  ['mongo@sha256:00', true],
  ['prometheuscommunity/postgres-exporter', false],
  ['rediscommander/redis-commander', false],
  ['mongo-express:1', false],
  ['nginx', false],
  ['', false],
];
for (const [image, database] of images)
  Storage(`${image} is ${database ? '' : 'no '}database`, () => assert.is(isDatabase(image), database));
Storage.run();

const Host = suite('host names');
const hosts: [string, string | undefined][] = [
  ['myapp.codeofficer.com', undefined],
  ['*.codeofficer.com', undefined],
  ['xn--bcher-kva.example', undefined],
  ['10.20.11.80', '"10.20.11.80" is an IP address; an ingress routes by name'],
  ['10.20.11.80:80', '"10.20.11.80:80" is an IP address; an ingress routes by name'],
  ['::1', '"::1" is an IP address; an ingress routes by name'],
  ['[fd00::1]:80', '"[fd00::1]:80" is an IP address; an ingress routes by name'],
  ['a.b:8080', '"a.b:8080" has a port; an ingress listens on 80 and 443'],
  ['https://a.b/c', '"https://a.b/c" is a URL'],
  ['A.b', '"A.b" has capital letters'],
  ['a.b.', '"a.b." ends with a dot'],
  ['a', '"a" is not a full DNS name'],
  ['*.a', '"*.a" is not a full DNS name'],
  ['a.*.b', '"a.*.b" has "*" elsewhere than as its first label'],
  ['a..b', '"a..b" is not a DNS name: a label is empty'],
  ['-a.b', '"-a.b" is not a DNS name: "-a" is no label'],
  ['a_b.c', '"a_b.c" is not a DNS name: "a_b" is no label'],
  ['bücher.de', '"bücher.de" is not a DNS name: "bücher" is no label'],
  ['a.b\n', '"a.b\n" is not a DNS name: "b\n" is no label'],
  [`${'a'.repeat(64)}.b`, `"${'a'.repeat(64)}.b" is not a DNS name: "${'a'.repeat(64)}" is no label`],
  [`${'a.'.repeat(127)}bc`, `"${'a.'.repeat(127)}bc" is longer than 253 characters`],
];
for (const [host, message] of hosts)
  Host(JSON.stringify(host).slice(0, 40), () => assert.is(hostProblem(host)?.message, message));
Host.run();
