import { dig, mapsIn } from '../loose.ts';
import type { SeenPod } from '../plan/k3s-drain.ts';
import type { KubeObject } from '../step.ts';

/** The pods of a node, of all that there are. */
export function podsOn(node: string, pods: readonly KubeObject[]): SeenPod[] {
  return pods.filter((pod) => dig(pod, 'spec', 'nodeName') === node).map(podOf);
}

function podOf(pod: KubeObject): SeenPod {
  const owners = mapsIn(pod.metadata.ownerReferences);
  const volumes = mapsIn(dig(pod, 'spec', 'volumes'));
  return {
    name: `${pod.metadata.namespace}/${pod.metadata.name}`,
    ended: ['Succeeded', 'Failed'].includes(String(dig(pod, 'status', 'phase'))),
    daemon: owners.some(({ kind }) => kind === 'DaemonSet'),
    bare: owners.length === 0,
    emptyDirs: volumes.filter((volume) => 'emptyDir' in volume).map(({ name }) => String(name)),
  };
}
