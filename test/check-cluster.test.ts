import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { lintObjects } from '../lib/plan/conventions.ts';
import type { ClusterConventions } from '../lib/plan/conventions-cluster.ts';
import { ingressObject, middlewareObject } from '../lib/render/ingress.ts';
import type { KubeObject } from '../lib/step.ts';
import { labWith } from './k3s-fixtures.ts';

/** The lints of `check` that need the cluster. */
const test = suite('conventions in the cluster');
const { config } = labWith();
const NOW = Date.parse('2026-11-23T12:00:00Z');
const inDays = (days: number): string => new Date(NOW + days * 24 * 3600 * 1000).toISOString();

const object = (apiVersion: string, kind: string, name: string, namespace: string, rest: object = {}): KubeObject => ({
  apiVersion,
  kind,
  metadata: { name, namespace },
  ...rest,
});
const app = (name = 'my-app', host = `${name}.codeofficer.com`): KubeObject =>
  ingressObject({ name, namespace: name, host, service: 'web', port: 80 }, config.ingress);
const service = (namespace = 'my-app', ports: object[] = [{ port: 80, name: 'http' }]): KubeObject =>
  object('v1', 'Service', 'web', namespace, { spec: { ports } });
const certificate = (status: object = {}, name = 'my-app'): KubeObject =>
  object('cert-manager.io/v1', 'Certificate', `${name}-tls`, name, {
    spec: { secretName: `${name}-tls` },
    status: {
      notAfter: inDays(60),
      renewalTime: inDays(30),
      conditions: [{ type: 'Ready', status: 'True' }],
      ...status,
    },
  });
const redirect = middlewareObject(config.ingress);
const good = [app(), service(), certificate(), redirect];
const annotated = (ingress: KubeObject, annotations: Record<string, string>): KubeObject => ({
  ...ingress,
  metadata: { ...ingress.metadata, annotations: { ...ingress.metadata.annotations, ...annotations } },
});
const inFile = (...objects: KubeObject[]) => objects.map((one) => ({ place: 'a.yaml', object: one }));
/** What cert-manager makes on the way, owned by the one before. */
const made = (apiVersion: string, kind: string, name: string, owner: string, annotations = {}, of = 'Certificate') => ({
  ...object(apiVersion, kind, name, 'my-app'),
  metadata: { name, namespace: 'my-app', annotations, ownerReferences: [{ kind: of, name: owner }] },
});
const cluster = (objects: KubeObject[], expiry: Record<string, number> = {}): ClusterConventions => ({
  objects,
  expiry,
  now: NOW,
});
const byChart = (one: KubeObject): KubeObject => ({
  ...one,
  metadata: { ...one.metadata, labels: { 'app.kubernetes.io/managed-by': 'Helm' } },
});
const pod = { containers: [{ image: 'nginx' }], volumes: [{ name: 'tmp', emptyDir: {} }] };
const deployment = (namespace: string): KubeObject =>
  object('apps/v1', 'Deployment', 'web', namespace, { spec: { template: { spec: pod } } });

type Case = [
  what: string,
  live: KubeObject[],
  problems: string[],
  files?: KubeObject[],
  expiry?: Record<string, number>,
];
const NO_LIMIT = "the emptyDir tmp has no sizeLimit: it can fill its node's disk";
const cases: Case[] = [
  ['as it should be', good, []],
  ['the same, and in a file', good, [], [app()]],
  [
    'of an ingress that somebody edited the live one is told',
    [annotated(app(), { 'traefik.ingress.kubernetes.io/router.tls': 'true' }), ...good.slice(1)],
    [
      'error the cluster Ingress my-app/my-app: traefik.ingress.kubernetes.io/router.tls is "true": HTTP answers 404 instead of a redirect',
    ],
    [app()],
  ],
  [
    'what breaks in file and cluster is said once',
    [annotated(app(), { 'cert-manager.io/cluster-issuer': 'old' }), ...good.slice(1)],
    ['error a.yaml Ingress my-app/my-app: cert-manager.io/cluster-issuer is old'],
    [annotated(app(), { 'cert-manager.io/cluster-issuer': 'old' })],
  ],
  [
    'no Service',
    [app(), certificate(), redirect],
    ['error the cluster Ingress my-app/my-app: there is no Service my-app/web: it answers 404'],
  ],
  [
    'a Service of another namespace',
    [app(), service('other'), certificate(), redirect],
    ['error the cluster Ingress my-app/my-app: there is no Service my-app/web: it answers 404'],
  ],
  [
    'no such port',
    [app(), service('my-app', [{ port: 8080 }]), certificate(), redirect],
    ['error the cluster Ingress my-app/my-app: Service my-app/web has no port 80: it answers 404'],
  ],
  [
    'in a file, not applied, and its Service is nowhere: it may still come',
    [redirect],
    ['warning a.yaml Ingress my-app/my-app: there is no Service my-app/web: it answers 404'],
    [app()],
  ],
  ['in a file with its Service', [redirect], [], [app(), service()]],
  [
    'no redirect middleware',
    good.slice(0, 3),
    [
      'error the cluster Ingress my-app/my-app: the Middleware default-redirect-https@kubernetescrd is not in the cluster: it answers 404',
    ],
  ],
  [
    'the middleware is in a file only, the Ingress is live',
    good.slice(0, 3),
    [
      'error the cluster Ingress my-app/my-app: the Middleware default-redirect-https@kubernetescrd is not in the cluster: it answers 404',
    ],
    [redirect],
  ],
  [
    'a second middleware that is not there',
    [
      annotated(app(), {
        'traefik.ingress.kubernetes.io/router.middlewares':
          'default-redirect-https@kubernetescrd, my-app-auth@kubernetescrd',
      }),
      ...good.slice(1),
    ],
    [
      'error the cluster Ingress my-app/my-app: the Middleware my-app-auth@kubernetescrd is not in the cluster: it answers 404',
    ],
  ],
  [
    'a file claims the host of another Ingress in the cluster',
    [...good, app('other', 'my-app.codeofficer.com'), service('other'), certificate({}, 'other')],
    [
      'error the cluster Ingress other/other: host my-app.codeofficer.com is also claimed by Ingress my-app/my-app (a.yaml)',
    ],
    [app()],
  ],
  [
    'a chart claims it: its own conventions are its own, the host is not',
    [
      ...good,
      byChart({ ...app('chart', 'my-app.codeofficer.com'), spec: { rules: [{ host: 'my-app.codeofficer.com' }] } }),
    ],
    [
      'error the cluster Ingress chart/chart: host my-app.codeofficer.com is also claimed by Ingress my-app/my-app (the cluster)',
    ],
  ],
  ['an emptyDir without a limit', [deployment('my-app')], [`error the cluster Deployment my-app/web: ${NO_LIMIT}`]],
  ['the same of K3s', [deployment('kube-system')], []],
  ['the same of a chart', [byChart(deployment('my-app'))], []],
  [
    'a pod that something made',
    [
      {
        ...object('v1', 'Pod', 'web-x', 'my-app', { spec: pod }),
        metadata: { name: 'web-x', namespace: 'my-app', ownerReferences: [{ kind: 'ReplicaSet' }] },
      },
    ],
    [],
  ],
  [
    'a pod of a person',
    [object('v1', 'Pod', 'web-x', 'my-app', { spec: pod })],
    [`error the cluster Pod my-app/web-x: ${NO_LIMIT}`],
  ],
  [
    'a database on the network',
    [
      object('v1', 'PersistentVolumeClaim', 'data', 'db', { spec: { storageClassName: 'nfs-client' } }),
      object('apps/v1', 'Deployment', 'pg', 'db', {
        spec: {
          template: {
            spec: {
              containers: [{ image: 'postgres:17' }],
              volumes: [{ persistentVolumeClaim: { claimName: 'data' } }],
            },
          },
        },
      }),
    ],
    ['error the cluster PersistentVolumeClaim db/data: it keeps a database on nfs-client'],
  ],
  [
    'a certificate that was to be renewed, and was not',
    [
      ...good.filter((one) => one.kind !== 'Certificate'),
      certificate({ notAfter: inDays(12.5), renewalTime: inDays(-17) }),
    ],
    ['error the cluster Certificate my-app/my-app-tls: expires on 2026-12-06 (in 12 days), and is not renewed'],
  ],
  [
    'one that has expired',
    [
      ...good.filter((one) => one.kind !== 'Certificate'),
      certificate({ notAfter: inDays(-1), renewalTime: inDays(-30) }),
    ],
    ['error the cluster Certificate my-app/my-app-tls: expired on 2026-11-22, and is not renewed'],
  ],
  [
    'one that lives for a week is always close to its end',
    [...good.filter((one) => one.kind !== 'Certificate'), certificate({ notAfter: inDays(6), renewalTime: inDays(4) })],
    [],
  ],
  [
    'one whose last issue failed',
    [...good.filter((one) => one.kind !== 'Certificate'), certificate({ lastFailureTime: inDays(-1) })],
    ['error the cluster Certificate my-app/my-app-tls: its last issue failed, on 2026-11-22'],
  ],
  [
    'one whose renewal is stuck, long before it expires: a dead token',
    [
      ...good.filter((one) => one.kind !== 'Certificate'),
      certificate({
        renewalTime: inDays(-1),
        conditions: [
          { type: 'Ready', status: 'True' },
          { type: 'Issuing', status: 'True', message: 'Renewing' },
        ],
      }),
      made('cert-manager.io/v1', 'CertificateRequest', 'r', 'my-app-tls', {
        'cert-manager.io/certificate-name': 'my-app-tls',
      }),
      made('acme.cert-manager.io/v1', 'Order', 'o', 'r', {}, 'CertificateRequest'),
      {
        ...made('acme.cert-manager.io/v1', 'Challenge', 'c', 'o', {}, 'Order'),
        spec: { dnsName: 'a.b' },
        status: { reason: 'while querying the Cloudflare API for GET "/zones" \n\t Error: 9109: Invalid access token' },
      },
    ],
    [
      'error the cluster Certificate my-app/my-app-tls: it cannot be issued anew: Challenge for a.b: while querying the Cloudflare API for GET "/zones" Error: 9109: Invalid access token (Cloudflare refuses the token, or what the token is for)',
    ],
  ],
  [
    'one that is still on its way',
    [
      ...good.filter((one) => one.kind !== 'Certificate'),
      certificate({
        ...{ notAfter: undefined, renewalTime: undefined },
        conditions: [{ type: 'Ready', status: 'False', reason: 'DoesNotExist', message: 'Issuing' }],
      }),
    ],
    ['warning the cluster Certificate my-app/my-app-tls: it is not Ready: DoesNotExist: Issuing'],
  ],
  [
    'a Secret that nobody renews',
    [app(), service(), redirect],
    [
      'warning the cluster Ingress my-app/my-app: nobody renews the certificate in the Secret my-app-tls: there is no Certificate for it; what is shown for my-app.codeofficer.com expires on 2027-01-22 (in 60 days)',
    ],
    [],
    { 'my-app.codeofficer.com': Date.parse(inDays(60)) },
  ],
  [
    'the same, and soon',
    [app(), service(), redirect],
    [
      'error the cluster Ingress my-app/my-app: nobody renews the certificate in the Secret my-app-tls: there is no Certificate for it; what is shown for my-app.codeofficer.com expires on 2026-11-24 (in a day)',
    ],
    [],
    { 'my-app.codeofficer.com': Date.parse(inDays(1)) },
  ],
  [
    'the same, and nothing is shown',
    [app(), service(), redirect],
    [
      'warning the cluster Ingress my-app/my-app: nobody renews the certificate in the Secret my-app-tls: there is no Certificate for it',
    ],
  ],
];
for (const [what, live, problems, files = [], expiry] of cases)
  test(what, () =>
    assert.equal(
      lintObjects(inFile(...files), config, cluster(live, expiry)).map(
        ({ level, place, object: of, message }) => `${level} ${place} ${of}: ${message}`,
      ),
      problems,
    ),
  );

test('where the cluster was not seen, only files are judged', () =>
  assert.equal(lintObjects(inFile(app()), config), []));

test.run();
