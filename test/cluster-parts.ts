import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { at } from '../lib/loose.ts';
import { endpointsFromFile } from '../lib/ports/endpoints.ts';
import { realNet } from '../lib/ports/net.ts';
import type { HttpAnswer } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';
import { type Bench, bench, type FakeHost, object, threeNodes } from './cluster-fixture.ts';

/** Three nodes, and a NAS that knows whom it lets mount. */
export type ChainWorld = {
  lab: Bench;
  first: FakeHost;
  second: FakeHost;
  gpu: FakeHost;
  nas: string;
  allowed: Set<string>;
};

export async function chainWorld(world: ChainWorld): Promise<void> {
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
}

export const chart = (
  name: string,
  repo: string,
  version: string,
  targetNamespace: string,
  valuesContent = '',
): KubeObject =>
  object('helm.cattle.io/v1', 'HelmChart', name, 'kube-system', {
    spec: { chart: name, repo, version, targetNamespace, failurePolicy: 'abort', valuesContent },
  });
export const namespace = (name: string): KubeObject => object('v1', 'Namespace', name, undefined, {});
export const METALLB = chart(
  'metallb',
  'https://metallb.github.io/metallb',
  '0.16.1',
  'metallb-system',
  'frrk8s:\n  enabled: false\n',
);
export const pool = (range: string): KubeObject[] => [
  object('metallb.io/v1beta1', 'IPAddressPool', 'homelab', 'metallb-system', { spec: { addresses: [range] } }),
  object('metallb.io/v1beta1', 'L2Advertisement', 'homelab', 'metallb-system', {
    spec: { ipAddressPools: ['homelab'] },
  }),
];
export const app = (name: string, ns: string, type = 'ClusterIP'): KubeObject[] => [
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

export async function must(lab: Bench, host: FakeHost, ...objects: KubeObject[]): Promise<void> {
  for (let left = 50; ; left--) {
    const result = await lab.apply(host, ...objects);
    if (result.code === 0) break;
    if (left === 0 || !/webhook|no matches/.test(result.stderr ?? '')) throw new Error(result.stderr);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await lab.cluster.settle();
}

export async function withMetallb({ lab, first }: ChainWorld, range = '10.20.11.200-10.20.11.220'): Promise<void> {
  await must(lab, first, namespace('metallb-system'), METALLB);
  await must(lab, first, ...pool(range));
}

export async function withCertManager({ lab, first }: ChainWorld): Promise<void> {
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

export const MIDDLEWARE = object('traefik.io/v1alpha1', 'Middleware', 'redirect-https', 'default', {
  spec: { redirectScheme: { scheme: 'https', permanent: true } },
});

export function ingress(name: string, host: string, annotations: Record<string, string> = {}): KubeObject {
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

export async function get({ lab }: ChainWorld, url: string, address: string): Promise<HttpAnswer> {
  const net = realNet(endpointsFromFile(join(lab.folder, 'endpoints.json')));
  const answer = await net.http(url, { address, ca: lab.ca.certificate });
  if (!answer.ok) throw new Error(answer.reason);
  return answer.value;
}

export const addressOf = async (lab: Bench, host: FakeHost, name: string, ns: string): Promise<unknown> =>
  at(await lab.json(host, ['svc', name, '-n', ns]), 'status.loadBalancer.ingress.0.ip');
