import type { Thing } from '../api/thing.ts';
import { deployment, ON_CONTROL_PLANE, service } from '../charts/parts.ts';
import type { Cluster } from '../cluster.ts';
import { installObject } from './install.ts';

const SYSTEM = 'kube-system';

/** What K3s brings itself: put there once, as files of server/manifests are. */
export function bundled(cluster: Cluster): void {
  const { store, disabled } = cluster;
  for (const name of ['default', SYSTEM, 'kube-public', 'kube-node-lease'])
    if (!store.get('v1', 'Namespace', name))
      installObject(cluster, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  if (!store.get('v1', 'Service', 'kubernetes', 'default')) installObject(cluster, apiService(address(cluster, 1)));
  for (const [addon, objects] of Object.entries(ADDONS)) {
    if (disabled.has(addon) || store.get('k3s.cattle.io/v1', 'Addon', addon, SYSTEM)) continue;
    for (const object of objects(cluster)) installObject(cluster, object);
    store.put({
      apiVersion: 'k3s.cattle.io/v1',
      kind: 'Addon',
      metadata: { name: addon, namespace: SYSTEM },
      spec: { source: `/var/lib/rancher/k3s/server/manifests/${addon}.yaml` },
    });
  }
}

/** What the local-path provisioner makes folders with; its image is one of K3s's own. */
const HELPER_POD = `apiVersion: v1
kind: Pod
metadata:
  name: helper-pod
spec:
  containers:
  - name: helper-pod
    image: "rancher/mirrored-library-busybox:1.37.0"
`;

const ADDONS: Record<string, (cluster: Cluster) => Thing[]> = {
  coredns: (cluster) => [
    { ...config('coredns'), data: { Corefile: '.:53 {\n    errors\n    health\n    ready\n}\n' } },
    deployment(SYSTEM, 'coredns', {
      image: 'rancher/mirrored-coredns-coredns:1.14.1',
      labels: { 'k8s-app': 'kube-dns' },
      tolerations: ON_CONTROL_PLANE,
    }),
    service(SYSTEM, 'kube-dns', { 'k8s-app': 'kube-dns' }, [{ name: 'dns-tcp', port: 53, targetPort: 53 }], {
      clusterIP: address(cluster, 10),
    }),
  ],
  'local-storage': () => [
    { ...config('local-path-config'), data: { 'config.json': '{}', 'helperPod.yaml': HELPER_POD } },
    deployment(SYSTEM, 'local-path-provisioner', {
      image: 'rancher/local-path-provisioner:v0.0.34',
      labels: { app: 'local-path-provisioner' },
      tolerations: ON_CONTROL_PLANE,
    }),
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'local-path', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
      provisioner: 'rancher.io/local-path',
      volumeBindingMode: 'WaitForFirstConsumer',
      reclaimPolicy: 'Delete',
    },
  ],
  'metrics-server': () => [
    deployment(SYSTEM, 'metrics-server', {
      image: 'rancher/mirrored-metrics-server:v0.8.1',
      labels: { 'k8s-app': 'metrics-server' },
      tolerations: ON_CONTROL_PLANE,
    }),
    service(SYSTEM, 'metrics-server', { 'k8s-app': 'metrics-server' }, [
      { name: 'https', port: 443, targetPort: 10250 },
    ]),
  ],
  runtimes: () =>
    ['nvidia', 'nvidia-experimental', 'crun'].map((name) => ({
      apiVersion: 'node.k8s.io/v1',
      kind: 'RuntimeClass',
      metadata: { name },
      handler: name,
    })),
  traefik: () => [helmChart('traefik-crd'), helmChart('traefik')],
};

function helmChart(name: string): Thing {
  return {
    apiVersion: 'helm.cattle.io/v1',
    kind: 'HelmChart',
    metadata: { name, namespace: SYSTEM },
    spec: { chart: `https://%{KUBERNETES_API}%/static/charts/${name}-39.0.700+up39.0.7.tgz` },
  };
}

function config(name: string): Thing {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: SYSTEM } };
}

function apiService(clusterIP: string): Thing {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { component: 'apiserver', provider: 'kubernetes' } },
    spec: { clusterIP, ports: [{ name: 'https', port: 443, targetPort: 6443 }] },
  };
}

/** The n-th address of the service network. */
function address(cluster: Cluster, n: number): string {
  const [a, b] = cluster.api.serviceCidr.split('.');
  return `${a}.${b}.0.${n}`;
}
