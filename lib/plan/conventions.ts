import type { ConventionProblem, Conventions, Placed } from './convention-problem.ts';
import { ingressProblems } from './conventions-ingress.ts';
import { storageProblems } from './conventions-storage.ts';

export type { ConventionProblem, Conventions, Placed } from './convention-problem.ts';

/**
 * What can be decided from objects alone about the conventions for ingresses and storage: those of
 * applications/, or of a cluster's application namespaces (what K3s and charts bring follows its own).
 */
export function lintObjects(placed: readonly Placed[], conventions: Conventions): ConventionProblem[] {
  return [...ingressProblems(placed, conventions), ...storageProblems(placed, conventions)];
}
