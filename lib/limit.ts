import { UsageError } from './errors.ts';
import type { Lab } from './lab-context.ts';
import type { Plan } from './step.ts';
import { suggestion } from './suggest.ts';

/** Steps of the named hosts and of none; what is left out counts as done for those that are after it. */
export function limited(plan: Plan, limit: readonly string[]): Plan {
  if (limit.length === 0) return plan;
  const steps = plan.steps.filter((step) => !step.host || limit.includes(step.host));
  const kept = new Set(steps.map((step) => step.id));
  const left = plan.steps.length - steps.length;
  const notes =
    left > 0
      ? [...plan.notes, { level: 'info' as const, text: `--limit leaves out ${left} step${left === 1 ? '' : 's'}` }]
      : plan.notes;
  return { notes, steps: steps.map((step) => ({ ...step, after: step.after?.filter((id) => kept.has(id)) })) };
}

/** @throws UsageError that names every host of --limit that homelab.yaml does not hold */
export function checkLimit({ config }: Lab, limit: readonly string[]): void {
  const known = [...config.k3s.nodes, ...config.proxmox.nodes, ...config.nas].map(({ name }) => name);
  const unknown = limit.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new UsageError(
      unknown.map((name) => `--limit ${name}: there is no such host; ${suggestion(name, known)}`).join('\n'),
    );
}
