import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { recordAt, type Thing, textAt, textsAt, valueAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { claimNames, SELECTED_NODE, waitsForConsumer } from './volumes.ts';
import { isPodReady } from './workloads.ts';

/** Claims get volumes: of K3s's local-path provisioner, and of csi-driver-nfs once its chart runs. */
export function storage(cluster: Cluster): void {
  for (const claim of cluster.store.list('v1', 'PersistentVolumeClaim')) {
    if (claim.metadata.deletionTimestamp) release(cluster, claim);
    else if (textAt(claim, 'status.phase') !== 'Bound') provision(cluster, claim);
  }
}

type Made =
  | { source: Record<string, unknown>; folder: string; mountOptions?: unknown }
  | { problem: string }
  | 'not yet';

function provision(cluster: Cluster, claim: Thing): void {
  if (!textAt(claim, 'status.phase')) cluster.store.putStatus(claim, { phase: 'Pending' });
  const name = textAt(claim, 'spec.storageClassName');
  if (!name) {
    bindFixed(cluster, claim);
    return;
  }
  const storageClass = cluster.store.get('storage.k8s.io/v1', 'StorageClass', name);
  if (!storageClass) {
    cluster.event(claim, 'Warning', 'ProvisioningFailed', `storageclass.storage.k8s.io "${name}" not found`);
    return;
  }
  if (waitsForConsumer(cluster, claim) && !claim.metadata.annotations?.[SELECTED_NODE]) {
    cluster.event(claim, 'Normal', 'WaitForFirstConsumer', 'waiting for first consumer to be created before binding');
    return;
  }
  const key = `provision ${claim.metadata.uid}`;
  if (!cluster.loop.due(key, cluster.pace.pod)) return;
  const volume = `pvc-${claim.metadata.uid}`;
  const made = PROVISIONERS[String(storageClass.provisioner)]?.(cluster, claim, storageClass, volume) ?? 'not yet';
  if (made === 'not yet') {
    cluster.event(
      claim,
      'Normal',
      'ExternalProvisioning',
      `Waiting for a volume to be created either by the external provisioner '${storageClass.provisioner}' or manually by the system administrator.`,
    );
    return;
  }
  if ('problem' in made) {
    cluster.event(
      claim,
      'Warning',
      'ProvisioningFailed',
      `failed to provision volume with StorageClass "${name}": ${made.problem}`,
    );
    cluster.loop.postpone(key, cluster.pace.retry, cluster.pace.pod);
    return;
  }
  bindTo(cluster, claim, storageClass, volume, made);
}

/** A claim without a class takes the volume that it names, when that is for it, large enough, and nobody else's. */
function bindFixed(cluster: Cluster, claim: Thing): void {
  const { store } = cluster;
  const { name, namespace, uid } = claim.metadata;
  const volume = store.get('v1', 'PersistentVolume', textAt(claim, 'spec.volumeName'));
  const reference = recordAt(volume, 'spec.claimRef');
  const phase = textAt(volume, 'status.phase');
  const modes = [valueAt(claim, 'spec.accessModes')].flat().map(String);
  const fits =
    volume !== undefined &&
    reference.name === name &&
    reference.namespace === namespace &&
    (reference.uid === undefined || reference.uid === uid) &&
    !['Released', 'Failed'].includes(phase) &&
    !textAt(volume, 'spec.storageClassName') &&
    modes.every((mode) => [valueAt(volume, 'spec.accessModes')].flat().includes(mode)) &&
    valueAt(volume, 'spec.capacity.storage') === valueAt(claim, 'spec.resources.requests.storage');
  if (!fits) {
    const words = volume
      ? `volume "${volume.metadata.name}" already bound to a different claim, or not what is claimed.`
      : 'no persistent volumes available for this claim and no storage class is set';
    cluster.event(claim, 'Normal', 'FailedBinding', words);
    return;
  }
  const spec = { ...recordAt(volume, 'spec'), claimRef: { ...reference, uid } };
  store.put({ ...volume, spec, status: { phase: 'Bound' } });
  store.putStatus(claim, { phase: 'Bound', accessModes: modes, capacity: valueAt(volume, 'spec.capacity') });
}

const PROVISIONERS: Record<string, (cluster: Cluster, claim: Thing, storageClass: Thing, volume: string) => Made> = {
  'rancher.io/local-path': localPath,
  'nfs.csi.k8s.io': nfs,
};

function localPath(cluster: Cluster, claim: Thing, _storageClass: Thing, volume: string): Made {
  const node = claim.metadata.annotations?.[SELECTED_NODE] ?? '';
  const kubelet = cluster.kubelets.get(node);
  if (!kubelet) return 'not yet';
  const path = `/var/lib/rancher/k3s/storage/${volume}_${claim.metadata.namespace}_${claim.metadata.name}`;
  const folder = join(kubelet.host.root, path);
  mkdirSync(folder, { recursive: true });
  const affinity = {
    required: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [node] }] }],
    },
  };
  return { folder, source: { hostPath: { path, type: 'DirectoryOrCreate' }, nodeAffinity: affinity } };
}

/** What a StorageClass of csi-driver-nfs may say; it refuses everything else. */
const NFS_PARAMETERS = ['server', 'share', 'subdir', 'ondelete', 'mountpermissions', 'mountoptions'];

function nfs(cluster: Cluster, claim: Thing, storageClass: Thing, volume: string): Made {
  const controller = cluster.store
    .list('v1', 'Pod')
    .find((pod) => pod.metadata.labels?.app === 'csi-nfs-controller' && isPodReady(pod));
  const client = cluster.kubelets.get(textAt(controller, 'spec.nodeName'))?.host.address;
  if (!client) return 'not yet';
  const given = textsAt(storageClass, 'parameters');
  const failed = (code: string, words: string): Made => ({ problem: `rpc error: code = ${code} desc = ${words}` });
  const unknown = Object.keys(given).find((key) => !NFS_PARAMETERS.includes(key.toLowerCase()));
  if (unknown) return failed('InvalidArgument', `invalid parameter "${unknown}" in storage class`);
  const { server, share } = given;
  if (!server) return failed('InvalidArgument', 'server is a required parameter');
  if (!share) return failed('InvalidArgument', 'share is a required parameter');
  const subdir = (given.subDir ?? volume)
    .replaceAll('${pvc.metadata.name}', claim.metadata.name)
    .replaceAll('${pvc.metadata.namespace}', claim.metadata.namespace ?? '')
    .replaceAll('${pv.metadata.name}', volume);
  const answer = cluster.options.provisionNfs?.(server, share, subdir, client) ?? {
    ok: false,
    message: `mount.nfs: No route to host for ${server}`,
  };
  if (!answer.ok)
    return failed('Internal', `failed to mount nfs server: mount failed: exit status 32\n${answer.message}`);
  const attributes = { server, share, subdir, 'csi.storage.k8s.io/pv/name': volume };
  return {
    folder: answer.folder,
    mountOptions: storageClass.mountOptions,
    source: {
      csi: {
        driver: 'nfs.csi.k8s.io',
        volumeHandle: `${server}#${share}#${subdir}#${volume}#`,
        volumeAttributes: attributes,
      },
    },
  };
}

function bindTo(
  cluster: Cluster,
  claim: Thing,
  storageClass: Thing,
  name: string,
  made: Exclude<Made, 'not yet' | { problem: string }>,
): void {
  const capacity = { storage: valueAt(claim, 'spec.resources.requests.storage') };
  const { apiVersion, kind, metadata } = claim;
  cluster.volumes.set(name, made.folder);
  cluster.store.put({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name, annotations: { 'pv.kubernetes.io/provisioned-by': String(storageClass.provisioner) } },
    spec: {
      ...made.source,
      capacity,
      accessModes: valueAt(claim, 'spec.accessModes'),
      claimRef: { apiVersion, kind, name: metadata.name, namespace: metadata.namespace, uid: metadata.uid },
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy,
      storageClassName: storageClass.metadata.name,
      volumeMode: 'Filesystem',
      ...(made.mountOptions ? { mountOptions: made.mountOptions } : {}),
    },
    status: { phase: 'Bound' },
  });
  cluster.store.put({
    ...claim,
    metadata: { ...metadata, annotations: { ...metadata.annotations, 'pv.kubernetes.io/bind-completed': 'yes' } },
    spec: { ...recordAt(claim, 'spec'), volumeName: name },
    status: { phase: 'Bound', accessModes: valueAt(claim, 'spec.accessModes'), capacity },
  });
}

/** A deleted claim goes when no pod uses it any more, and its volume as the class says. */
function release(cluster: Cluster, claim: Thing): void {
  const { store } = cluster;
  const used = store
    .list('v1', 'Pod', claim.metadata.namespace)
    .some(
      (pod) =>
        claimNames(pod).includes(claim.metadata.name) && !['Succeeded', 'Failed'].includes(textAt(pod, 'status.phase')),
    );
  if (used) return;
  const volume = store.get('v1', 'PersistentVolume', textAt(claim, 'spec.volumeName'));
  store.purge(claim);
  if (!volume) return;
  if (textAt(volume, 'spec.persistentVolumeReclaimPolicy') === 'Retain') {
    store.putStatus(volume, { phase: 'Released' });
    return;
  }
  const folder = cluster.volumes.get(volume.metadata.name);
  const storageClass = store.get('storage.k8s.io/v1', 'StorageClass', textAt(volume, 'spec.storageClassName'));
  if (folder) discard(folder, textsAt(storageClass, 'parameters').onDelete ?? 'delete');
  cluster.volumes.delete(volume.metadata.name);
  store.purge(volume);
}

function discard(folder: string, onDelete: string): void {
  if (onDelete === 'archive') renameSync(folder, join(dirname(folder), `archived-${basename(folder)}`));
  else if (onDelete !== 'retain') rmSync(folder, { recursive: true, force: true });
}
