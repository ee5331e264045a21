import type { LabHost } from '../types.ts';
import { fullName, textAt } from './api/thing.ts';
import type { K3sHosts } from './k3s/hosts.ts';

type Loopback = { host: string; port: number };

/**
 * Where a connection from a host leads: an API server, a load balancer, or a ClusterIP, which only nodes of the
 * cluster reach. Undefined for everything else.
 */
export function routeTo(hosts: K3sHosts, from: LabHost, address: string, port: number): Loopback | undefined {
  const api = port === 6443 ? hosts.apiPort(address) : undefined;
  if (api !== undefined) return { host: '127.0.0.1', port: api };
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
