import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type IngressClusterSeen, type IngressSeen, planIngress } from '../lib/plan/ingress.ts';
import { CERT_MANAGER_WORKLOADS, certManagerChart, clusterIssuers } from '../lib/render/cert-manager.ts';
import { helmChart } from '../lib/render/helm-chart.ts';
import { middlewareObject, middlewareYaml } from '../lib/render/ingress.ts';
import { inOrder } from '../lib/step.ts';
import { ingressProofs } from '../lib/verify/ingress.ts';
import { labWith } from './k3s-fixtures.ts';

const lab = labWith();
const { ingress } = lab.config;
const ready = { conditions: [{ type: 'Ready', status: 'True' }] };
const issuers = clusterIssuers(lab.config).map((issuer) => ({ ...issuer, status: ready }));
const cluster: IngressClusterSeen = {
  // As the API server labels each.
  namespace: {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'cert-manager', labels: { 'kubernetes.io/metadata.name': 'cert-manager' } },
  },
  chart: { chart: helmChart(certManagerChart(ingress)), rolledOut: true },
  token: 'same',
  issuers,
  middleware: middlewareObject(ingress),
};
const done: IngressSeen = { middlewareFile: middlewareYaml(ingress), cluster: { ok: true, value: cluster } };
const inCluster = (change: Partial<IngressClusterSeen>): Partial<IngressSeen> => ({
  cluster: { ok: true, value: { ...cluster, ...change } },
});

const Planning = suite('plan of setup-ingress');
const all = [
  'middleware: absent',
  'cert-manager/namespace: absent',
  'cert-manager/chart: absent',
  'cert-manager/installed: absent',
  'cert-manager/rollout: absent',
  'cert-manager/token: absent',
  'issuer/letsencrypt-prod: absent',
  'issuer/letsencrypt-prod/ready: absent',
  'issuer/letsencrypt-staging: absent',
  'issuer/letsencrypt-staging/ready: absent',
];
const nothing: Partial<IngressClusterSeen> = {
  ...{ namespace: undefined, chart: { rolledOut: false }, token: 'absent', issuers: [], middleware: undefined },
};
const [production, staging] = issuers as [(typeof issuers)[0], (typeof issuers)[0]];
const cases: [what: string, seen: Partial<IngressSeen>, steps: string[], notes?: string[]][] = [
  ['everything as it should be', {}, []],
  ['nothing there', { middlewareFile: undefined, ...inCluster(nothing) }, ['middleware/file: absent', ...all]],
  [
    'the cluster is down',
    { cluster: { ok: false, reason: 'down' } },
    all,
    ['blocker: the cluster does not answer: down'],
  ],
  ['another token in .env', inCluster({ token: 'differs' }), ['cert-manager/token: differs']],
  ['the file was edited', { middlewareFile: 'x' }, ['middleware/file: differs']],
  [
    'the redirect is not permanent',
    inCluster({
      middleware: { ...middlewareObject(ingress), spec: { redirectScheme: { scheme: 'https', permanent: false } } },
    }),
    ['middleware: spec.redirectScheme.permanent differs'],
  ],
  [
    'an issuer is not Ready',
    inCluster({
      issuers: [
        production,
        {
          ...staging,
          status: { conditions: [{ type: 'Ready', status: 'False', reason: 'ErrRegister', message: 'no DNS' }] },
        },
      ],
    }),
    ['issuer/letsencrypt-staging/ready: not Ready: ErrRegister: no DNS'],
  ],
  [
    'another version',
    inCluster({ chart: { chart: helmChart(certManagerChart({ cert_manager: 'v1.20.0' })), rolledOut: true } }),
    [
      'cert-manager/chart: spec.version differs',
      'cert-manager/installed: spec.version differs',
      'cert-manager/rollout: spec.version differs',
    ],
  ],
];
for (const [what, seen, steps, notes = []] of cases)
  Planning(what, () => {
    const plan = planIngress(lab, { ...done, ...seen });
    assert.equal(
      inOrder(plan).map(({ id, why }) => `${id}: ${why}`),
      steps,
    );
    assert.equal(
      plan.notes.map(({ level, text }) => `${level}: ${text}`),
      notes,
    );
  });

Planning('an issuer waits for the webhook and the token', () => {
  const { steps } = planIngress(lab, { ...done, ...inCluster(nothing) });
  const issuer = steps.find(({ id }) => id === 'issuer/letsencrypt-prod');
  assert.equal(issuer?.after, ['cert-manager/rollout', 'cert-manager/token']);
});
Planning('the plan names the token and does not hold it', () => {
  const { steps } = planIngress(lab, { ...done, ...inCluster({ token: 'absent' }) });
  assert.equal(
    steps.map(({ action }) => action.kind === 'kube' && action.secrets),
    [{ 'api-token': { secret: 'CLOUDFLARE_API_TOKEN' } }],
  );
});
Planning('the issuers are those of Let’s Encrypt, by DNS-01 for the domain', () => {
  const text = JSON.stringify(issuers);
  for (const word of [
    'https://acme-v02.api.letsencrypt.org/directory',
    'https://acme-staging-v02.api.letsencrypt.org/directory',
    '"email":"admin@codeofficer.com"',
    '"dnsZones":["codeofficer.com"]',
    '"apiTokenSecretRef":{"name":"cloudflare-api-token","key":"api-token"}',
  ])
    assert.ok(text.includes(word), word);
});
Planning('the chart brings its kinds and asks public resolvers', () => {
  const { spec } = helmChart(certManagerChart(ingress)) as { spec?: { valuesContent?: string } };
  assert.is(
    spec?.valuesContent,
    'crds:\n  enabled: true\nextraArgs:\n  - --dns01-recursive-nameservers-only\n  - --dns01-recursive-nameservers=1.1.1.1:53,9.9.9.9:53\n',
  );
});
Planning('the committed middleware is the one that is written', () => {
  assert.is(readFileSync('applications/traefik/middleware.yaml', 'utf8'), middlewareYaml(ingress));
});
Planning.run();

const Proving = suite('proofs of setup-ingress');
const disproved = (change: Partial<IngressSeen>): string[] =>
  ingressProofs(lab, { ...done, ...change })
    .filter(({ ok }) => !ok)
    .map(({ claim, detail }) => `${claim}: ${detail}`);
Proving('all hold', () => {
  assert.equal(disproved({}), []);
  assert.is(CERT_MANAGER_WORKLOADS.length, 3);
});
Proving('none hold', () =>
  assert.equal(disproved(inCluster(nothing)), [
    'cert-manager v1.21.2 serves: its Deployments are not ready',
    "cert-manager has .env's Cloudflare token: absent",
    'ClusterIssuer letsencrypt-prod is Ready: absent',
    'ClusterIssuer letsencrypt-staging is Ready: absent',
    'Middleware default/redirect-https redirects to HTTPS: absent',
  ]),
);
Proving('no cluster', () =>
  assert.equal(disproved({ cluster: { ok: false, reason: 'down' } }), ['the cluster answers: down']),
);
Proving.run();
