import type { ObjectStore } from './store.ts';
import { isRecord, itemsAt, numberAt, recordAt, type Thing, textAt } from './thing.ts';

/** What the API server fills in, in a new object and in the merged form of an old one. */
export function withDefaults(object: Thing, store: ObjectStore, serviceCidr: string): Thing {
  switch (object.kind) {
    case 'Namespace':
      return {
        ...object,
        metadata: {
          ...object.metadata,
          labels: { ...object.metadata.labels, 'kubernetes.io/metadata.name': object.metadata.name },
        },
        spec: { finalizers: ['kubernetes'], ...recordAt(object, 'spec') },
        status: { phase: object.metadata.deletionTimestamp ? 'Terminating' : 'Active' },
      };
    case 'Secret':
      return { ...object, type: object.type ?? 'Opaque' };
    case 'Service':
      return { ...object, spec: serviceSpec(object, store, serviceCidr) };
    case 'Ingress':
      return withClass(object, store);
    case 'PersistentVolumeClaim':
      return withStorageClass(object, store);
    case 'StorageClass':
      return {
        ...object,
        reclaimPolicy: object.reclaimPolicy ?? 'Delete',
        volumeBindingMode: object.volumeBindingMode ?? 'Immediate',
      };
    case 'Deployment':
    case 'StatefulSet':
      return {
        ...object,
        spec: { replicas: 1, revisionHistoryLimit: 10, ...withTemplate(recordAt(object, 'spec'), 'Always') },
      };
    case 'DaemonSet':
      return { ...object, spec: { revisionHistoryLimit: 10, ...withTemplate(recordAt(object, 'spec'), 'Always') } };
    case 'Job':
      return {
        ...object,
        spec: { parallelism: 1, completions: 1, backoffLimit: 6, ...withTemplate(recordAt(object, 'spec'), 'Always') },
      };
    case 'Pod':
      return { ...object, spec: podSpec(recordAt(object, 'spec'), 'Always') };
    default:
      return object;
  }
}

/** `stringData` is written only: it becomes `data` before anything else sees it. */
export function encodeSecret(object: Thing): Thing {
  if (object.kind !== 'Secret' || !isRecord(object.stringData)) return object;
  const { stringData, ...rest } = object;
  const encoded = Object.fromEntries(
    Object.entries(stringData).map(([key, value]) => [key, Buffer.from(String(value)).toString('base64')]),
  );
  return { ...rest, data: { ...recordAt(object, 'data'), ...encoded } };
}

function withTemplate(spec: Record<string, unknown>, restartPolicy: string): Record<string, unknown> {
  const template = recordAt(spec, 'template');
  return { ...spec, template: { ...template, spec: podSpec(recordAt(template, 'spec'), restartPolicy) } };
}

function podSpec(spec: Record<string, unknown>, restartPolicy: string): Record<string, unknown> {
  const containers = itemsAt(spec, 'containers').map((container) => ({
    imagePullPolicy: /:[^/]+$/.test(textAt(container, 'image')) ? 'IfNotPresent' : 'Always',
    terminationMessagePath: '/dev/termination-log',
    ...container,
    ...(Array.isArray(container.ports)
      ? { ports: itemsAt(container, 'ports').map((port) => ({ protocol: 'TCP', ...port })) }
      : {}),
  }));
  return { restartPolicy, dnsPolicy: 'ClusterFirst', terminationGracePeriodSeconds: 30, ...spec, containers };
}

function serviceSpec(object: Thing, store: ObjectStore, serviceCidr: string): Record<string, unknown> {
  const spec = recordAt(object, 'spec');
  const type = textAt(spec, 'type') || 'ClusterIP';
  const outside = type === 'LoadBalancer' || type === 'NodePort';
  const ports = itemsAt(spec, 'ports').map((port) => ({ protocol: 'TCP', targetPort: port.port, ...port }));
  if (type === 'ExternalName') return { ...spec, type };
  const clusterIP = textAt(spec, 'clusterIP') || freeClusterIp(store, serviceCidr);
  return {
    sessionAffinity: 'None',
    internalTrafficPolicy: 'Cluster',
    ipFamilies: ['IPv4'],
    ipFamilyPolicy: 'SingleStack',
    ...(outside ? { externalTrafficPolicy: 'Cluster' } : {}),
    ...(type === 'LoadBalancer' ? { allocateLoadBalancerNodePorts: true } : {}),
    ...spec,
    type,
    clusterIP,
    clusterIPs: [clusterIP],
    ports: outside ? withNodePorts(ports, store) : ports,
  };
}

/** The lowest address of the service network that no Service has; .1 is the API server's and .10 the DNS server's. */
function freeClusterIp(store: ObjectStore, serviceCidr: string): string {
  const taken = new Set(store.list('v1', 'Service').map((service) => textAt(service, 'spec.clusterIP')));
  const [a = '10', b = '43'] = serviceCidr.split('.');
  for (let index = 11; index < 65_000; index++) {
    const candidate = `${a}.${b}.${index >> 8}.${index & 255}`;
    if (!taken.has(candidate)) return candidate;
  }
  throw new Error(`no free address in ${serviceCidr}`);
}

function withNodePorts(ports: Record<string, unknown>[], store: ObjectStore): Record<string, unknown>[] {
  const taken = new Set(
    store
      .list('v1', 'Service')
      .flatMap((service) => itemsAt(service, 'spec.ports').map((port) => numberAt(port, 'nodePort'))),
  );
  return ports.map((port) => {
    if (typeof port.nodePort === 'number') return port;
    let nodePort = 30_080;
    while (taken.has(nodePort)) nodePort += 1;
    taken.add(nodePort);
    return { ...port, nodePort };
  });
}

function withClass(object: Thing, store: ObjectStore): Thing {
  if (textAt(object, 'spec.ingressClassName')) return object;
  const standard = store
    .list('networking.k8s.io/v1', 'IngressClass')
    .find((c) => c.metadata.annotations?.['ingressclass.kubernetes.io/is-default-class'] === 'true');
  return standard
    ? { ...object, spec: { ...recordAt(object, 'spec'), ingressClassName: standard.metadata.name } }
    : object;
}

function withStorageClass(object: Thing, store: ObjectStore): Thing {
  const spec: Record<string, unknown> = { volumeMode: 'Filesystem', ...recordAt(object, 'spec') };
  const standard = store
    .list('storage.k8s.io/v1', 'StorageClass')
    .find((c) => c.metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true');
  const storageClassName = spec.storageClassName ?? standard?.metadata.name;
  return { ...object, spec: storageClassName === undefined ? spec : { ...spec, storageClassName } };
}
