import { isRolledOut } from '../kube-object.ts';
import type { ChartSeen } from '../plan/chart-steps.ts';
import type { KubeReader } from '../ports/types.ts';
import { chartJobRef, chartRef } from '../render/helm-chart.ts';

/** A chart of K3s's helm-controller: its object, its last Job, and whether its workloads are ready. */
export async function observeChart(
  kube: KubeReader,
  name: string,
  namespace: string,
  workloads: readonly string[],
): Promise<ChartSeen> {
  const [chart, job, deployments, daemonSets] = await Promise.all([
    kube.get(chartRef(name)),
    kube.get(chartJobRef(name)),
    kube.list('apps/v1', 'Deployment', namespace),
    kube.list('apps/v1', 'DaemonSet', namespace),
  ]);
  const all = [...deployments, ...daemonSets];
  const rolledOut = workloads.every((workload) => {
    const found = all.find(({ metadata }) => metadata.name === workload);
    return found !== undefined && isRolledOut(found);
  });
  return { chart, job, rolledOut };
}
