import { findObject, isRolledOut, ofKind } from '../kube-object.ts';
import type { ChartSeen } from '../plan/chart-steps.ts';
import type { KubeKind } from '../ports/types.ts';
import { chartJobRef, chartRef } from '../render/helm-chart.ts';
import type { KubeObject } from '../step.ts';

const DEPLOYMENT = { apiVersion: 'apps/v1', kind: 'Deployment' };
const DAEMON_SET = { apiVersion: 'apps/v1', kind: 'DaemonSet' };

/** What has to be asked for to see a chart. */
export const CHART_KINDS: readonly KubeKind[] = [chartRef(''), chartJobRef(''), DEPLOYMENT, DAEMON_SET];

/** A chart of K3s's helm-controller: its object, its last Job, and whether its workloads are ready. */
export function chartIn(
  objects: readonly KubeObject[],
  name: string,
  namespace: string,
  workloads: readonly string[],
): ChartSeen {
  const all = [...ofKind(objects, DEPLOYMENT, namespace), ...ofKind(objects, DAEMON_SET, namespace)];
  const rolledOut = workloads.every((workload) => {
    const found = all.find(({ metadata }) => metadata.name === workload);
    return found !== undefined && isRolledOut(found);
  });
  return { chart: findObject(objects, chartRef(name)), job: findObject(objects, chartJobRef(name)), rolledOut };
}
