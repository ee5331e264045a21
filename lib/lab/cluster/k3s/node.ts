import { itemsAt, recordAt, type Thing, withCondition } from '../api/thing.ts';
import type { Cluster, Kubelet } from '../cluster.ts';
import type { K3sConfig } from './config.ts';

/** Registers a kubelet's Node, or takes up the one that is there: labels and taints are set at registration only. */
export function register(cluster: Cluster, kubelet: Kubelet, config: K3sConfig): void {
  const { host, node, role, version } = kubelet;
  const live = cluster.store.get('v1', 'Node', node);
  const fresh: Thing = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: node,
      labels: {
        ...standardLabels(node, role, cluster.etcd),
        ...Object.fromEntries(config.list('node-label').map(splitLabel)),
      },
      annotations: { 'k3s.io/hostname': host.name, 'k3s.io/internal-ip': host.address },
    },
    spec: { providerID: `k3s://${node}`, podCIDR: podCidr(cluster), ...taintsOf(config.list('node-taint')) },
  };
  const object = live ?? fresh;
  const address = config.list('node-ip')[0] ?? host.address;
  const resources = {
    cpu: String(host.cores),
    memory: `${host.memoryMib * 1024}Ki`,
    pods: '110',
    'ephemeral-storage': '50000000Ki',
    ...(host.gpus.length > 0 && hasGpuResources(live) ? { 'nvidia.com/gpu': String(host.gpus.length) } : {}),
  };
  const status = {
    ...recordAt(object, 'status'),
    addresses: [
      { type: 'InternalIP', address },
      { type: 'Hostname', address: node },
    ],
    capacity: resources,
    allocatable: resources,
    nodeInfo: {
      kubeletVersion: version,
      kubeProxyVersion: '',
      containerRuntimeVersion: 'containerd://2.1.5-k3s1',
      osImage: 'Ubuntu 24.04.3 LTS',
      operatingSystem: 'linux',
      architecture: 'amd64',
      kernelVersion: '6.8.0-71-generic',
      machineID: host.readFile('/etc/machine-id')?.trim() ?? kubelet.generation,
    },
  };
  const conditions = live
    ? itemsAt(live, 'status.conditions')
    : withCondition(
        object,
        'Ready',
        'False',
        'KubeletNotReady',
        'container runtime network not ready: NetworkReady=false',
      );
  const voting = role === 'server' && cluster.etcd;
  const withConditions = { ...object, status: { ...status, conditions } };
  cluster.store.put(
    voting
      ? {
          ...withConditions,
          status: {
            ...status,
            conditions: withCondition(
              withConditions,
              'EtcdIsVoter',
              'True',
              'MemberNotLearner',
              'Node is a voting member of the etcd cluster',
            ),
          },
        }
      : withConditions,
    'k3s',
  );
}

function standardLabels(node: string, role: Kubelet['role'], etcd: boolean): Record<string, string> {
  return {
    'kubernetes.io/hostname': node,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': 'amd64',
    'node.kubernetes.io/instance-type': 'k3s',
    ...(role === 'server' ? { 'node-role.kubernetes.io/control-plane': 'true' } : {}),
    ...(role === 'server' && etcd ? { 'node-role.kubernetes.io/etcd': 'true' } : {}),
  };
}

function splitLabel(text: string): [string, string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function taintsOf(taints: string[]): { taints?: Record<string, string>[] } {
  if (taints.length === 0) return {};
  return {
    taints: taints.map((text) => {
      const [, key = '', value, effect = ''] = /^([^=:]+)(?:=([^:]*))?:(\w+)$/.exec(text) ?? [];
      return { key, ...(value ? { value } : {}), effect };
    }),
  };
}

/** GPUs become a resource when a device plugin serves them. */
function hasGpuResources(node: Thing | undefined): boolean {
  return 'nvidia.com/gpu' in recordAt(node, 'status.capacity');
}

function podCidr(cluster: Cluster): string {
  const [a = '10', b = '42'] = (cluster.critical['cluster-cidr'] ?? '').split('.');
  return `${a}.${b}.${cluster.store.list('v1', 'Node').length}.0/24`;
}
