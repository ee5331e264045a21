import { ownerOf, recordAt, shortHash, type Thing, textAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { CHART_LABEL, uninstall } from './helm-install.ts';
import { installObject } from './install.ts';

const HASH = 'helmcharts.helm.cattle.io/configHash';

/** K3s's helm-controller: a Job installs each HelmChart, and does so again when the chart or its values changed. */
export function helm(cluster: Cluster): void {
  const { store } = cluster;
  for (const chart of store.list('helm.cattle.io/v1', 'HelmChart')) {
    const { name, namespace } = chart.metadata;
    const jobName = `helm-install-${name}`;
    const job = store.get('batch/v1', 'Job', jobName, namespace);
    if (chart.metadata.deletionTimestamp) {
      if (job) store.delete(job);
      uninstall(cluster, name, textAt(chart, 'spec.targetNamespace') || (namespace ?? 'default'));
      store.purge(chart);
      continue;
    }
    const hash = configHash(cluster, chart);
    if (job && job.metadata.annotations?.[HASH] !== hash) {
      store.delete(job);
      continue;
    }
    if (!job) installObject(cluster, installJob(chart, jobName, hash), 'helm-controller');
    if (textAt(chart, 'status.jobName') !== jobName) store.putStatus(chart, { jobName });
  }
}

/** Of everything that decides what is installed: the chart's spec, and the HelmChartConfig of its name. */
function configHash(cluster: Cluster, chart: Thing): string {
  const { name, namespace } = chart.metadata;
  const config = cluster.store.get('helm.cattle.io/v1', 'HelmChartConfig', name, namespace);
  return `SHA256=${shortHash(JSON.stringify([chart.spec, config?.spec]), 16)}`;
}

/**
 * The helm-controller's Job. With failurePolicy `abort` its pod ends with an error once; with `reinstall` (the
 * default) it uninstalls and tries again, for which two more attempts stand here.
 */
function installJob(chart: Thing, name: string, hash: string): Thing {
  const labels = { [CHART_LABEL]: chart.metadata.name };
  const abort = recordAt(chart, 'spec').failurePolicy === 'abort';
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name,
      namespace: chart.metadata.namespace,
      labels,
      annotations: { [HASH]: hash },
      ownerReferences: [ownerOf(chart)],
    },
    spec: {
      backoffLimit: abort ? 0 : 2,
      template: {
        metadata: { labels },
        spec: {
          restartPolicy: 'Never',
          serviceAccountName: `helm-${chart.metadata.name}`,
          containers: [{ name: 'helm', image: 'rancher/klipper-helm:v0.9.14-build20260309', args: ['install'] }],
          tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoSchedule' }],
        },
      },
    },
  };
}
