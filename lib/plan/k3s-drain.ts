/** On a Node that we cordoned: after a run that was killed the next one knows that it may take that back. */
export const CORDONED = 'homelab/cordoned-by';

/** Minutes in which a node's pods must have gone. */
export const DRAIN_MINUTES = 5;
/** Seconds for each of kubectl's calls: it has no limit of its own, and its --timeout ends none that is under way. */
const CALL = 30;
/** Seconds for kubectl: what it looks up before, the drain, and what was under way when its time was over. */
export const DRAIN_COMMAND = DRAIN_MINUTES * 60 + 4 * CALL;
/** Seconds for all of it: etcd's members are counted before, and the node is let in again where it fails. */
export const DRAIN_DEADLINE = DRAIN_COMMAND + 300;

/** What cordons a node and says that it was us, in one write. */
export const cordonPatch = { metadata: { annotations: { [CORDONED]: 'install-k3s' } }, spec: { unschedulable: true } };
/** What takes that back. */
export const uncordonPatch = { metadata: { annotations: { [CORDONED]: null } }, spec: { unschedulable: null } };
/** Our mark only: whether the node takes pods is somebody else's. */
export const unmarkPatch = { metadata: { annotations: { [CORDONED]: null } } };

/**
 * Pods of DaemonSets stay, what lies in an emptyDir goes, and pods that nothing would make again stop it: they are the
 * owner's to delete. Budgets hold (evictions, not deletions), until the time is over.
 */
export function drainCommand(node: string): string[] {
  const patience = [`--timeout=${DRAIN_MINUTES}m`, `--request-timeout=${CALL}s`];
  return ['drain', node, '--ignore-daemonsets', '--delete-emptydir-data', ...patience];
}

/** `emptyDirs`: the names of its volumes that are on the node only as long as the pod is. */
export type SeenPod = { name: string; ended: boolean; daemon: boolean; bare: boolean; emptyDirs: string[] };

/** The pods that a drain ends. */
export function movable(pods: readonly SeenPod[]): SeenPod[] {
  return pods.filter(({ daemon, ended }) => !daemon && !ended);
}

/** What is lost of pods that go to another node; undefined: nothing. */
export function emptiedText(pods: readonly SeenPod[]): string | undefined {
  const emptied = movable(pods).filter(({ emptyDirs }) => emptyDirs.length > 0);
  if (emptied.length === 0) return undefined;
  return `what pods keep in an emptyDir: ${emptied.map(({ name, emptyDirs }) => `${name} (${emptyDirs.join(', ')})`).join(', ')}`;
}

export type DrainTrouble = { cause: string; fix: string };

/** Why kubectl could not drain a node, in its words; undefined where they say something else. */
export function drainTrouble(output: string): DrainTrouble | undefined {
  const bare = /cannot delete Pods that declare no controller[^:]*: ([^\]\n]*)/.exec(output)?.[1];
  if (bare !== undefined) {
    const pods = bare
      .split(', ')
      .map((pod) => pod.trim())
      .filter((pod) => /^[\w.-]+\/[\w.-]+$/.test(pod));
    const [namespace, name] = pods[0]?.split('/') ?? [];
    return {
      cause: `nothing would make ${pods.join(', ')} again: ${pods.length === 1 ? 'it belongs' : 'they belong'} to no Deployment or the like`,
      fix: `delete ${pods.length === 1 ? 'it' : 'them'} when you can do without (\`k3s kubectl -n ${namespace} delete pod ${name}\`), and run this again`,
    };
  }
  const guarded = podsNamed(output, /error when evicting pods\/"([^"]+)" -n "([^"]+)"[^\n]*disruption budget/g);
  if (guarded.length > 0) {
    const [namespace] = guarded[0]?.split('/') ?? [];
    return {
      cause: `a PodDisruptionBudget keeps ${guarded.join(', ')} where ${guarded.length === 1 ? 'it is' : 'they are'}`,
      fix: `\`k3s kubectl -n ${namespace} get pdb\` says which; give it more replicas, or take the budget away for the upgrade, and run this again`,
    };
  }
  const slow = podsNamed(output, /error when waiting for pod "([^"]+)" in namespace "([^"]+)" to terminate/g);
  if (slow.length > 0)
    return {
      cause: `${slow.join(', ')} did not end within ${DRAIN_MINUTES} minutes`,
      fix: 'see what it waits for (`k3s kubectl describe pod`), and run this again',
    };
  return undefined;
}

/** "namespace/name" of each pod that a pattern finds, once. */
function podsNamed(output: string, pattern: RegExp): string[] {
  return [...new Set([...output.matchAll(pattern)].map(([, name, namespace]) => `${namespace}/${name}`))];
}
