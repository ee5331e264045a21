import type { Config } from '../config/schema.ts';
import type { KubeObject } from '../step.ts';
import type { Chart } from './helm-chart.ts';

export const CERT_MANAGER = 'cert-manager';
export const CLOUDFLARE_SECRET = { name: 'cloudflare-api-token', key: 'api-token' };

/** The workloads of the chart, all of which must serve before an issuer can be applied. */
export const CERT_MANAGER_WORKLOADS = ['cert-manager', 'cert-manager-webhook', 'cert-manager-cainjector'];

/**
 * Public resolvers that cert-manager asks whether its DNS-01 record is visible. The lab's own resolver may
 * answer for the domain itself (split horizon), and would then never see a record that Cloudflare holds.
 */
const RESOLVERS = ['1.1.1.1:53', '9.9.9.9:53'];

export function certManagerNamespace(): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: CERT_MANAGER } };
}

/** The chart of cert-manager, with its kinds. */
export function certManagerChart({ cert_manager }: Pick<Config['ingress'], 'cert_manager'>): Chart {
  return {
    name: CERT_MANAGER,
    chart: CERT_MANAGER,
    repo: 'https://charts.jetstack.io',
    version: cert_manager,
    namespace: CERT_MANAGER,
    values: {
      crds: { enabled: true },
      extraArgs: ['--dns01-recursive-nameservers-only', `--dns01-recursive-nameservers=${RESOLVERS.join(',')}`],
    },
  };
}

/** The Secret with Cloudflare's token, without the token: a `kube` step puts it in. */
export function cloudflareSecret(): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: CLOUDFLARE_SECRET.name, namespace: CERT_MANAGER },
    type: 'Opaque',
  };
}

const PRODUCTION = 'letsencrypt-prod';
export const STAGING = 'letsencrypt-staging';

/**
 * Let's Encrypt's production issuer (also under homelab.yaml's name, if that is another) and its staging one,
 * which has generous limits and untrusted certificates: for trying things out.
 */
export function clusterIssuers({ ingress, domain }: Pick<Config, 'ingress' | 'domain'>): KubeObject[] {
  return [...new Set([PRODUCTION, STAGING, ingress.issuer])].map((name) => ({
    apiVersion: 'cert-manager.io/v1',
    kind: 'ClusterIssuer',
    metadata: { name },
    spec: {
      acme: {
        server: `https://acme${name === STAGING ? '-staging' : ''}-v02.api.letsencrypt.org/directory`,
        email: ingress.email,
        privateKeySecretRef: { name: `${name}-account` },
        solvers: [
          {
            selector: { dnsZones: [domain] },
            dns01: { cloudflare: { apiTokenSecretRef: { ...CLOUDFLARE_SECRET } } },
          },
        ],
      },
    },
  }));
}
