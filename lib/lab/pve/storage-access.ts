import type { Identity } from './access.ts';
import type { Cluster } from './cluster.ts';
import type { StorageSpec } from './types.ts';
import type { Volume } from './volumes.ts';

/** Storages that a list shows. */
export function visible(cluster: Cluster, who: Identity): StorageSpec[] {
  return cluster.volumes
    .storages()
    .filter(({ name }) =>
      cluster.access.has(who, `/storage/${name}`, ['Datastore.Audit', 'Datastore.AllocateSpace'], true),
    );
}

/**
 * Whether a volume may be used, or looked at.
 * @param vmid the VM that would use it: its own disks need nothing more
 * @throws PveError 403
 */
export function checkAccess(cluster: Cluster, who: Identity, volume: Volume, vmid?: number): void {
  const path = `/storage/${volume.storage}`;
  if (cluster.access.has(who, path, ['Datastore.Allocate'])) return;
  const owner = volume.vmid;
  if (owner === undefined) cluster.access.require(who, path, ['Datastore.AllocateSpace', 'Datastore.Audit'], true);
  else if (owner !== vmid) {
    cluster.access.require(who, path, ['Datastore.Audit']);
    cluster.access.require(who, `/vms/${owner}`, ['VM.Config.Disk'], false, cluster.poolOf(owner));
  }
}

/** The same as a question. */
export function mayAccess(cluster: Cluster, who: Identity, volume: Volume): boolean {
  try {
    checkAccess(cluster, who, volume);
    return true;
  } catch {
    return false;
  }
}
