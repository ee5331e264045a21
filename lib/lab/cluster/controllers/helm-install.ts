import { fullName, type Thing, textAt } from '../api/thing.ts';
import { render } from '../charts/index.ts';
import type { Cluster } from '../cluster.ts';
import { installObject } from './install.ts';

export const CHART_LABEL = 'helmcharts.helm.cattle.io/chart';
const RELEASE = 'meta.helm.sh/release-name';
const RELEASE_NAMESPACE = 'meta.helm.sh/release-namespace';

/** What helm does in the pod of a chart's Job. @returns its exit code and what it prints */
export function install(cluster: Cluster, pod: Thing, chartName: string): { code: number; log: string } {
  const { store } = cluster;
  const chart = store.get('helm.cattle.io/v1', 'HelmChart', chartName, pod.metadata.namespace);
  if (!chart) return { code: 1, log: `Error: HelmChart ${chartName} is gone\n` };
  const namespace = textAt(chart, 'spec.targetNamespace') || (chart.metadata.namespace ?? 'default');
  const failed = (words: string): { code: number; log: string } => ({ code: 1, log: `${words}\n` });
  const fault = cluster.faults.helm[chartName];
  if (fault) return failed(fault);
  if (!store.get('v1', 'Namespace', namespace)) {
    if (chart.spec === undefined || !(chart.spec as { createNamespace?: boolean }).createNamespace)
      return failed(`Error: INSTALLATION FAILED: create: failed to create: namespaces "${namespace}" not found`);
    installObject(cluster, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, 'helm');
  }
  const rendered = render(chart.spec, chartName, namespace);
  if ('failure' in rendered) return failed(rendered.failure);
  const foreign = rendered.objects.find((object) => {
    const live = liveOf(cluster, object);
    return live && live.metadata.annotations?.[RELEASE] !== chartName;
  });
  if (foreign)
    return failed(
      `Error: INSTALLATION FAILED: Unable to continue with install: ${foreign.kind} "${foreign.metadata.name}" in namespace "${foreign.metadata.namespace ?? ''}" exists and cannot be imported into the current release: invalid ownership metadata`,
    );
  const before = releaseObjects(cluster, chartName, namespace);
  const ours = rendered.objects.map((object) => marked(object, chartName, namespace));
  for (const object of ours) installObject(cluster, object, 'helm');
  const kept = new Set(ours.map((object) => `${object.kind} ${fullName(object)}`));
  for (const object of before) if (!kept.has(`${object.kind} ${fullName(object)}`)) store.delete(object);
  return { code: 0, log: `NAME: ${chartName}\nNAMESPACE: ${namespace}\nSTATUS: deployed\n` };
}

/** Takes a release away. Its kinds go too, and with them what is of these kinds. */
export function uninstall(cluster: Cluster, name: string, namespace: string): void {
  for (const object of releaseObjects(cluster, name, namespace)) cluster.store.delete(object);
}

function releaseObjects(cluster: Cluster, name: string, namespace: string): Thing[] {
  return cluster.store
    .all()
    .filter(
      ({ metadata: { annotations } }) =>
        annotations?.[RELEASE] === name && annotations[RELEASE_NAMESPACE] === namespace,
    );
}

function liveOf(cluster: Cluster, { apiVersion, kind, metadata: { name, namespace } }: Thing): Thing | undefined {
  return cluster.store.get(apiVersion, kind, name, namespace);
}

function marked(object: Thing, release: string, namespace: string): Thing {
  const { metadata } = object;
  return {
    ...object,
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, 'app.kubernetes.io/managed-by': 'Helm' },
      annotations: { ...metadata.annotations, [RELEASE]: release, [RELEASE_NAMESPACE]: namespace },
    },
  };
}
