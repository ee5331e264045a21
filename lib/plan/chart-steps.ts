import { dig } from '../loose.ts';
import { type Chart, chartJobRef, helmChart } from '../render/helm-chart.ts';
import type { KubeObject, Step } from '../step.ts';
import { needsApply } from './differences.ts';

export type ChartSeen = {
  chart?: KubeObject;
  /** The Job in which the helm-controller installed it last. */
  job?: KubeObject;
  /** Whether all of its workloads are there and ready. */
  rolledOut: boolean;
};

/**
 * A chart, installed by K3s's helm-controller and waited for. A HelmChart has no condition Ready: its Job
 * must succeed, and then its workloads must be ready.
 * @param names its Deployments and DaemonSets
 * @returns the steps, named `CHART/…`, and the ids that what needs the chart comes after
 */
export function chartSteps(
  chart: Chart,
  names: string[],
  seen: ChartSeen,
  after: string[] = [],
): { steps: Step[]; last: string[] } {
  const { name, version, namespace } = chart;
  const why = needsApply(helmChart(chart), seen.chart);
  // After an upgrade that failed the workloads of the version before still run: only its Job knows.
  const ended = !seen.job || dig(seen.job, 'status', 'succeeded') === 1;
  const failed = !why && !ended && Number(dig(seen.job, 'status', 'failed') ?? 0) > 0;
  if (!why && ended && seen.rolledOut) return { steps: [], last: [] };

  const steps: Step[] = [];
  const add = (part: string, step: Omit<Step, 'id' | 'after'>): void => {
    const before = steps.at(-1);
    steps.push({ id: `${name}/${part}`, after: before ? [before.id] : after, ...step });
  };
  // A failed install stays (failurePolicy: abort); without its Job the helm-controller tries again.
  if (failed)
    add('retry', {
      title: `delete the failed Job of the chart ${name}, so that it is tried again`,
      why: 'its last install failed',
      action: { kind: 'kube', verb: 'delete', objects: [jobOf(name)], deadline: 120 },
    });
  if (why)
    add('chart', {
      title: `apply HelmChart ${name} ${version}`,
      why,
      action: { kind: 'kube', verb: 'apply', objects: [helmChart(chart)], deadline: 120 },
    });
  add('installed', {
    title: `wait for the chart ${name} to be installed`,
    why: why ?? (ended || !seen.rolledOut ? 'its workloads are not ready' : 'its last install has not succeeded'),
    action: { kind: 'wait', for: { chart: { name, version } }, deadline: 600 },
  });
  add('rollout', {
    title: `wait for ${names.join(', ')}`,
    why: why ?? 'not ready',
    action: { kind: 'wait', for: { rollout: { namespace, names } }, deadline: 600 },
  });
  return { steps, last: steps.slice(-1).map(({ id }) => id) };
}

function jobOf(name: string): KubeObject {
  const { apiVersion, kind, ...metadata } = chartJobRef(name);
  return { apiVersion, kind, metadata };
}
