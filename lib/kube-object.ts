import { dig, type Loose, mapsIn, textOf } from './loose.ts';
import type { KubeKind, KubeRef } from './ports/types.ts';
import type { KubeObject } from './step.ts';

// What is read from objects of the cluster. Pure, so that planners, renderers and proofs may use it.

/** The reference of an object, to look for it. */
export function refOf({ apiVersion, kind, metadata: { name, namespace } }: KubeObject): KubeRef {
  return { apiVersion, kind, name, ...(namespace && { namespace }) };
}

/** Those of a kind, among objects of several; of one namespace, where it is given. */
export function ofKind(
  objects: readonly KubeObject[],
  { apiVersion, kind }: KubeKind,
  namespace?: string,
): KubeObject[] {
  return objects.filter(
    (object) =>
      object.kind === kind &&
      object.apiVersion === apiVersion &&
      (namespace === undefined || object.metadata.namespace === namespace),
  );
}

/** The object of a reference, among objects of several kinds. */
export function findObject(objects: readonly KubeObject[], ref: KubeRef): KubeObject | undefined {
  return ofKind(objects, ref, ref.namespace).find(({ metadata }) => metadata.name === ref.name);
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
export function conditionOf(object: KubeObject | undefined, type: string): Loose | undefined {
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

/** The address that a Service of type LoadBalancer has; of two families, the first. */
export function loadBalancerAddress(service: KubeObject | undefined): string | undefined {
  return loadBalancerAddresses(service)[0];
}

export function loadBalancerAddresses(service: KubeObject | undefined): string[] {
  return mapsIn(dig(service, 'status', 'loadBalancer', 'ingress')).flatMap(({ ip }) => textOf(ip) ?? []);
}

/** What /readyz says, which names every check that there is, as a person reads it: those that fail. */
export function unready(words: string): string | undefined {
  const failed = [...words.matchAll(/\[-\](\S+) failed/g)].map(([, check]) => check);
  return failed.length > 0 ? `the API server is not ready: ${failed.join(', ')}` : undefined;
}
