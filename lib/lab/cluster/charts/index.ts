import { parse } from 'yaml';
import { crdKinds, definitionOf } from '../api/kinds.ts';
import { isRecord, type Thing, textAt, valueAt } from '../api/thing.ts';
import { daemonSet, deployment, EVERYWHERE, ON_CONTROL_PLANE, service, serviceAccount } from './parts.ts';

export type Release = { name: string; namespace: string; version: string; values: Record<string, unknown> };

type Chart = {
  /** Repositories, and OCI references, in which it is published. */
  home: RegExp;
  version: RegExp;
  objects: (release: Release) => Thing[];
};

const CHARTS: Record<string, Chart> = {
  metallb: { home: /^https:\/\/metallb\.github\.io\/metallb\/?$/, version: /^v?0\.\d+\.\d+$/, objects: metallb },
  'cert-manager': {
    home: /^(https:\/\/charts\.jetstack\.io\/?|oci:\/\/quay\.io\/jetstack\/charts\/cert-manager)$/,
    version: /^v?1\.\d+\.\d+$/,
    objects: certManager,
  },
  'csi-driver-nfs': {
    home: /^https:\/\/raw\.githubusercontent\.com\/kubernetes-csi\/csi-driver-nfs\/[\w.-]+\/charts\/?$/,
    version: /^v?4\.\d+\.\d+$/,
    objects: csiDriverNfs,
  },
};

/** What K3s ships itself: charts in its own files. */
const BUNDLED: Record<string, (release: Release) => Thing[]> = {
  'traefik-crd': () => crdKinds.traefik.map(definitionOf),
  traefik,
};

/**
 * What helm would install.
 * @returns the chart's objects, or helm's words why there are none
 */
export function render(spec: unknown, name: string, namespace: string): { objects: Thing[] } | { failure: string } {
  const chart = textAt(spec, 'chart');
  const repo = textAt(spec, 'repo');
  const version = textAt(spec, 'version');
  const base = chart.split('/').at(-1) ?? '';
  const values = valuesOf(textAt(spec, 'valuesContent'), valueAt(spec, 'set'));
  if (typeof values === 'string') return { failure: `Error: failed to parse /config/values.yaml: ${values}` };
  const release = { name, namespace, version, values };
  const bundled = BUNDLED[name];
  if (bundled && chart.startsWith('https://%{KUBERNETES_API}%/')) return { objects: bundled(release) };
  const known = CHARTS[base];
  const home = repo || (chart.startsWith('oci://') ? chart : '');
  if (!home) return { failure: `Error: INSTALLATION FAILED: chart "${chart}" not found: no repository is given` };
  if (!Object.values(CHARTS).some((c) => c.home.test(home)))
    return {
      failure: `Error: looks like "${home}" is not a valid chart repository or cannot be reached: 404 Not Found`,
    };
  if (!known?.home.test(home))
    return { failure: `Error: INSTALLATION FAILED: chart "${base}" not found in ${home} repository` };
  if (version && !known.version.test(version))
    return {
      failure: `Error: INSTALLATION FAILED: chart "${base}" matching ${version} not found in ${home} index. (try 'helm repo update'): no chart version found for ${base}-${version}`,
    };
  return { objects: known.objects(release) };
}

function valuesOf(content: string, set: unknown): Record<string, unknown> | string {
  try {
    const parsed: unknown = content.trim() === '' ? {} : parse(content);
    return isRecord(parsed) ? { ...parsed, ...(isRecord(set) ? set : {}) } : 'the values are not a mapping';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A release's name is the beginning of its objects' names, unless it holds the chart's. */
function fullNameOf(release: string, chart: string): string {
  return release.includes(chart) ? release : `${release}-${chart}`;
}

function metallb({ name, namespace, version, values }: Release): Thing[] {
  const full = fullNameOf(name, 'metallb');
  const labels = (component: string): Record<string, string> => ({
    'app.kubernetes.io/name': 'metallb',
    'app.kubernetes.io/instance': name,
    'app.kubernetes.io/component': component,
  });
  const frr = valueAt(values, 'frrk8s.enabled') !== false;
  const image = `quay.io/metallb/controller:v${version.replace(/^v/, '')}`;
  return [
    ...crdKinds.metallb.map(definitionOf),
    serviceAccount(namespace, `${full}-controller`),
    serviceAccount(namespace, `${full}-speaker`),
    deployment(namespace, `${full}-controller`, { image, labels: labels('controller') }),
    daemonSet(namespace, `${full}-speaker`, {
      image: image.replace('controller', 'speaker'),
      labels: labels('speaker'),
      tolerations: ON_CONTROL_PLANE,
      hostNetwork: true,
    }),
    service(namespace, 'metallb-webhook-service', labels('controller'), [
      { name: 'webhook', port: 443, targetPort: 9443 },
    ]),
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'metallb-webhook-configuration' },
    },
    ...(frr
      ? [
          daemonSet(namespace, `${name}-frr-k8s`, {
            image: 'quay.io/metallb/frr-k8s:v0.0.21',
            labels: labels('frr-k8s'),
            hostNetwork: true,
          }),
        ]
      : []),
  ];
}

function certManager({ name, namespace, version, values }: Release): Thing[] {
  const full = fullNameOf(name, 'cert-manager');
  const withKinds = valueAt(values, 'crds.enabled') === true || values.installCRDs === true;
  const extra = valueAt(values, 'extraArgs');
  const parts = [
    { suffix: '', image: 'controller', args: Array.isArray(extra) ? extra.map(String) : [] },
    { suffix: '-webhook', image: 'webhook', args: [] },
    { suffix: '-cainjector', image: 'cainjector', args: [] },
  ];
  return [
    ...(withKinds ? crdKinds['cert-manager'].map(definitionOf) : []),
    ...parts.flatMap(({ suffix, image, args }) => {
      const labels = {
        'app.kubernetes.io/name': image === 'controller' ? 'cert-manager' : image,
        'app.kubernetes.io/instance': name,
        'app.kubernetes.io/component': image,
      };
      return [
        serviceAccount(namespace, `${full}${suffix}`),
        deployment(namespace, `${full}${suffix}`, {
          image: `quay.io/jetstack/cert-manager-${image}:v${version.replace(/^v/, '')}`,
          labels,
          args,
        }),
        service(namespace, `${full}${suffix}`, labels, [{ name: 'https', port: 443, targetPort: 10250 }]),
      ];
    }),
    {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: `${full}-webhook` },
    },
  ];
}

function csiDriverNfs({ namespace, version }: Release): Thing[] {
  const image = `registry.k8s.io/sig-storage/nfsplugin:v${version.replace(/^v/, '')}`;
  return [
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSIDriver',
      metadata: { name: 'nfs.csi.k8s.io' },
      spec: { attachRequired: false },
    },
    serviceAccount(namespace, 'csi-nfs-controller-sa'),
    serviceAccount(namespace, 'csi-nfs-node-sa'),
    deployment(namespace, 'csi-nfs-controller', {
      image,
      labels: { app: 'csi-nfs-controller' },
      tolerations: ON_CONTROL_PLANE,
      hostNetwork: true,
    }),
    daemonSet(namespace, 'csi-nfs-node', {
      image,
      labels: { app: 'csi-nfs-node' },
      tolerations: EVERYWHERE,
      hostNetwork: true,
    }),
  ];
}

/** Traefik as K3s configures it: its class is the default one, its Service a load balancer. */
function traefik({ namespace }: Release): Thing[] {
  const labels = { 'app.kubernetes.io/name': 'traefik', 'app.kubernetes.io/instance': 'traefik-kube-system' };
  return [
    serviceAccount(namespace, 'traefik'),
    deployment(namespace, 'traefik', {
      image: 'rancher/mirrored-library-traefik:3.7.13',
      labels,
      tolerations: ON_CONTROL_PLANE,
      ports: [
        { name: 'web', containerPort: 8000 },
        { name: 'websecure', containerPort: 8443 },
      ],
    }),
    service(
      namespace,
      'traefik',
      labels,
      [
        { name: 'web', port: 80, targetPort: 'web' },
        { name: 'websecure', port: 443, targetPort: 'websecure' },
      ],
      { type: 'LoadBalancer', ipFamilyPolicy: 'PreferDualStack' },
    ),
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'IngressClass',
      metadata: { name: 'traefik', annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } },
      spec: { controller: 'traefik.io/ingress-controller' },
    },
  ];
}
