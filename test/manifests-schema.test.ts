import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { messageOf } from '../lib/errors.ts';
import { titleOf } from '../lib/kube-object.ts';
import { TOOLKIT } from '../lib/paths.ts';
import type { KubeObject } from '../lib/step.ts';
import { LABS, type Sent, sentBy, written } from './kube-objects.ts';
import { type Check, moduleFolders, schemaCheck } from './kube-schemas.ts';
import { gate } from './pve-fixture.ts';

/** Whatever the scripts send to the cluster, or write for Flux, has the form that the API asks for. */
const test = suite('manifests');

const sent: Sent[] = [];
for (const [what, lab] of LABS)
  for (const each of [...(await sentBy(lab)), ...written(lab)]) sent.push({ ...each, from: `${each.from}, ${what}` });

/** Everything that we send is one of these; who adds a kind adds it here, so that nothing is left out unseen. */
const OURS: Record<string, string[]> = {
  'install-metallb': ['HelmChart', 'IPAddressPool', 'L2Advertisement', 'Namespace'],
  "install-metallb's proof": ['Deployment', 'Namespace', 'Service'],
  'setup-nfs': ['HelmChart', 'StorageClass'],
  "setup-nfs's proof": ['Namespace', 'PersistentVolumeClaim', 'Pod'],
  'setup-ingress': ['ClusterIssuer', 'HelmChart', 'Middleware', 'Namespace', 'Secret'],
  'new-ingress': ['Ingress'],
  'backup-postgres install': [...['ConfigMap', 'Namespace', 'PersistentVolume', 'PersistentVolumeClaim', 'Secret']],
  "backup-postgres install's proof": ['ConfigMap', 'CronJob', 'Job'],
  'applications/traefik/middleware.yaml': ['Middleware'],
};
const kinds = [...new Set(sent.map(({ object }) => object.kind))].sort();

test('they come from every script that sends some', () => {
  const found: Record<string, string[]> = {};
  for (const { from, object } of sent) {
    const who = from.split(', ')[0]!;
    if (who in OURS) found[who] = [...new Set([...(found[who] ?? []), object.kind])].sort();
  }
  assert.equal(found, OURS);
});

test('no object in the code is of another kind', () => {
  const named = sources().flatMap(([, text]) =>
    [...text.matchAll(/kind: '(\w+)',\s+metadata\b/g)].map(([, kind]) => kind!),
  );
  assert.ok(named.length > 5);
  // A Node is only deleted, where it is.
  assert.equal(
    named.filter((kind) => !kinds.includes(kind) && kind !== 'Node'),
    [],
  );
});

/** By kubernetes-models, which knows types and what must be there, and nothing of unknown fields. */
const models: Check = (object) => {
  const { [object.kind]: Model } = createRequire(import.meta.url)(
    `kubernetes-models/${object.apiVersion}/${object.kind}`,
  ) as Record<string, new (data: unknown) => { validate(): void }>;
  try {
    new Model!(object).validate();
    return [];
  } catch (error) {
    return [messageOf(error)];
  }
};
const isCore = ({ apiVersion }: KubeObject): boolean => !apiVersion.includes('.') || /\.k8s\.io\//.test(apiVersion);

test('kinds of Kubernetes are what its models accept', () => {
  const core = sent.filter(({ object }) => isCore(object));
  assert.ok(core.length > 10);
  assert.equal(problems(core, models), []);
});

const folders = await moduleFolders();
const missing = typeof folders === 'string' ? folders : undefined;
const crds = gate(test, 'crds', missing);
const check: Check = typeof folders === 'string' ? () => [folders] : schemaCheck(folders, kinds);

crds('every kind is what the pinned API and definitions accept, and has no field that they do not declare', () => {
  assert.equal(problems(sent, check), []);
});

crds('every kind that the scripts ask for is one of the pinned API', () => {
  const asked = new Set(
    sources().flatMap(([, text]) =>
      [...text.matchAll(/apiVersion: ('[\w./]+'|[A-Z_]+),\s+kind: '(\w+)'/g)].map(([, version, kind]) => {
        const fixed = version!.startsWith("'") ? version : new RegExp(`const ${version} = ('[^']+')`).exec(text)?.[1];
        return `${fixed?.slice(1, -1)} ${kind}`;
      }),
    ),
  );
  assert.ok(asked.has('metallb.io/v1beta1 ServiceL2Status') && asked.has('acme.cert-manager.io/v1 Order'));
  const known = schemaCheck(
    folders as Record<string, string>,
    [...asked].map((one) => one.split(' ')[1]!),
  );
  const unknown = [...asked].filter((one) => {
    const [apiVersion = '', kind = ''] = one.split(' ');
    return known({ apiVersion, kind, metadata: { name: 'x' } }).some((problem) => problem.startsWith('no schema'));
  });
  // Of kubectl, not of the API.
  assert.equal(unknown, ['v1 List']);
});

type Break = (object: { spec?: object }) => Record<string, unknown>;
const spec =
  (change: Record<string, unknown>): Break =>
  ({ spec: old }) => ({ spec: { ...old, ...change } });

/** One thing broken in an object of ours, and who sees it. */
const BROKEN: [what: string, kind: string, change: Break, seen: { models?: RegExp; schemas: RegExp }][] = [
  ['a label that is a number', 'Namespace', () => meta({ labels: { a: 1 } }), both(/metadata\/labels\/a.*string/)],
  ['no provisioner', 'StorageClass', () => ({ provisioner: undefined }), both(/provisioner/)],
  ['a parameter that is no text', 'StorageClass', () => ({ parameters: { a: true } }), both(/parameters\/a.*string/)],
  ['a port that is text', 'Service', spec({ ports: [{ port: '80' }] }), both(/ports\/0\/port.*integer/)],
  ['no selector', 'Deployment', ({ spec: old }) => ({ spec: { ...old, selector: undefined } }), both(/selector/)],
  ['no pathType', 'Ingress', spec({ rules: [{ http: { paths: [{ backend: {} }] } }] }), both(/pathType/)],
  ['tls that is no list', 'Ingress', spec({ tls: {} }), both(/spec\/tls.*array/)],
  [
    'an unknown field',
    'PersistentVolumeClaim',
    spec({ storageClasName: 'x' }),
    { schemas: /^\/spec\/storageClasName: is no field$/ },
  ],
  [
    'an unknown field of metadata',
    'Secret',
    () => meta({ label: {} }),
    { schemas: /^\/metadata\/label: is no field$/ },
  ],
  [
    'a token that is not base64',
    'Secret',
    () => ({ data: { 'api-token': 'ä' } }),
    { schemas: /data\/api-token.*byte/ },
  ],
  ['an unknown field', 'IPAddressPool', spec({ adresses: [] }), { schemas: /^\/spec\/adresses: is no field$/ }],
  ['no addresses', 'IPAddressPool', () => ({ spec: {} }), { schemas: /required property 'addresses'/ }],
  [
    'pools that are no list',
    'L2Advertisement',
    () => ({ spec: { ipAddressPools: 'a' } }),
    { schemas: /ipAddressPools.*array/ },
  ],
  [
    'an unknown field',
    'Middleware',
    () => ({ spec: { redirectScheme: { schema: 'https' } } }),
    { schemas: /^\/spec\/redirectScheme\/schema: is no field$/ },
  ],
  [
    'a secret without a name',
    'ClusterIssuer',
    () => ({ spec: { acme: { server: 's', privateKeySecretRef: {} } } }),
    { schemas: /privateKeySecretRef.*'name'/ },
  ],
  ['a policy that there is not', 'HelmChart', spec({ failurePolicy: 'give up' }), { schemas: /failurePolicy.*equal/ }],
  [
    'another version of the kind',
    'HelmChart',
    () => ({ apiVersion: 'helm.cattle.io/v2' }),
    { schemas: /no schema of helm\.cattle\.io\/v2 HelmChart/ },
  ],
];

for (const [what, kind, change, seen] of BROKEN) {
  const good = sent.find(({ object }) => object.kind === kind)!.object;
  const bad = { ...good, ...change(good as { spec?: object }) } as KubeObject;
  if (seen.models)
    test(`the models refuse ${what} in a ${kind}`, () => assert.match(models(bad).join('\n'), seen.models!));
  crds(`the schemas refuse ${what} in a ${kind}`, () => assert.match(check(bad).join('\n'), seen.schemas));
}

test.run();

function both(words: RegExp): { models: RegExp; schemas: RegExp } {
  return { models: words, schemas: words };
}

function meta(change: Record<string, unknown>): Record<string, unknown> {
  return { metadata: { name: 'x', ...change } };
}

/** The code of the scripts, without the embedded lab: names and texts. */
function sources(): [string, string][] {
  const folder = join(TOOLKIT, 'lib');
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names
    .filter((name) => /^(?!lab\/).*\.ts$/.test(name))
    .map((name) => [name, readFileSync(join(folder, name), 'utf8')]);
}

function problems(objects: readonly Sent[], check: Check): string[] {
  return objects.flatMap(({ from, object }) =>
    check(object).map((problem) => `${from}: ${titleOf(object)}: ${problem}`),
  );
}
