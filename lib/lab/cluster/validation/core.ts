import { z } from 'zod';
import { dnsLabel, dnsSubdomain, head, ingressHost, loose, port, quantity, texts, withSpec } from './forms.ts';

const base64 = z.string().regex(/^[A-Za-z0-9+/\n]*={0,2}\n?$/, 'illegal base64 data');

const servicePort = z.strictObject({
  name: dnsLabel.optional(),
  port,
  protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
  targetPort: z.union([z.int(), z.string()]).optional(),
  nodePort: z.int().optional(),
  appProtocol: z.string().optional(),
});

const serviceSpec = z
  .strictObject({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).optional(),
    ports: z.array(servicePort).optional(),
    selector: texts.optional(),
    clusterIP: z.string().optional(),
    clusterIPs: z.array(z.string()).optional(),
    externalIPs: z.array(z.string()).optional(),
    externalName: z.string().optional(),
    externalTrafficPolicy: z.enum(['Cluster', 'Local']).optional(),
    internalTrafficPolicy: z.enum(['Cluster', 'Local']).optional(),
    ipFamilies: z.array(z.string()).optional(),
    ipFamilyPolicy: z.string().optional(),
    loadBalancerIP: z.string().optional(),
    loadBalancerClass: z.string().optional(),
    loadBalancerSourceRanges: z.array(z.string()).optional(),
    allocateLoadBalancerNodePorts: z.boolean().optional(),
    publishNotReadyAddresses: z.boolean().optional(),
    sessionAffinity: z.enum(['None', 'ClientIP']).optional(),
    sessionAffinityConfig: loose.optional(),
    healthCheckNodePort: z.int().optional(),
  })
  .superRefine((spec, context) => {
    const ports = spec.ports ?? [];
    if (ports.length === 0 && spec.clusterIP !== 'None' && spec.type !== 'ExternalName')
      context.addIssue({ code: 'custom', path: ['ports'], message: 'Required value' });
    ports.forEach((entry, index) => {
      if (ports.length > 1 && !entry.name)
        context.addIssue({ code: 'custom', path: ['ports', index, 'name'], message: 'Required value' });
    });
  });

const backend = z.strictObject({
  service: z
    .strictObject({
      name: dnsLabel,
      port: z.strictObject({ name: z.string().optional(), number: port.optional() }).superRefine((value, context) => {
        if (value.name !== undefined && value.number !== undefined)
          context.addIssue({ code: 'custom', message: 'cannot set both port name & port number' });
        if (value.name === undefined && value.number === undefined)
          context.addIssue({ code: 'custom', message: 'Required value: port name or number is required' });
      }),
    })
    .optional(),
  resource: loose.optional(),
});

const ingressPath = z
  .strictObject({
    path: z.string().optional(),
    pathType: z.enum(['Exact', 'Prefix', 'ImplementationSpecific'], {
      error: 'Required value: pathType must be specified',
    }),
    backend,
  })
  .superRefine(({ path, pathType }, context) => {
    if (pathType !== 'ImplementationSpecific' && !path?.startsWith('/'))
      context.addIssue({ code: 'custom', path: ['path'], message: 'must be an absolute path' });
  });

const ingressSpec = z
  .strictObject({
    ingressClassName: dnsSubdomain.optional(),
    defaultBackend: backend.optional(),
    tls: z
      .array(z.strictObject({ hosts: z.array(ingressHost).optional(), secretName: dnsSubdomain.optional() }))
      .optional(),
    rules: z
      .array(
        z.strictObject({
          host: ingressHost.optional(),
          http: z.strictObject({ paths: z.array(ingressPath).min(1) }).optional(),
        }),
      )
      .optional(),
  })
  .refine((spec) => (spec.rules ?? []).length > 0 || spec.defaultBackend !== undefined, {
    error: 'either `defaultBackend` or `rules` must be specified',
  });

const claimSpec = z.strictObject({
  accessModes: z
    .array(z.enum(['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod']))
    .min(1, 'at least 1 access mode is required'),
  resources: z.strictObject({ requests: z.looseObject({ storage: quantity }), limits: loose.optional() }),
  storageClassName: z.string().optional(),
  volumeName: z.string().optional(),
  volumeMode: z.enum(['Filesystem', 'Block']).optional(),
  selector: loose.optional(),
  dataSource: loose.optional(),
  dataSourceRef: loose.optional(),
});

const volumeSpec = z.strictObject({
  capacity: z.looseObject({ storage: quantity }),
  accessModes: claimSpec.shape.accessModes,
  persistentVolumeReclaimPolicy: z.enum(['Delete', 'Retain', 'Recycle']).optional(),
  storageClassName: z.string().optional(),
  volumeMode: z.enum(['Filesystem', 'Block']).optional(),
  mountOptions: z.array(z.string()).optional(),
  claimRef: loose.optional(),
  nodeAffinity: loose.optional(),
  nfs: z
    .strictObject({
      server: z.string().min(1),
      path: z.string().startsWith('/', 'must be an absolute path'),
      readOnly: z.boolean().optional(),
    })
    .optional(),
  csi: loose.optional(),
  hostPath: loose.optional(),
  local: loose.optional(),
});

export const coreSchemas: Record<string, z.ZodType> = {
  Namespace: z.strictObject({ ...head, spec: loose.optional(), status: loose.optional() }),
  Secret: z.strictObject({
    ...head,
    type: z.string().optional(),
    data: z.record(z.string().regex(/^[-._a-zA-Z0-9]+$/, 'a valid config key'), base64).optional(),
    stringData: texts.optional(),
    immutable: z.boolean().optional(),
  }),
  ConfigMap: z.strictObject({
    ...head,
    data: texts.optional(),
    binaryData: z.record(z.string(), base64).optional(),
    immutable: z.boolean().optional(),
  }),
  Service: withSpec(serviceSpec),
  Ingress: withSpec(ingressSpec),
  PersistentVolume: withSpec(volumeSpec),
  PersistentVolumeClaim: withSpec(claimSpec),
  StorageClass: z.strictObject({
    ...head,
    provisioner: z.string().min(1),
    parameters: texts.optional(),
    reclaimPolicy: z.enum(['Delete', 'Retain']).optional(),
    mountOptions: z.array(z.string()).optional(),
    volumeBindingMode: z.enum(['Immediate', 'WaitForFirstConsumer']).optional(),
    allowVolumeExpansion: z.boolean().optional(),
    allowedTopologies: z.array(loose).optional(),
  }),
};
