import type { Config } from '../config/schema.ts';
import type { KubeObject } from '../step.ts';
import type { Chart } from './helm-chart.ts';

export const METALLB = 'metallb-system';
/** Where MetalLB's parts say whether they can take its configuration, from 0.15.3 on. */
export const CONFIGURATION = { apiVersion: 'metallb.io/v1beta1', kind: 'ConfigurationState' };
/** Where the speakers say who of them announces a Service. */
export const ANNOUNCEMENT = { apiVersion: 'metallb.io/v1beta1', kind: 'ServiceL2Status' };
/** The chart's workloads; they are named after the release. */
export const METALLB_WORKLOADS = ['metallb-controller', 'metallb-speaker'];

/** The speakers use the host's network, which the namespace has to allow; the chart does not set it. */
export function metallbNamespace(): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: METALLB,
      labels: {
        'pod-security.kubernetes.io/enforce': 'privileged',
        'pod-security.kubernetes.io/audit': 'privileged',
        'pod-security.kubernetes.io/warn': 'privileged',
      },
    },
  };
}

/** Layer 2 only: without the FRR daemons, which BGP would need. */
export function metallbChart({ metallb }: Pick<Config, 'metallb'>): Chart {
  return {
    name: 'metallb',
    chart: 'metallb',
    repo: 'https://metallb.github.io/metallb',
    version: metallb.version.replace(/^v/, ''),
    namespace: METALLB,
    values: { frrk8s: { enabled: false }, speaker: { frr: { enabled: false } } },
  };
}

/** The pool, and the announcement without which none of its addresses would be answered for. */
export function metallbPool({ name, metallb }: Pick<Config, 'name' | 'metallb'>): [KubeObject, KubeObject] {
  const [first, last = first] = metallb.pool.split('-').map((part) => part.trim());
  return [
    {
      apiVersion: 'metallb.io/v1beta1',
      kind: 'IPAddressPool',
      metadata: { name, namespace: METALLB },
      spec: { addresses: [`${first}-${last}`] },
    },
    {
      apiVersion: 'metallb.io/v1beta1',
      kind: 'L2Advertisement',
      metadata: { name, namespace: METALLB },
      spec: { ipAddressPools: [name] },
    },
  ];
}
