import { titleOf } from '../kube-object.ts';
import type { KubeObject } from '../step.ts';
import { CLUSTER, type ConventionProblem, type Conventions, type Placed } from './convention-problem.ts';
import { type ClusterConventions, clusterProblems } from './conventions-cluster.ts';
import { claimedTwice, ingressProblems } from './conventions-ingress.ts';
import { storageProblems } from './conventions-storage.ts';

export type { ConventionProblem, Conventions, Placed } from './convention-problem.ts';

/**
 * What breaks the conventions for ingresses and storage: in applications/, and in the cluster, where it was seen. What
 * K3s and charts bring follows its own, but a host that it claims is taken.
 * @param files the manifests of applications/
 */
export function lintObjects(
  files: readonly Placed[],
  conventions: Conventions,
  cluster?: ClusterConventions,
): ConventionProblem[] {
  const live = (cluster?.objects ?? []).map((object): Placed => ({ place: CLUSTER, object }));
  const inFiles = new Set(files.map(({ object }) => titleOf(object)));
  // Of what is in a file too, the file is told about; an Ingress may have got annotations that no file has.
  const own = live.filter(
    ({ object }) => !isBrought(object) && (object.kind === 'Ingress' || !inFiles.has(titleOf(object))),
  );
  const placed = [...files, ...own];
  const claiming = [...files, ...live].filter(({ object }) => object.kind === 'Ingress');
  return once([
    ...ingressProblems(placed, conventions),
    ...claimedTwice(claiming),
    ...storageProblems(placed, conventions),
    ...(cluster ? clusterProblems(placed, cluster, conventions) : []),
  ]);
}

/** Namespaces of what K3s and the scripts install; those of proofs are gone in a moment. */
const SYSTEM = /^(kube-system|kube-public|kube-node-lease|cert-manager|metallb-system|homelab-proof-.*)$/;

/** Whether K3s, a chart or a controller has made it, and not a person. */
function isBrought({ metadata }: KubeObject): boolean {
  const { namespace = '', labels = {}, annotations = {}, ownerReferences } = metadata;
  return (
    SYSTEM.test(namespace) ||
    labels['app.kubernetes.io/managed-by'] === 'Helm' ||
    'meta.helm.sh/release-name' in annotations ||
    'objectset.rio.cattle.io/hash' in labels ||
    (Array.isArray(ownerReferences) && ownerReferences.length > 0)
  );
}

/** What is said of a file is not said again of the same object in the cluster. */
function once(problems: readonly ConventionProblem[]): ConventionProblem[] {
  const said = new Set<string>();
  return problems.filter(({ object, message }) => {
    const key = `${object}\n${message}`;
    if (said.has(key)) return false;
    said.add(key);
    return true;
  });
}
