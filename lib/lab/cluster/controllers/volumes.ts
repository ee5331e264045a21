import { itemsAt, type Thing, textAt, textsAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

export const SELECTED_NODE = 'volume.kubernetes.io/selected-node';

export type PodClaims = {
  /** Why the pod cannot start, in Kubernetes' words. */
  problem?: string;
  /** Claims that wait for their first consumer's node. */
  waiting: Thing[];
  /** Nodes to which its volumes tie it; undefined: any. */
  nodes?: string[];
};

/** The claims of a pod: whether they are there and bound, and where that lets it run. */
export function claimsOfPod(cluster: Cluster, pod: Thing): PodClaims {
  const waiting: Thing[] = [];
  let nodes: string[] | undefined;
  const only = (node: string): void => {
    nodes = nodes === undefined || nodes.includes(node) ? [node] : [];
  };
  for (const name of claimNames(pod)) {
    const claim = cluster.store.get('v1', 'PersistentVolumeClaim', name, pod.metadata.namespace);
    if (!claim) return { waiting, problem: `persistentvolumeclaim "${name}" not found` };
    if (claim.metadata.deletionTimestamp)
      return { waiting, problem: `persistentvolumeclaim "${name}" is being deleted` };
    const volume = cluster.store.get('v1', 'PersistentVolume', textAt(claim, 'spec.volumeName'));
    if (textAt(claim, 'status.phase') === 'Bound' && volume) {
      const node = homeOf(volume);
      if (node) only(node);
    } else if (waitsForConsumer(cluster, claim)) {
      waiting.push(claim);
      const chosen = claim.metadata.annotations?.[SELECTED_NODE];
      if (chosen) only(chosen);
    } else return { waiting, problem: 'pod has unbound immediate PersistentVolumeClaims' };
  }
  return { waiting, nodes };
}

export function claimNames(pod: Thing): string[] {
  return itemsAt(pod, 'spec.volumes').flatMap((volume) => textAt(volume, 'persistentVolumeClaim.claimName') || []);
}

export function waitsForConsumer(cluster: Cluster, claim: Thing): boolean {
  const storageClass = cluster.store.get('storage.k8s.io/v1', 'StorageClass', textAt(claim, 'spec.storageClassName'));
  return storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
}

/** The node to which a volume's affinity ties it. */
function homeOf(volume: Thing): string | undefined {
  const expression = itemsAt(volume, 'spec.nodeAffinity.required.nodeSelectorTerms.0.matchExpressions')[0];
  return expression ? textAt(expression, 'values.0') : undefined;
}

/**
 * Mounts what a pod has on NFS, from the node's address: the NAS says whether it may.
 * @returns the kubelet's words when one is refused
 */
export function mountAll(cluster: Cluster, pod: Thing, client: string): string | undefined {
  for (const { name, server, share, subdir } of nfsVolumes(cluster, pod)) {
    const answer = cluster.options.provisionNfs?.(server, share, subdir, client) ?? {
      ok: false,
      message: `mount.nfs: No route to host for ${server}`,
    };
    if (!answer.ok)
      return `MountVolume.SetUp failed for volume "${name}" : rpc error: code = Internal desc = mount failed: exit status 32\n${answer.message}`;
  }
  return undefined;
}

/** What a pod has on NFS, by the name of its volume. */
export function nfsVolumes(
  cluster: Cluster,
  pod: Thing,
): { name: string; server: string; share: string; subdir: string }[] {
  return itemsAt(pod, 'spec.volumes').flatMap((volume) => {
    const name = textAt(volume, 'name');
    const server = textAt(volume, 'nfs.server');
    if (server) return [{ name, server, share: textAt(volume, 'nfs.path'), subdir: '' }];
    const bound = volumeOf(cluster, pod, volume);
    const fixed = textAt(bound, 'spec.nfs.server');
    if (fixed) return [{ name, server: fixed, share: textAt(bound, 'spec.nfs.path'), subdir: '' }];
    const attributes = textsAt(bound, 'spec.csi.volumeAttributes');
    return attributes.server
      ? [{ name, server: attributes.server, share: attributes.share ?? '', subdir: attributes.subdir ?? '' }]
      : [];
  });
}

function volumeOf(cluster: Cluster, pod: Thing, volume: unknown): Thing | undefined {
  const claim = textAt(volume, 'persistentVolumeClaim.claimName');
  const found = cluster.store.get('v1', 'PersistentVolumeClaim', claim, pod.metadata.namespace);
  return cluster.store.get('v1', 'PersistentVolume', textAt(found, 'spec.volumeName'));
}

/** Folders of this machine that stand for a container's volumes, by mount path. */
export function foldersOf(cluster: Cluster, pod: Thing, container: unknown): Map<string, string> {
  const node = cluster.kubelets.get(textAt(pod, 'spec.nodeName'));
  const volumes = itemsAt(pod, 'spec.volumes');
  return new Map(
    itemsAt(container, 'volumeMounts').flatMap((mount): [string, string][] => {
      const volume = volumes.find((v) => v.name === mount.name);
      const kept = cluster.volumes.get(volumeOf(cluster, pod, volume)?.metadata.name ?? '');
      const server = textAt(volume, 'nfs.server');
      const inline = server
        ? cluster.options.provisionNfs?.(server, textAt(volume, 'nfs.path'), '', node?.host.address ?? '')
        : undefined;
      const folder = kept ?? (inline?.ok ? inline.folder : undefined);
      return folder ? [[textAt(mount, 'mountPath'), folder]] : [];
    }),
  );
}
