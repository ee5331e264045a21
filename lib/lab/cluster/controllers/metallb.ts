import { Address4 } from 'ip-address';
import { ApiError } from '../api/errors.ts';
import { fullName, itemsAt, ownerOf, recordAt, shortHash, type Thing, textAt, textsAt, valueAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { hasEndpoints } from './endpoints.ts';
import { isPodReady } from './workloads.ts';

const GROUP = 'metallb.io/v1beta1';
const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';
const FROM_POOL = 'metallb.io/ip-allocated-from-pool';

/** MetalLB: gives each LoadBalancer the lowest free address of a pool, and announces it where an L2Advertisement says so. */
export function metallb(cluster: Cluster): void {
  const controller = readyPods(cluster, 'controller')[0];
  cluster.metallbServes =
    controller !== undefined && cluster.loop.due(`webhook ${controller.metadata.uid}`, cluster.pace.webhook);
  // servicelb takes every load balancer for itself.
  if (!controller || !cluster.disabled.has('servicelb')) return;
  const pools = cluster.store.list(GROUP, 'IPAddressPool', controller.metadata.namespace);
  const services = cluster.store
    .list('v1', 'Service')
    .filter((service) => textAt(service, 'spec.type') === 'LoadBalancer');
  for (const service of services) assign(cluster, service, pools, takenBesides(cluster, service));
  for (const pool of pools) countPool(cluster, pool);
  announce(cluster, controller.metadata.namespace ?? '');
}

/** MetalLB's validating webhook: not there at all before the chart, and not serving for a while after its pod is ready. */
export function metallbWebhook(cluster: Cluster, object: Thing): void {
  if (!object.apiVersion.startsWith('metallb.io/')) return;
  const configured = cluster.store.get(
    'admissionregistration.k8s.io/v1',
    'ValidatingWebhookConfiguration',
    'metallb-webhook-configuration',
  );
  if (!configured) return;
  const kind = object.kind.toLowerCase();
  const webhook = `${kind}validationwebhook.metallb.io`;
  if (!cluster.metallbServes || cluster.faults.metallbWebhook)
    throw new ApiError(
      'InternalError',
      `Internal error occurred: failed calling webhook "${webhook}": failed to call webhook: Post "https://metallb-webhook-service.metallb-system.svc:443/validate-metallb-io-v1beta1-${kind}?timeout=10s": no endpoints available for service "metallb-webhook-service"`,
    );
  if (object.kind !== 'IPAddressPool') return;
  for (const other of cluster.store.list(GROUP, 'IPAddressPool', object.metadata.namespace)) {
    if (other.metadata.name === object.metadata.name) continue;
    for (const own of rangesOf(object))
      for (const range of rangesOf(other))
        if (own.first <= range.last && range.first <= own.last)
          throw new ApiError(
            'Forbidden',
            `admission webhook "${webhook}" denied the request: CIDR "${own.text}" in pool "${object.metadata.name}" overlaps with already defined CIDR "${range.text}" in pool "${other.metadata.name}"`,
          );
  }
}

function readyPods(cluster: Cluster, component: string): Thing[] {
  return cluster.store.list('v1', 'Pod').filter((pod) => {
    const labels = pod.metadata.labels ?? {};
    return (
      labels['app.kubernetes.io/name'] === 'metallb' &&
      labels['app.kubernetes.io/component'] === component &&
      isPodReady(pod)
    );
  });
}

type Range = { first: bigint; last: bigint; text: string };

function rangesOf(pool: Thing): Range[] {
  const addresses = valueAt(pool, 'spec.addresses');
  return (Array.isArray(addresses) ? addresses.map(String) : []).map((text) => {
    if (text.includes('/')) {
      const network = new Address4(text);
      return { text, first: network.startAddress().bigInt(), last: network.endAddress().bigInt() };
    }
    const [first = '', last = ''] = text.split('-').map((end) => end.trim());
    return { text, first: new Address4(first).bigInt(), last: new Address4(last).bigInt() };
  });
}

function addressOfService(service: Thing): string {
  return textAt(service, 'status.loadBalancer.ingress.0.ip');
}

function takenBesides(cluster: Cluster, service: Thing): Set<string> {
  return new Set(
    cluster.store
      .list('v1', 'Service')
      .filter((other) => other !== service && fullName(other) !== fullName(service))
      .map(addressOfService),
  );
}

function assign(cluster: Cluster, service: Thing, pools: readonly Thing[], taken: ReadonlySet<string>): void {
  const loadBalancerClass = textAt(service, 'spec.loadBalancerClass');
  if (loadBalancerClass) return;
  const annotations = service.metadata.annotations ?? {};
  const wantedPool = annotations['metallb.io/address-pool'];
  const wantedIp = annotations['metallb.io/loadBalancerIPs'] ?? textAt(service, 'spec.loadBalancerIP');
  const usable = pools.filter((pool) =>
    wantedPool ? pool.metadata.name === wantedPool : wantedIp !== '' || valueAt(pool, 'spec.autoAssign') !== false,
  );
  const current = addressOfService(service);
  const keeps =
    usable.some((pool) => holds(pool, current)) && (!wantedIp || wantedIp === current) && !taken.has(current);
  if (current && keeps) return;
  for (const pool of usable) {
    const ip = wantedIp
      ? holds(pool, wantedIp) && !taken.has(wantedIp)
        ? wantedIp
        : undefined
      : lowestFree(pool, taken);
    if (!ip) continue;
    const annotated = {
      ...service,
      metadata: { ...service.metadata, annotations: { ...annotations, [FROM_POOL]: pool.metadata.name } },
    };
    cluster.store.put({ ...annotated, status: { loadBalancer: { ingress: [{ ip, ipMode: 'VIP' }] } } }, 'metallb');
    cluster.event(service, 'Normal', 'IPAllocated', `Assigned IP ["${ip}"]`);
    return;
  }
  const why = wantedIp ? `"${wantedIp}" is not available` : 'no available IPs';
  cluster.event(service, 'Warning', 'AllocationFailed', `Failed to allocate IP for "${fullName(service)}": ${why}`);
  if (current) cluster.store.put({ ...service, status: { loadBalancer: {} } }, 'metallb');
}

function holds(pool: Thing, ip: string): boolean {
  if (!Address4.isValid(ip)) return false;
  const value = new Address4(ip).bigInt();
  return rangesOf(pool).some(({ first, last }) => first <= value && value <= last);
}

function lowestFree(pool: Thing, taken: ReadonlySet<string>): string | undefined {
  for (const { first, last } of rangesOf(pool))
    for (let value = first; value <= last; value++) {
      const ip = Address4.fromBigInt(value).correctForm();
      if (!taken.has(ip)) return ip;
    }
  return undefined;
}

function countPool(cluster: Cluster, pool: Thing): void {
  const size = rangesOf(pool).reduce((sum, { first, last }) => sum + Number(last - first) + 1, 0);
  const used = cluster.store
    .list('v1', 'Service')
    .filter(
      (service) => service.metadata.annotations?.[FROM_POOL] === pool.metadata.name && addressOfService(service),
    ).length;
  cluster.store.putStatus(pool, { assignedIPv4: used, availableIPv4: size - used, assignedIPv6: 0, availableIPv6: 0 });
}

/** A speaker answers ARP for an address when an advertisement covers its pool and something stands behind the Service. */
function announce(cluster: Cluster, namespace: string): void {
  const { store } = cluster;
  const advertisements = store.list(GROUP, 'L2Advertisement', namespace);
  const announced = new Map<string, { node: string; service: string }>();
  const statuses = new Set<string>();
  for (const service of store.list('v1', 'Service')) {
    const ip = addressOfService(service);
    const pool = service.metadata.annotations?.[FROM_POOL];
    const { name, namespace: own = '' } = service.metadata;
    if (!ip || !pool || !hasEndpoints(cluster, own, name)) continue;
    if (!advertisements.some((advertisement) => covers(advertisement, pool))) continue;
    const nodes = eligibleNodes(cluster);
    const node = nodes[shortHash(ip, 1).charCodeAt(0) % Math.max(1, nodes.length)];
    if (!node) continue;
    announced.set(ip, { node, service: fullName(service) });
    const status = `l2-${shortHash(`${own}/${name}`)}`;
    statuses.add(status);
    const labels = { 'metallb.io/node': node, 'metallb.io/service-name': name, 'metallb.io/service-namespace': own };
    const pod = readyPods(cluster, 'speaker').find((speaker) => textAt(speaker, 'spec.nodeName') === node);
    store.put({
      apiVersion: GROUP,
      kind: 'ServiceL2Status',
      metadata: { name: status, namespace, labels, ...(pod ? { ownerReferences: [ownerOf(pod)] } : {}) },
      spec: {},
      status: { node, serviceName: name, serviceNamespace: own, interfaces: [{ name: 'eth0' }] },
    });
  }
  for (const old of store.list(GROUP, 'ServiceL2Status', namespace))
    if (!statuses.has(old.metadata.name)) store.delete(old);
  cluster.announced = announced;
}

function covers(advertisement: Thing, pool: string): boolean {
  const names = recordAt(advertisement, 'spec').ipAddressPools;
  return !Array.isArray(names) || names.length === 0 || names.includes(pool);
}

function eligibleNodes(cluster: Cluster): string[] {
  return readyPods(cluster, 'speaker')
    .map((pod) => textAt(pod, 'spec.nodeName'))
    .filter((name) => !(EXCLUDED in textsAt(cluster.store.get('v1', 'Node', name), 'metadata.labels')))
    .sort();
}

/** Ports of a Service, for whoever forwards to it. */
export function portsOf(service: Thing): { name: string; port: number; target: string }[] {
  return itemsAt(service, 'spec.ports').map((port) => ({
    name: textAt(port, 'name'),
    port: Number(port.port),
    target: textAt(port, 'targetPort'),
  }));
}
