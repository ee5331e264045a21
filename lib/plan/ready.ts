import { dig, mapsIn } from '../loose.ts';
import type { KubeObject } from '../step.ts';

/** Whether an object's condition Ready is "True". */
export function isReady(object: KubeObject | undefined): boolean {
  return conditionOf(object, 'Ready')?.status === 'True';
}

/** A condition's state as a person reads it: "False (ErrRegisterACMEAccount: …)", "none yet". */
export function readiness(object: KubeObject | undefined): string {
  if (!object) return 'absent';
  const condition = conditionOf(object, 'Ready');
  if (!condition) return 'no condition Ready yet';
  const { status, reason, message } = condition;
  return status === 'True' ? 'Ready' : `not Ready: ${[reason, message].filter(Boolean).join(': ') || status}`;
}

function conditionOf(object: KubeObject | undefined, type: string): Record<string, unknown> | undefined {
  return mapsIn(dig(object, 'status', 'conditions')).find((condition) => condition.type === type);
}
