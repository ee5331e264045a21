import type { Thing } from '../api/thing.ts';

/** Parts of charts: the objects that matter, with what a scheduler and a selector look at. */
export type WorkloadOptions = {
  image: string;
  labels: Record<string, string>;
  replicas?: number;
  tolerations?: Record<string, unknown>[];
  hostNetwork?: boolean;
  args?: string[];
  ports?: { name: string; containerPort: number }[];
};

export function deployment(namespace: string, name: string, options: WorkloadOptions): Thing {
  const { replicas = 1 } = options;
  return workload('Deployment', namespace, name, options, { replicas });
}

export function daemonSet(namespace: string, name: string, options: WorkloadOptions): Thing {
  return workload('DaemonSet', namespace, name, options, {});
}

function workload(
  kind: string,
  namespace: string,
  name: string,
  options: WorkloadOptions,
  extra: Record<string, unknown>,
): Thing {
  const { image, labels, tolerations, hostNetwork, args, ports } = options;
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace, labels },
    spec: {
      ...extra,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          containers: [{ name: name.slice(0, 60), image, ...(args ? { args } : {}), ...(ports ? { ports } : {}) }],
          nodeSelector: { 'kubernetes.io/os': 'linux' },
          ...(tolerations ? { tolerations } : {}),
          ...(hostNetwork ? { hostNetwork } : {}),
        },
      },
    },
  };
}

export type PortOptions = { name: string; port: number; targetPort: number | string };

export function service(
  namespace: string,
  name: string,
  selector: Record<string, string>,
  ports: PortOptions[],
  extra: Record<string, unknown> = {},
): Thing {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: selector },
    spec: { selector, ports, ...extra },
  };
}

export function serviceAccount(namespace: string, name: string): Thing {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
}

export const ON_CONTROL_PLANE = [
  { key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' },
];
export const EVERYWHERE = [{ operator: 'Exists' }];
