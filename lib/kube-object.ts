import { dig, type Loose, mapsIn, textOf } from './loose.ts';
import type { KubeRef } from './ports/types.ts';
import type { KubeObject } from './step.ts';

// What is read from objects of the cluster. Pure, so that planners, renderers and proofs may use it.

/** The reference of an object, to look for it. */
export function refOf({ apiVersion, kind, metadata: { name, namespace } }: KubeObject): KubeRef {
  return { apiVersion, kind, name, ...(namespace && { namespace }) };
}

/** "Ingress my-app/my-app": how an object is named to a person. */
export function titleOf({ kind, metadata }: KubeObject): string {
  return nameOf({ kind, ...metadata });
}

/** The same of a reference. */
export function nameOf({ kind, name, namespace }: Pick<KubeRef, 'kind' | 'name' | 'namespace'>): string {
  return `${kind} ${namespace ? `${namespace}/` : ''}${name}`;
}

/** The condition of that type in an object's status. */
function conditionOf(object: KubeObject | undefined, type: string): Loose | undefined {
  return mapsIn(dig(object, 'status', 'conditions')).find((condition) => condition.type === type);
}

/** Whether the condition of that type is "True". */
export function isTrue(object: KubeObject | undefined, type: string): boolean {
  return conditionOf(object, type)?.status === 'True';
}

/** Whether an object's condition Ready is "True". */
export function isReady(object: KubeObject | undefined): boolean {
  return isTrue(object, 'Ready');
}

/** The condition Ready as a person reads it: "not Ready: ErrRegisterACMEAccount: …", "absent". */
export function readiness(object: KubeObject | undefined): string {
  if (!object) return 'absent';
  const condition = conditionOf(object, 'Ready');
  if (!condition) return 'no condition Ready yet';
  const { status, reason, message } = condition;
  return status === 'True' ? 'Ready' : `not Ready: ${[reason, message].filter(Boolean).join(': ') || status}`;
}

/** Whether a workload's controller has seen its newest form and all of its pods are ready. */
export function isRolledOut(workload: KubeObject): boolean {
  const number = (...path: string[]): number => Number(dig(workload, ...path) ?? 0);
  const everywhere = workload.kind === 'DaemonSet';
  const wanted = everywhere
    ? number('status', 'desiredNumberScheduled')
    : Number(dig(workload, 'spec', 'replicas') ?? 1);
  const ready = number('status', everywhere ? 'numberReady' : 'readyReplicas');
  return number('status', 'observedGeneration') >= number('metadata', 'generation') && ready >= wanted;
}

/** The address that a Service of type LoadBalancer has. */
export function loadBalancerAddress(service: KubeObject | undefined): string | undefined {
  return textOf(dig(service, 'status', 'loadBalancer', 'ingress', 0, 'ip'));
}
