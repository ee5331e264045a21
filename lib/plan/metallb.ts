import type { Lab } from '../lab-context.ts';
import { METALLB_WORKLOADS, metallbChart, metallbNamespace, metallbPool } from '../render/metallb.ts';
import type { KubeObject, Note, Plan, Step } from '../step.ts';
import { chartSteps } from './chart-steps.ts';
import { needsApply } from './differences.ts';
import { metallbNotes } from './metallb-notes.ts';
import { losers, nothingOfMetallb, type SeenMetallb } from './metallb-seen.ts';

/** Namespace, chart, and when its webhook serves, pool and announcement. */
export function planMetallb(lab: Lab, seen: SeenMetallb): Plan {
  const known = seen.answers ? seen : nothingOfMetallb;
  const [pool, advertisement] = metallbPool(lab.config);
  const steps: Step[] = [];
  const apply = (
    object: KubeObject,
    live: KubeObject | undefined,
    step: Pick<Step, 'id' | 'after' | 'destroys'>,
  ): void => {
    const why = needsApply(object, live);
    if (!why) return;
    // The webhook serves a while after its pod is Ready: the apply is tried again until then.
    const action: Step['action'] = { kind: 'kube', verb: 'apply', objects: [object], deadline: 180 };
    steps.push({ title: `apply ${object.kind} ${object.metadata.name}`, why, action, ...step });
  };

  apply(metallbNamespace(), known.namespace, { id: 'namespace' });
  const chart = chartSteps(
    metallbChart(lab.config),
    METALLB_WORKLOADS,
    known.chart,
    steps.map(({ id }) => id),
  );
  steps.push(...chart.steps);
  const lost = losers(pool.metadata.name, lab.config.metallb.pool, known.services);
  apply(pool, known.pool, { id: 'pool', after: chart.last, ...(lost.length > 0 && { destroys: lost }) });
  // After the pool, so that a webhook that never serves is told of once.
  const pooled = steps.at(-1)?.id === 'pool' ? ['pool'] : chart.last;
  apply(advertisement, known.advertisement, { id: 'advertisement', after: pooled });
  const notes = seen.answers ? metallbNotes(lab.config.metallb.pool, seen) : [unanswered(seen.reason)];
  return { steps, notes };
}

function unanswered(reason: string): Note {
  return {
    level: 'blocker',
    text: `no K3s server answers: ${reason}`,
    fix: 'run install-k3s first',
    waitsFor: 'install-k3s',
  };
}
