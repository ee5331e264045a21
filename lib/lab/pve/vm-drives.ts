import { badParameters, died } from './errors.ts';
import {
  isCdrom,
  isCloudInit,
  isDrive,
  type Properties,
  parseDrive,
  parseSize,
  printDrive,
  printSize,
  storageOf,
} from './properties.ts';
import type { Call } from './router.ts';
import { checkAccess } from './storage-access.ts';
import type { Vm } from './types.ts';

const EFI_BYTES = 2 ** 20;
const TPM_BYTES = 4 * 2 ** 20;
const CLOUDINIT_BYTES = 4 * 2 ** 20;

/**
 * What can be said of a drive before the work starts: whether its storage may be used, and holds such a thing.
 * @throws PveError 403, or 500 for a storage or a volume that does not exist
 */
export function checkStorage({ cluster, who, path }: Call, vmid: number, value: string): void {
  const drive = parseDrive(value);
  const file = drive.get('file') ?? '';
  const storage = storageOf(file);
  if (storage === undefined) return;
  const { content } = cluster.volumes.storage(storage);
  if (/:cloudinit$/.test(file)) return;
  if (!isCdrom(drive) && /^[^:]+:\d+(\.\d+)?$/.test(file)) {
    cluster.access.require(who, `/storage/${storage}`, ['Datastore.AllocateSpace']);
    if (!content.includes('images'))
      throw badParameters({ storage: `storage '${storage}' does not support vm images` });
    return;
  }
  const volume = cluster.volumes.find(file, path.node ?? '');
  if (!volume) throw died(`volume '${file}' does not exist`);
  checkAccess(cluster, who, volume, vmid);
}

/** Privileges for setting or removing a drive, once the VM's configuration is locked. @throws PveError 403 */
export function checkDrive({ cluster, who }: Call, vmid: number, value: string | number): void {
  const drive = parseDrive(value);
  const privileges = isCloudInit(drive)
    ? ['VM.Config.Cloudinit', 'VM.Config.CDROM']
    : [isCdrom(drive) ? 'VM.Config.CDROM' : 'VM.Config.Disk'];
  cluster.access.require(who, `/vms/${vmid}`, privileges, false, cluster.poolOf(vmid));
}

/** Puts a drive into a slot: allocates what is asked for, keeps what is there. @returns the configuration's value */
export function attachDrive({ cluster }: Call, vm: Vm, slot: string, value: string): string {
  const drive = parseDrive(value);
  const file = drive.get('file') ?? '';
  const storage = storageOf(file);
  const [, gib] = /^[^:]+:(\d+(?:\.\d+)?)$/.exec(file) ?? [];
  if (file === 'none' || file === 'cdrom') return printDrive(drive);
  if (storage === undefined) throw died(`unable to parse drive options for '${slot}'`);

  if (/:cloudinit$/.test(file)) {
    const other = Object.keys(vm.config).find(
      (key) => key !== slot && isDrive(key) && isCloudInit(parseDrive(vm.config[key] ?? '')),
    );
    if (other) throw died(`${slot} - cloud-init drive is already attached at '${other}'`);
    const volume = cluster.volumes.allocate(storage, vm.node, vm.vmid, CLOUDINIT_BYTES, { cloudInit: true });
    return printDrive(withFile(drive, volume.volid).set('media', 'cdrom'));
  }
  if (gib !== undefined) {
    const bytes =
      slot === 'efidisk0' ? EFI_BYTES : slot === 'tpmstate0' ? TPM_BYTES : Math.floor(Number(gib) * 2 ** 30);
    const volume = cluster.volumes.allocate(storage, vm.node, vm.vmid, bytes);
    return printDrive(withFile(drive, volume.volid).set('size', printSize(bytes)));
  }
  const volume = cluster.volumes.find(file, vm.node);
  if (!volume) throw died(`volume '${file}' does not exist`);
  if (volume.vmid !== undefined && volume.vmid !== vm.vmid)
    throw died(`volume '${file}' is owned by VM ${volume.vmid}`);
  if (volume.content === 'iso' && !cluster.isoSizes) return printDrive(drive);
  return printDrive(drive.set('size', printSize(volume.bytes)));
}

/** Empties a slot. A disk that belongs to the VM stays as `unusedN`; one that was unused, or cloud-init's, is freed. */
export function detachDrive({ cluster }: Pick<Call, 'cluster'>, vm: Vm, slot: string): void {
  const drive = parseDrive(vm.config[slot] ?? '');
  delete vm.config[slot];
  const volume = cluster.volumes.find(drive.get('file') ?? '', vm.node);
  if (!volume || volume.vmid !== vm.vmid) return;
  if (isCloudInit(drive) || slot.startsWith('unused')) cluster.volumes.free(volume);
  else {
    let number = 0;
    while (`unused${number}` in vm.config) number += 1;
    vm.config[`unused${number}`] = volume.volid;
  }
}

/** Bytes of the disk in a slot, by its volume. @throws PveError as /resize does */
export function diskOf({ cluster }: Pick<Call, 'cluster'>, vm: Vm, slot: string) {
  const value = vm.config[slot];
  if (value === undefined) throw died(`disk '${slot}' does not exist`);
  const drive = parseDrive(value);
  const volume = cluster.volumes.find(drive.get('file') ?? '', vm.node);
  return { drive, volume };
}

/** "+5G" and "50G" against a size now. */
export function newSize(text: string, now: number): number {
  const bytes = parseSize(text.replace(/^\+/, '')) ?? now;
  return text.startsWith('+') ? now + bytes : bytes;
}

function withFile(drive: Properties, volid: string): Properties {
  for (const key of ['format', 'size', 'import-from']) drive.delete(key);
  return drive.set('file', volid);
}
