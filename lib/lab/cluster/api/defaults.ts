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
      return { type: 'Opaque', ...encodeSecret(object) };
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
      return { ...object, spec: { ...DEPLOYMENT, ...withTemplate(recordAt(object, 'spec'), 'Always') } };
    case 'StatefulSet':
      return {
        ...object,
        spec: { replicas: 1, revisionHistoryLimit: 10, ...withTemplate(recordAt(object, 'spec'), 'Always') },
      };
    case 'DaemonSet':
      return { ...object, spec: { revisionHistoryLimit: 10, ...withTemplate(recordAt(object, 'spec'), 'Always') } };
    case 'Job':
      return { ...object, spec: { ...JOB, ...withTemplate(recordAt(object, 'spec'), 'Always') } };
    case 'CronJob':
      return { ...object, spec: cronJobSpec(recordAt(object, 'spec')) };
    case 'Pod':
      return { ...object, spec: { enableServiceLinks: true, ...podSpec(recordAt(object, 'spec'), 'Always') } };
    case 'HelmChart':
      return { ...object, spec: { driver: 'secret', ...recordAt(object, 'spec') } };
    case 'IPAddressPool':
      return { ...object, spec: { autoAssign: true, avoidBuggyIPs: false, ...recordAt(object, 'spec') } };
    default:
      return object;
  }
}

const POD = {
  dnsPolicy: 'ClusterFirst',
  schedulerName: 'default-scheduler',
  securityContext: {},
  terminationGracePeriodSeconds: 30,
};
const DEPLOYMENT = {
  replicas: 1,
  revisionHistoryLimit: 10,
  progressDeadlineSeconds: 600,
  strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
};

const JOB = {
  parallelism: 1,
  completions: 1,
  backoffLimit: 6,
  completionMode: 'NonIndexed',
  manualSelector: false,
  suspend: false,
};

/** `stringData` is written only: it becomes `data`, which is then nobody's in particular. */
function encodeSecret(object: Thing): Thing {
  if (!isRecord(object.stringData)) return object;
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

function cronJobSpec(spec: Record<string, unknown>): Record<string, unknown> {
  const jobTemplate = recordAt(spec, 'jobTemplate');
  return {
    ...spec,
    jobTemplate: { metadata: {}, ...jobTemplate, spec: withTemplate(recordAt(jobTemplate, 'spec'), 'Always') },
  };
}

function podSpec(spec: Record<string, unknown>, restartPolicy: string): Record<string, unknown> {
  const lists = { containers: container, initContainers: container, volumes: volume };
  const complete = Object.entries(lists).flatMap(([list, each]) =>
    Array.isArray(spec[list]) ? [[list, itemsAt(spec, list).map(each)]] : [],
  );
  return { restartPolicy, ...POD, ...spec, ...Object.fromEntries(complete) };
}

function container(sent: Record<string, unknown>): Record<string, unknown> {
  return {
    imagePullPolicy: /:[^/]+$/.test(textAt(sent, 'image')) ? 'IfNotPresent' : 'Always',
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    ...sent,
    ...(Array.isArray(sent.ports)
      ? { ports: itemsAt(sent, 'ports').map((port) => ({ protocol: 'TCP', ...port })) }
      : {}),
  };
}

/** Files of a ConfigMap or Secret are 0644. */
function volume(sent: Record<string, unknown>): Record<string, unknown> {
  const source = ['configMap', 'secret'].find((kind) => isRecord(sent[kind]));
  return source ? { ...sent, [source]: { defaultMode: 0o644, ...recordAt(sent, source) } } : sent;
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
