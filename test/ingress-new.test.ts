import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../lib/config/load.ts';
import { UsageError } from '../lib/errors.ts';
import { labPaths } from '../lib/paths.ts';
import {
  type ClusterSeen,
  type NewIngressArgs,
  type NewIngressSeen,
  planNewIngress,
  readCall,
} from '../lib/plan/new-ingress.ts';
import type { HttpAnswer } from '../lib/ports/types.ts';
import { callOf, ingressObject, ingressYaml, middlewareRef, middlewareYaml } from '../lib/render/ingress.ts';
import { objectsOf } from '../lib/render/manifests.ts';
import { inOrder, type KubeObject } from '../lib/step.ts';
import { judgePage, judgeRedirect } from '../lib/verify/new-ingress.ts';

const { config } = loadConfig('homelab.yaml');
const lab = { config, paths: labPaths('/lab/homelab.yaml', config.name) };
const convention = config.ingress;

/** The convention's example, as its document has it. */
const EXAMPLE = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: my-app
  namespace: my-app
  annotations:
    cert-manager.io/cluster-issuer: letsencrypt-prod
    traefik.ingress.kubernetes.io/router.middlewares: default-redirect-https@kubernetescrd
spec:
  ingressClassName: traefik
  tls:
    - hosts:
        - myapp.codeofficer.com
      secretName: my-app-tls
  rules:
    - host: myapp.codeofficer.com
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: my-app
                port:
                  number: 8080
`;

const args: NewIngressArgs = {
  name: 'my-app',
  host: 'myapp.codeofficer.com',
  service: 'my-app',
  port: '8080',
  apply: false,
  force: false,
  probe: '/',
};
const call = readCall(args);

const Render = suite('ingress.yaml');
Render('the example of the convention, byte for byte', () => assert.is(ingressYaml(call, convention), EXAMPLE));
Render('its call is read back', () => assert.equal(callOf(EXAMPLE), call));
Render('an edited file has none', () => {
  for (const edited of [`# mine\n${EXAMPLE}`, EXAMPLE.replace('8080', '"8080"'), EXAMPLE.trimEnd(), '', 'a: [', '5'])
    assert.is(callOf(edited), undefined, edited.slice(0, 20));
});
Render('words that YAML would read as something else are quoted', () => {
  const odd = { name: 'true', namespace: '123', host: '1.2', service: 'null', port: 80 };
  const [object] = objectsOf(ingressYaml(odd, convention)).objects;
  assert.equal(object, ingressObject(odd, convention));
  assert.equal(callOf(ingressYaml(odd, convention)), odd);
});
Render('the middleware is that which the annotation names', () => {
  assert.equal(middlewareRef(convention.middleware), { namespace: 'default', name: 'redirect-https' });
  assert.is(
    middlewareYaml(convention),
    'apiVersion: traefik.io/v1alpha1\nkind: Middleware\nmetadata:\n  name: redirect-https\n  namespace: default\nspec:\n  redirectScheme:\n    scheme: https\n    permanent: true\n',
  );
});
Render.run();

const Call = suite('the call of new-ingress');
const wrong: [Partial<NewIngressArgs>, string][] = [
  [{ name: '../x' }, 'NAME "../x" is not a DNS label; use lower-case letters, digits and "-" (at most 63)'],
  [{ service: 'My_App' }, '--service "My_App" is not a DNS label; use lower-case letters, digits and "-" (at most 63)'],
  [{ namespace: 'a.b' }, '--namespace "a.b" is not a DNS label; use lower-case letters, digits and "-" (at most 63)'],
  [
    { host: '10.20.11.80' },
    '--host "10.20.11.80" is an IP address; an ingress routes by name; give a DNS name, such as myapp.example.com',
  ],
  [{ host: 'a.b:80' }, '--host "a.b:80" has a port; an ingress listens on 80 and 443; did you mean a.b?'],
  ...['0', '65536', '-1', '08', '80.0', 'http', '', '1e3'].map((port): [Partial<NewIngressArgs>, string] => [
    { port },
    `--port "${port}" is not a port; give the Service's port by its number, 1 to 65535`,
  ]),
  [{ probe: 'healthz' }, '--probe "healthz" is not a path; it starts with "/"'],
];
for (const [change, message] of wrong)
  Call(JSON.stringify(change), () =>
    assert.throws(
      () => readCall({ ...args, ...change }),
      (error: unknown) => error instanceof UsageError && error.message === message,
    ),
  );
Call('everything that is wrong at once', () =>
  assert.throws(
    () => readCall({ ...args, name: 'X', host: 'x', port: 'x' }),
    (error: unknown) => error instanceof UsageError && error.message.split('\n').length === 3,
  ),
);
Call('65535 and a namespace of its own', () =>
  assert.equal(readCall({ ...args, port: '65535', namespace: 'apps' }), { ...call, port: 65535, namespace: 'apps' }),
);
Call.run();

const Planning = suite('plan of new-ingress');

const ready = { status: { conditions: [{ type: 'Ready', status: 'True' }] } };
const object = (kind: string, name: string, rest: Record<string, unknown> = {}): KubeObject => ({
  apiVersion: 'x/v1',
  kind,
  metadata: { name, namespace: 'my-app' },
  ...rest,
});
const service = object('Service', 'my-app', { spec: { ports: [{ port: 8080 }] } });
const cluster: ClusterSeen = {
  ingresses: [],
  services: [service],
  middleware: true,
  issuer: object('ClusterIssuer', 'letsencrypt-prod', ready),
  issuance: { state: 'waiting', seen: 'cert-manager has made no Certificate yet' },
};
const certified = object('Certificate', 'my-app-tls', ready);
const owned = {
  ...certified,
  metadata: { ...certified.metadata, ownerReferences: [{ kind: 'Ingress', name: 'my-app' }] },
};
const refused = 'Challenge for myapp.codeofficer.com: Invalid access token';
const nothing: NewIngressSeen = { applications: [], unreadable: [], cluster: { ok: true, value: cluster } };
const live = ingressObject(call, convention);
const down = { ok: false as const, reason: 'no server answers' };

type Case = [
  what: string,
  seen: Partial<NewIngressSeen>,
  args: Partial<NewIngressArgs>,
  steps: string[],
  notes: string[],
];
const other = (name: string, host: string, namespace = name): KubeObject =>
  ingressObject({ ...call, name, host, namespace }, convention);
const inFile = (place: string, ingress: KubeObject): Partial<NewIngressSeen> => ({
  applications: [{ place, object: ingress }],
});
const inCluster = (change: Partial<ClusterSeen>): Partial<NewIngressSeen> => ({
  cluster: { ok: true, value: { ...cluster, ...change } },
});
const cases: Case[] = [
  ['nothing there', {}, {}, ['file: absent'], []],
  ['the file is there', { text: EXAMPLE }, {}, [], []],
  ['another port', { text: EXAMPLE.replace('8080', '80') }, {}, ['file: port was 80'], []],
  [
    'another issuer then',
    { text: EXAMPLE.replace('letsencrypt-prod', 'old') },
    {},
    ["file: homelab.yaml's convention has changed"],
    [],
  ],
  [
    'edited',
    { text: `# mine\n${EXAMPLE}` },
    {},
    [],
    ['blocker: /lab/applications/my-app/ingress.yaml was edited by hand'],
  ],
  [
    'edited so that HTTP is not redirected',
    {
      text: EXAMPLE.replace(
        'annotations:',
        'annotations:\n    traefik.ingress.kubernetes.io/router.entrypoints: websecure',
      ),
    },
    {},
    [],
    [
      'blocker: /lab/applications/my-app/ingress.yaml was edited by hand, and traefik.ingress.kubernetes.io/router.entrypoints is websecure: HTTP answers 404 instead of a redirect',
    ],
  ],
  ['edited, forced', { text: `# mine\n${EXAMPLE}` }, { force: true }, ['file: edited by hand; --force'], []],
  [
    'host claimed by a file',
    inFile('applications/b/ingress.yaml', other('b', call.host)),
    {},
    ['file: absent'],
    ['blocker: host myapp.codeofficer.com is already claimed by Ingress b/b (applications/b/ingress.yaml)'],
  ],
  [
    'secretName claimed by a file',
    inFile('applications/b/x.yaml', other('my-app', 'b.codeofficer.com')),
    {},
    ['file: absent'],
    ['blocker: secretName my-app/my-app-tls is already claimed by Ingress my-app/my-app (applications/b/x.yaml)'],
  ],
  [
    'the same name in another namespace',
    inFile('b.yaml', other('my-app', 'b.codeofficer.com', 'b')),
    {},
    ['file: absent'],
    [],
  ],
  [
    'host claimed in the cluster',
    inCluster({ ingresses: [other('b', call.host)] }),
    {},
    ['file: absent'],
    ['blocker: host myapp.codeofficer.com is already claimed by Ingress b/b (the cluster)'],
  ],
  ['its own Ingress lives', inCluster({ ingresses: [live] }), {}, ['file: absent'], []],
  [
    'the cluster is down',
    { cluster: down },
    {},
    ['file: absent'],
    ['warning: the cluster was not asked whether myapp.codeofficer.com is free: no server answers'],
  ],
  [
    'the cluster is down, to be applied',
    { cluster: down },
    { apply: true },
    ['file: absent'],
    ['blocker: --apply: the cluster does not answer: no server answers'],
  ],
  [
    'a file that does not parse',
    { unreadable: [{ file: 'applications/c.yaml', reason: 'bad' }] },
    {},
    ['file: absent'],
    ['warning: applications/c.yaml could not be read and was not compared: bad'],
  ],
  [
    'outside the domain',
    {},
    { host: 'a.example.com' },
    ['file: absent'],
    ['warning: a.example.com is outside codeofficer.com'],
  ],
  ['to be applied', {}, { apply: true }, ['file: absent', 'ingress: absent', 'certificate: absent'], []],
  [
    'applied, certificate on its way',
    {
      text: EXAMPLE,
      ...inCluster({ ingresses: [live], certificate: owned, issuance: { state: 'waiting', seen: 'Order is pending' } }),
    },
    { apply: true },
    ['certificate: Order is pending'],
    [],
  ],
  [
    'applied and served',
    { text: EXAMPLE, ...inCluster({ ingresses: [live], certificate: owned, issuance: { state: 'ready' } }) },
    { apply: true },
    [],
    [],
  ],
  [
    'its certificate is stuck: asked for anew',
    {
      text: EXAMPLE,
      ...inCluster({ ingresses: [live], certificate: owned, issuance: { state: 'stuck', seen: refused } }),
    },
    { apply: true },
    [`certificate/retry: ${refused}`, `certificate: ${refused}`],
    [],
  ],
  [
    'a stuck certificate that is not of this Ingress is left alone',
    {
      text: EXAMPLE,
      ...inCluster({ ingresses: [live], certificate: certified, issuance: { state: 'stuck', seen: refused } }),
    },
    { apply: true },
    [`certificate: ${refused}`],
    [],
  ],
  [
    'somebody has put an annotation on it that breaks the redirect',
    {
      text: EXAMPLE,
      ...inCluster({
        ...{ certificate: owned, issuance: { state: 'ready' } },
        ingresses: [
          {
            ...live,
            metadata: {
              ...live.metadata,
              annotations: { ...live.metadata.annotations, 'traefik.ingress.kubernetes.io/router.tls': 'true' },
            },
          },
        ],
      }),
    },
    { apply: true },
    [],
    [
      'blocker: Ingress my-app/my-app in the cluster: traefik.ingress.kubernetes.io/router.tls is "true": HTTP answers 404 instead of a redirect',
    ],
  ],
  [
    'no Service',
    { text: EXAMPLE, ...inCluster({ services: [] }) },
    { apply: true },
    ['ingress: absent', 'certificate: absent'],
    ['blocker: namespace my-app has no Service my-app'],
  ],
  [
    'no such port',
    { text: EXAMPLE, ...inCluster({ services: [object('Service', 'my-app', { spec: { ports: [{ port: 80 }] } })] }) },
    { apply: true },
    ['ingress: absent', 'certificate: absent'],
    ['blocker: Service my-app/my-app has no port 8080'],
  ],
  [
    'neither middleware nor issuer',
    { text: EXAMPLE, ...inCluster({ middleware: false, issuer: undefined }) },
    { apply: true },
    ['ingress: absent', 'certificate: absent'],
    [
      'blocker: the Middleware default/redirect-https is not in the cluster: Traefik would answer 404',
      'blocker: the ClusterIssuer letsencrypt-prod is not in the cluster: no certificate would come',
    ],
  ],
  [
    'the issuer is not ready',
    { text: EXAMPLE, ...inCluster({ issuer: object('ClusterIssuer', 'letsencrypt-prod') }) },
    { apply: true },
    ['ingress: absent', 'certificate: absent'],
    ['blocker: the ClusterIssuer letsencrypt-prod is not Ready: no certificate would come'],
  ],
];
for (const [what, seen, change, steps, notes] of cases)
  Planning(what, () => {
    const plan = planNewIngress(lab, { ...nothing, ...seen }, { ...args, ...change });
    assert.equal(
      inOrder(plan).map(({ id, why }) => `${id}: ${why}`),
      steps,
    );
    assert.equal(
      plan.notes.map(({ level, text }) => `${level}: ${text}`),
      notes,
    );
  });
Planning('the nearest Service is suggested', () => {
  const seen = { ...nothing, ...inCluster({ services: [object('Service', 'my-apps')] }) };
  const [note] = planNewIngress(lab, seen, { ...args, apply: true }).notes;
  assert.is(note?.fix, 'did you mean "my-apps"?');
});
Planning.run();

const Judging = suite('what was served');
const answer = (status: number, location = ''): HttpAnswer => ({ status, headers: { location }, body: '' });
const redirects: [number, string | undefined, boolean][] = [
  [301, 'https://a.b/', true],
  [301, 'https://a.b/x', true],
  [301, 'https://a.bc/', false],
  [301, 'http://a.b/', false],
  [302, 'https://a.b/', false],
  [404, undefined, false],
  [200, undefined, false],
];
for (const [status, location, ok] of redirects)
  Judging(`${status} → ${location}`, () => assert.is(judgeRedirect(answer(status, location), 'a.b').ok, ok));

const certificate = { names: ['a.b'], issuer: "Let's Encrypt", validTo: 'May 1', authorized: true };
const STAGED = '(STAGING) Wannabe Watercress R11';
const pages: [number, Partial<typeof certificate>, boolean, string][] = [
  [200, {}, true, "200, certificate for a.b by Let's Encrypt, until May 1"],
  [200, { names: ['*.b'] }, true, "200, certificate for *.b by Let's Encrypt, until May 1"],
  [200, { names: ['x.b'] }, false, "200, certificate for x.b by Let's Encrypt: not for a.b"],
  [200, { authorized: false }, false, "200, certificate for a.b by Let's Encrypt: it does not verify"],
  [
    200,
    { authorized: false, issuer: STAGED },
    false,
    `200, certificate for a.b by ${STAGED}: of letsencrypt-staging, not of letsencrypt-prod; nobody trusts it`,
  ],
  [200, { issuer: 'TRAEFIK DEFAULT CERT' }, false, "200, Traefik's default certificate: its Secret is not there"],
  [503, {}, false, "503: the Service has no ready pods, certificate for a.b by Let's Encrypt"],
  [302, {}, false, "302, certificate for a.b by Let's Encrypt"],
];
for (const [status, change, ok, detail] of pages)
  Judging(detail, () =>
    assert.equal(
      judgePage({ ...answer(status), certificate: { ...certificate, ...change } }, 'a.b', 'letsencrypt-prod'),
      { ok, detail },
    ),
  );
const staged: [what: string, change: Partial<typeof certificate>, ok: boolean, detail: string][] = [
  [
    'untrusted by design',
    { authorized: false, issuer: STAGED },
    true,
    `200, certificate for a.b by ${STAGED}, until May 1, untrusted by design`,
  ],
  [
    'for another name all the same',
    { authorized: false, issuer: STAGED, names: ['x.b'] },
    false,
    `200, certificate for x.b by ${STAGED}: not for a.b`,
  ],
  [
    'of nobody that is known',
    { authorized: false, issuer: 'my own CA' },
    false,
    '200, certificate for a.b by my own CA: it does not verify',
  ],
];
for (const [what, change, ok, detail] of staged)
  Judging(`with the staging issuer: ${what}`, () =>
    assert.equal(
      judgePage({ ...answer(200), certificate: { ...certificate, ...change } }, 'a.b', 'letsencrypt-staging'),
      { ok, detail },
    ),
  );
Judging.run();
