import type { LabHost } from '../types.ts';
import { fullName, textAt } from './api/thing.ts';
import type { K3sHosts } from './k3s/hosts.ts';

type Loopback = { host: string; port: number };

/**
 * Where a connection from a host leads: an API server or etcd, a kubelet (by its node's address, or through the
 * network of pods), a load balancer, or a ClusterIP, which only nodes of the cluster reach. Undefined for everything
 * else.
 */
export function routeTo(hosts: K3sHosts, from: LabHost, address: string, port: number): Loopback | undefined {
  const peer = hosts.at(address);
  if (peer && hosts.blocks(from, peer.kubelet.host, port)) return undefined;
  // Whoever asks whether a port of etcd is open only connects.
  const listens = port === 6443 || (peer?.cluster.etcd === true && [2379, 2380].includes(port));
  const api = listens ? hosts.apiPort(address) : undefined;
  if (api !== undefined) return { host: '127.0.0.1', port: api };
  const kubelet = port === 10250 ? hosts.kubeletAt(address) : undefined;
  if (kubelet && !hosts.blocks(from, kubelet, hosts.at(address) ? 10250 : 8472)) {
    const any = hosts.anyApiPort();
    return any === undefined ? undefined : { host: '127.0.0.1', port: any };
  }
  for (const cluster of hosts.clusters) {
    const service = cluster.store.list('v1', 'Service').find((s) => textAt(s, 'spec.clusterIP') === address);
    const member = [...cluster.kubelets.values()].some(({ host }) => host.name === from.name);
    if (service && !member) continue;
    const backend = service && cluster.backends.get(fullName(service));
    if (backend) return backend;
    const open = cluster.dataPlane.port(`${address}:${port}`);
    if (open !== undefined) return { host: '127.0.0.1', port: open };
  }
  return undefined;
}
