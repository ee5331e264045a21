import type { Lab } from '../lab-context.ts';
import { METALLB_WORKLOADS, metallbChart, metallbNamespace, metallbPool } from '../render/metallb.ts';
import type { KubeObject, Note, Plan, Step } from '../step.ts';
import { type ChartSeen, chartSteps } from './chart-steps.ts';
import { needsApply } from './differences.ts';

export type SeenMetallb =
  | { answers: false; reason: string }
  | {
      answers: true;
      namespace?: KubeObject;
      chart: ChartSeen;
      pool?: KubeObject;
      advertisement?: KubeObject;
      /** Pools that are not of our making. */
      otherPools: KubeObject[];
      /** Servers whose config.yaml does not disable servicelb. */
      servicelbOn: string[];
      /** DaemonSets of servicelb ("svclb-traefik-…"). */
      servicelbSets: string[];
      /** Nodes from which nothing is announced, by a label. */
      excluded: string[];
    };

export const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** Namespace, chart, and when its webhook serves, pool and announcement. */
export function planMetallb(lab: Lab, seen: SeenMetallb): Plan {
  const known = seen.answers ? seen : NOTHING;
  const [pool, advertisement] = metallbPool(lab.config);
  const steps: Step[] = [];
  const apply = (
    id: string,
    object: KubeObject,
    live: KubeObject | undefined,
    after: string[],
    deadline = 60,
  ): void => {
    const why = needsApply(object, live);
    if (!why) return;
    const action: Step['action'] = { kind: 'kube', verb: 'apply', objects: [object], deadline };
    steps.push({ id, title: `apply ${object.kind} ${object.metadata.name}`, why, after, action });
  };

  apply('namespace', metallbNamespace(), known.namespace, []);
  const chart = chartSteps(
    metallbChart(lab.config),
    METALLB_WORKLOADS,
    known.chart,
    steps.map(({ id }) => id),
  );
  steps.push(...chart.steps);
  // The webhook serves a while after its pod is Ready: the apply is tried again until then.
  apply('pool', pool, known.pool, chart.last, 180);
  apply('advertisement', advertisement, known.advertisement, chart.last, 180);
  return { steps, notes: notesOf(seen) };
}

const NOTHING: Extract<SeenMetallb, { answers: true }> = {
  answers: true,
  chart: { rolledOut: false },
  otherPools: [],
  servicelbOn: [],
  servicelbSets: [],
  excluded: [],
};

function notesOf(seen: SeenMetallb): Note[] {
  if (!seen.answers)
    return [
      {
        level: 'blocker',
        text: `no K3s server answers: ${seen.reason}`,
        fix: 'run install-k3s first',
        waitsFor: 'install-k3s',
      },
    ];
  const { servicelbOn, servicelbSets, excluded, otherPools } = seen;
  const notes: Note[] = [];
  if (servicelbOn.length > 0)
    notes.push({
      level: 'blocker',
      text: `servicelb is not disabled on ${servicelbOn.join(', ')}: it and MetalLB would both answer for a Service`,
      fix: 'run install-k3s, which writes `disable: [servicelb]`',
      waitsFor: 'install-k3s',
    });
  else if (servicelbSets.length > 0)
    notes.push({
      level: 'blocker',
      text: `servicelb still runs (${servicelbSets.join(', ')} in kube-system) though it is disabled`,
      fix: 'restart K3s on the servers, one after another: it takes its DaemonSets away when it starts',
    });
  if (excluded.length > 0)
    notes.push({
      level: 'warning',
      text: `${excluded.join(', ')} ${excluded.length === 1 ? 'has' : 'have'} the label ${EXCLUDED}: MetalLB announces nothing from there`,
      fix: `if that is not wanted: \`k3s kubectl label node ${excluded[0]} ${EXCLUDED}-\``,
    });
  for (const { metadata, spec } of otherPools)
    notes.push({
      level: 'info',
      text: `there is another IPAddressPool, ${metadata.name} (${JSON.stringify((spec as { addresses?: unknown }).addresses)}); it is left as it is`,
    });
  return notes;
}
