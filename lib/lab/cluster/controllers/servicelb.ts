import { fullName, ownerOf, type Thing, textAt } from '../api/thing.ts';
import { daemonSet, ON_CONTROL_PLANE } from '../charts/parts.ts';
import type { Cluster } from '../cluster.ts';
import { hasEndpoints } from './endpoints.ts';
import { installObject } from './install.ts';
import { isPodReady } from './workloads.ts';

/** K3s's own load balancer, unless it is disabled: every node answers at its own address. */
export function servicelb(cluster: Cluster): void {
  const { store } = cluster;
  const sets = store
    .list('apps/v1', 'DaemonSet', 'kube-system')
    .filter((set) => set.metadata.name.startsWith('svclb-'));
  if (cluster.disabled.has('servicelb')) {
    for (const set of sets) store.delete(set);
    return;
  }
  const announced = new Map<string, { node: string; service: string }>();
  const wanted = new Set<string>();
  for (const service of store.list('v1', 'Service')) {
    if (textAt(service, 'spec.type') !== 'LoadBalancer' || textAt(service, 'spec.loadBalancerClass')) continue;
    const name = `svclb-${service.metadata.name}-${service.metadata.uid?.slice(0, 8)}`;
    wanted.add(name);
    const labels = { app: name, 'svccontroller.k3s.cattle.io/svcname': service.metadata.name };
    const set = daemonSet('kube-system', name, {
      image: 'rancher/klipper-lb:v0.4.15',
      labels,
      tolerations: ON_CONTROL_PLANE,
    });
    if (!sets.some((known) => known.metadata.name === name))
      installObject(cluster, { ...set, metadata: { ...set.metadata, ownerReferences: [ownerOf(service)] } });
    const nodes = addressesOf(cluster, name);
    store.putStatus(service, {
      loadBalancer: nodes.length > 0 ? { ingress: nodes.map(({ ip }) => ({ ip, ipMode: 'VIP' })) } : {},
    });
    if (hasEndpoints(cluster, service.metadata.namespace ?? '', service.metadata.name))
      for (const { ip, node } of nodes) announced.set(ip, { node, service: fullName(service) });
  }
  for (const set of sets) if (!wanted.has(set.metadata.name)) store.delete(set);
  cluster.announced = announced;
}

function addressesOf(cluster: Cluster, app: string): { ip: string; node: string }[] {
  return cluster.store
    .list('v1', 'Pod', 'kube-system')
    .filter((pod: Thing) => pod.metadata.labels?.app === app && isPodReady(pod))
    .map((pod) => ({ ip: textAt(pod, 'status.hostIP'), node: textAt(pod, 'spec.nodeName') }));
}
