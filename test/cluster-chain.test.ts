import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from '../lib/conditions.ts';
import { endpointsFromFile } from '../lib/ports/endpoints.ts';
import { realNet } from '../lib/ports/net.ts';
import type { HttpAnswer } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';
import { type Bench, bench, type FakeHost, object, threeNodes } from './cluster-fixture.ts';

type World = { lab: Bench; first: FakeHost; second: FakeHost; gpu: FakeHost; nas: string; allowed: Set<string> };

const test = suite<World>('cluster chain');
test.before.each(async (world) => {
  world.allowed = new Set(['10.20.11.80', '10.20.11.81', '10.20.11.85']);
  world.lab = await bench({
    provisionNfs: (server, share, subdir, client) => {
      if (server !== '10.20.10.20') return { ok: false, message: 'mount.nfs: No route to host' };
      if (!world.allowed.has(client))
        return { ok: false, message: `mount.nfs: access denied by server while mounting ${server}:${share}` };
      const folder = join(world.nas, subdir);
      mkdirSync(folder, { recursive: true });
      return { ok: true, folder };
    },
  });
  world.nas = join(world.lab.folder, 'nas');
  Object.assign(world, await threeNodes(world.lab));
  await world.lab.cluster.settle();
});
test.after.each(async ({ lab }) => lab.close());

const chart = (name: string, repo: string, version: string, targetNamespace: string, valuesContent = ''): KubeObject =>
  object('helm.cattle.io/v1', 'HelmChart', name, 'kube-system', {
    spec: { chart: name, repo, version, targetNamespace, failurePolicy: 'abort', valuesContent },
  });
const namespace = (name: string): KubeObject => object('v1', 'Namespace', name, undefined, {});
const METALLB = chart(
  'metallb',
  'https://metallb.github.io/metallb',
  '0.16.1',
  'metallb-system',
  'frrk8s:\n  enabled: false\n',
);
const pool = (range: string): KubeObject[] => [
  object('metallb.io/v1beta1', 'IPAddressPool', 'homelab', 'metallb-system', { spec: { addresses: [range] } }),
  object('metallb.io/v1beta1', 'L2Advertisement', 'homelab', 'metallb-system', {
    spec: { ipAddressPools: ['homelab'] },
  }),
];
const app = (name: string, ns: string, type = 'ClusterIP'): KubeObject[] => [
  object('apps/v1', 'Deployment', name, ns, {
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'web', image: 'nginx:1.29' }] } },
    },
  }),
  object('v1', 'Service', name, ns, {
    spec: { type, selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
  }),
];

async function must(lab: Bench, host: FakeHost, ...objects: KubeObject[]): Promise<void> {
  for (let left = 50; ; left--) {
    const result = await lab.apply(host, ...objects);
    if (result.code === 0) break;
    if (left === 0 || !/webhook|no matches/.test(result.stderr ?? '')) throw new Error(result.stderr);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await lab.cluster.settle();
}

async function withMetallb({ lab, first }: World, range = '10.20.11.200-10.20.11.220'): Promise<void> {
  await must(lab, first, namespace('metallb-system'), METALLB);
  await must(lab, first, ...pool(range));
}

async function withCertManager({ lab, first }: World): Promise<void> {
  await must(
    lab,
    first,
    namespace('cert-manager'),
    chart('cert-manager', 'https://charts.jetstack.io', 'v1.21.2', 'cert-manager', 'crds:\n  enabled: true\n'),
  );
  await must(
    lab,
    first,
    object('v1', 'Secret', 'cloudflare-api-token', 'cert-manager', { stringData: { 'api-token': 'x' } }),
    object('cert-manager.io/v1', 'ClusterIssuer', 'letsencrypt-prod', undefined, {
      spec: {
        acme: {
          server: 'https://acme-v02.api.letsencrypt.org/directory',
          email: 'a@codeofficer.com',
          privateKeySecretRef: { name: 'letsencrypt-prod-account' },
          solvers: [
            {
              selector: { dnsZones: ['codeofficer.com'] },
              dns01: { cloudflare: { apiTokenSecretRef: { name: 'cloudflare-api-token', key: 'api-token' } } },
            },
          ],
        },
      },
    }),
  );
}

const MIDDLEWARE = object('traefik.io/v1alpha1', 'Middleware', 'redirect-https', 'default', {
  spec: { redirectScheme: { scheme: 'https', permanent: true } },
});

function ingress(name: string, host: string, annotations: Record<string, string> = {}): KubeObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      name,
      namespace: 'my-app',
      annotations: {
        'cert-manager.io/cluster-issuer': 'letsencrypt-prod',
        'traefik.ingress.kubernetes.io/router.middlewares': 'default-redirect-https@kubernetescrd',
        ...annotations,
      },
    },
    spec: {
      ingressClassName: 'traefik',
      tls: [{ hosts: [host], secretName: `${name}-tls` }],
      rules: [
        {
          host,
          http: {
            paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name: 'my-app', port: { number: 80 } } } }],
          },
        },
      ],
    },
  };
}

async function get({ lab }: World, url: string, address: string): Promise<HttpAnswer> {
  const net = realNet(endpointsFromFile(join(lab.folder, 'endpoints.json'), () => {}));
  const answer = await net.http(url, { address, ca: lab.ca.certificate });
  if (!answer.ok) throw new Error(answer.reason);
  return answer.value;
}

const addressOf = async (lab: Bench, host: FakeHost, name: string, ns: string): Promise<unknown> =>
  at(await lab.json(host, ['svc', name, '-n', ns]), 'status.loadBalancer.ingress.0.ip');

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

const claim = (name: string, storageClassName?: string): KubeObject =>
  object('v1', 'PersistentVolumeClaim', name, 'default', {
    spec: {
      accessModes: ['ReadWriteOnce'],
      ...(storageClassName ? { storageClassName } : {}),
      resources: { requests: { storage: '1Gi' } },
    },
  });
const writer = (name: string, claimName: string): KubeObject =>
  object('batch/v1', 'Job', name, 'default', {
    spec: {
      backoffLimit: 0,
      template: {
        spec: {
          restartPolicy: 'Never',
          containers: [
            {
              name: 'w',
              image: 'busybox:1.37',
              command: ['sh', '-c', 'echo proof > /data/file && cat /data/file'],
              volumeMounts: [{ name: 'data', mountPath: '/data' }],
            },
          ],
          volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
        },
      },
    },
  });
const CLASS = object('storage.k8s.io/v1', 'StorageClass', 'nfs-client', undefined, {
  provisioner: 'nfs.csi.k8s.io',
  parameters: {
    server: '10.20.10.20',
    share: '/var/nfs/shared/K3sStorage',
    subDir: '${pvc.metadata.namespace}-${pvc.metadata.name}',
    onDelete: 'retain',
  },
});
const CSI = chart(
  'csi-driver-nfs',
  'https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts',
  '4.13.4',
  'kube-system',
);

test('storage: nfs binds at once into {namespace}-{pvc}, local-path when somebody uses it', async (world) => {
  const { lab, first, nas } = world;
  await must(lab, first, CSI, CLASS, claim('media', 'nfs-client'), claim('database'));
  const phase = async (name: string) => at(await lab.json(first, ['pvc', name]), 'status.phase');
  assert.equal([await phase('media'), await phase('database')], ['Bound', 'Pending']);
  assert.ok(existsSync(join(nas, 'default-media')));
  await must(lab, first, writer('w1', 'media'), writer('w2', 'database'));
  assert.is(await phase('database'), 'Bound');
  assert.is(at(await lab.json(first, ['job', 'w1']), 'status.succeeded'), 1);
  assert.is(readFileSync(join(nas, 'default-media', 'file'), 'utf8'), 'proof\n');
  assert.is((await lab.kubectl(first, ['logs', 'job/w2'])).stdout, 'proof\n');
  assert.is((await lab.kubectl(first, ['delete', 'pvc', 'media', 'database', '--timeout=5s'])).code, 0);
  assert.ok(existsSync(join(nas, 'default-media')), 'onDelete: retain');
  assert.match(
    (await lab.apply(first, { ...CLASS, parameters: { server: 'other' } })).stderr ?? '',
    /updates to parameters are forbidden/,
  );
});

test('storage: a node that the NAS does not know gets no volume, and is told why', async (world) => {
  const { lab, first, allowed } = world;
  allowed.clear();
  await must(lab, first, CSI, CLASS, claim('media', 'nfs-client'));
  assert.is(at(await lab.json(first, ['pvc', 'media']), 'status.phase'), 'Pending');
  assert.match(JSON.stringify(await lab.json(first, ['events'])), /access denied by server while mounting/);
  allowed.add('10.20.11.80').add('10.20.11.81');
  for (let left = 50; left > 0 && at(await lab.json(first, ['pvc', 'media']), 'status.phase') !== 'Bound'; left--)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(at(await lab.json(first, ['pvc', 'media']), 'status.phase'), 'Bound');
});

test('pods stay off the tainted node', async ({ lab, first }) => {
  await must(lab, first, namespace('my-app'), ...app('my-app', 'my-app'));
  await lab.kubectl(first, ['scale', 'deployment', 'my-app', '-n', 'my-app', '--replicas=4']);
  await lab.cluster.settle();
  const { items } = (await lab.json(first, ['pods', '-n', 'my-app'])) as { items: unknown[] };
  assert.is(items.length, 4);
  assert.not.ok(items.some((pod) => at(pod, 'spec.nodeName') === 'k3s-gpu-01'));
  const picky = app('picky', 'my-app')[0] as KubeObject;
  Object.assign(at(picky, 'spec.template.spec') as object, { nodeSelector: { 'nvidia.com/gpu.present': 'true' } });
  await must(lab, first, picky);
  assert.match(
    JSON.stringify(await lab.json(first, ['events', '-n', 'my-app'])),
    /untolerated taint\(s\) \{dedicated: gpu\}/,
  );
});

test('pods of a lost node are replaced on another', async (world) => {
  const { lab, first, gpu } = world;
  const tolerant = app('tolerant', 'default')[0] as KubeObject;
  const spec = at(tolerant, 'spec.template.spec') as object;
  Object.assign(spec, { tolerations: [{ operator: 'Exists' }] });
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) await lab.kubectl(first, ['cordon', name]);
  await must(lab, first, tolerant);
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) await lab.kubectl(first, ['uncordon', name]);
  const node = async (): Promise<unknown> => {
    const { items } = (await lab.json(first, ['pods', '-l', 'app=tolerant'])) as { items: unknown[] };
    return items.length === 1 && at(items[0], 'status.phase') === 'Running' ? at(items[0], 'spec.nodeName') : undefined;
  };
  assert.is(await node(), 'k3s-gpu-01');
  await lab.cluster.units.get('k3s-agent')?.stop(gpu);
  for (let left = 100; left > 0 && !/cp/.test(String(await node())); left--)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.match(String(await node()), /^k3s-cp-0/);
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
