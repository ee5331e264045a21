import { stringify } from 'yaml';
import type { KubeRef } from '../ports/types.ts';
import type { KubeObject } from '../step.ts';

export type Chart = {
  /** Of the release and of the HelmChart. */
  name: string;
  chart: string;
  repo: string;
  version: string;
  /** Where the chart's objects go. It must exist: it often needs labels that helm would not set. */
  namespace: string;
  values: Record<string, unknown>;
};

/**
 * A chart as an object for the helm-controller in K3s. On a failed install it stops there: the default,
 * `reinstall`, would take down what ran before.
 */
export function helmChart({ name, chart, repo, version, namespace, values }: Chart): KubeObject {
  return {
    apiVersion: 'helm.cattle.io/v1',
    kind: 'HelmChart',
    metadata: { name, namespace: 'kube-system' },
    spec: {
      chart,
      repo,
      version,
      targetNamespace: namespace,
      failurePolicy: 'abort',
      valuesContent: stringify(values, { lineWidth: 0 }),
    },
  };
}

/** The HelmChart of that name. */
export function chartRef(name: string): KubeRef {
  return { apiVersion: 'helm.cattle.io/v1', kind: 'HelmChart', name, namespace: 'kube-system' };
}

/** The Job in which the helm-controller installs or upgrades a chart. */
export function chartJobRef(name: string): KubeRef {
  return { apiVersion: 'batch/v1', kind: 'Job', name: `helm-install-${name}`, namespace: 'kube-system' };
}
