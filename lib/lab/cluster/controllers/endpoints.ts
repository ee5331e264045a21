import { itemsAt, ownerOf, selects, type Thing, textAt, textsAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { isPodReady } from './workloads.ts';

/** Endpoints and EndpointSlices follow the ready pods that a Service selects. */
export function endpoints(cluster: Cluster): void {
  const { store } = cluster;
  for (const service of store.list('v1', 'Service')) {
    const selector = textsAt(service, 'spec.selector');
    if (Object.keys(selector).length === 0) continue;
    const pods = store
      .list('v1', 'Pod', service.metadata.namespace)
      .filter((pod) => selects(selector, pod.metadata.labels) && isPodReady(pod));
    const addresses = pods.map((pod) => ({
      ip: textAt(pod, 'status.podIP'),
      nodeName: textAt(pod, 'spec.nodeName'),
      targetRef: { kind: 'Pod', name: pod.metadata.name },
    }));
    const ports = itemsAt(service, 'spec.ports').map((port) => ({
      ...(port.name ? { name: port.name } : {}),
      port: targetOf(port, pods[0]),
      protocol: port.protocol,
    }));
    const { name, namespace } = service.metadata;
    const owned = { namespace, ownerReferences: [ownerOf(service)] };
    store.put({
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name, ...owned },
      subsets: addresses.length > 0 ? [{ addresses, ports }] : [],
    });
    store.put({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: `${name}-slice`, ...owned, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports,
      endpoints: addresses.map(({ ip, nodeName, targetRef }) => ({
        addresses: [ip],
        conditions: { ready: true },
        nodeName,
        targetRef,
      })),
    });
  }
}

/** A port of the pod that a named target means. */
function targetOf(port: Record<string, unknown>, pod: Thing | undefined): unknown {
  if (typeof port.targetPort !== 'string') return port.targetPort;
  const named = itemsAt(pod, 'spec.containers')
    .flatMap((container) => itemsAt(container, 'ports'))
    .find((p) => p.name === port.targetPort);
  return named?.containerPort ?? port.port;
}

/** Whether something stands behind a Service: ready pods, endpoints that were given, or a real program. */
export function hasEndpoints(cluster: Cluster, namespace: string, name: string): boolean {
  const known = cluster.store.get('v1', 'Endpoints', name, namespace);
  return itemsAt(known, 'subsets').length > 0 || cluster.backends.has(`${namespace}/${name}`);
}
