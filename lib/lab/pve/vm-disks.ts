import { bootDisk } from './cluster.ts';
import { badParameters, died } from './errors.ts';
import { isCdrom, isCloudInit, isDrive, parseDrive, printDrive, printSize } from './properties.ts';
import type { Call, Route } from './router.ts';
import { vmNeeds } from './router.ts';
import { vmOf } from './vm-config.ts';
import { diskOf, newSize } from './vm-drives.ts';

export const diskRoutes: Route[] = [
  {
    method: 'PUT',
    path: '/nodes/{node}/qemu/{vmid}/resize',
    needs: vmNeeds('VM.Config.Disk'),
    spec: { disk: 'string!', size: 'disk-size!', digest: 'string', skiplock: 'boolean' },
    handle: (call) => {
      const { cluster, who } = call;
      const vm = vmOf(call);
      return cluster.startTask(vm.node, 'resize', String(vm.vmid), who.id, () =>
        cluster.withFileLock(vm.vmid, async () => {
          await cluster.sleep(cluster.latency.task);
          resize(call);
        }),
      );
    },
  },
  {
    method: 'POST',
    path: '/nodes/{node}/qemu/{vmid}/move_disk',
    needs: vmNeeds('VM.Config.Disk'),
    spec: {
      disk: 'string!',
      storage: 'storage-id!',
      delete: 'boolean',
      format: 'string',
      digest: 'string',
      bwlimit: 'integer',
    },
    handle: (call) => {
      const { cluster, params, who } = call;
      const vm = vmOf(call);
      const storage = params.need('storage');
      cluster.access.require(who, `/storage/${storage}`, ['Datastore.AllocateSpace']);
      cluster.checkLock(vm);
      const { drive, volume } = diskOf(call, vm, params.need('disk'));
      if (isCdrom(drive) && !isCloudInit(drive)) throw died("you can't move a cdrom");
      if (volume?.storage === storage) throw died("you can't move to the same storage with same format");
      if (!cluster.volumes.storage(storage).content.includes('images'))
        throw badParameters({ storage: `storage '${storage}' does not support vm images` });
      return cluster.startTask(vm.node, 'qmmove', String(vm.vmid), who.id, async (log) => {
        log(`create full clone of drive ${params.need('disk')} (${volume?.volid})`);
        await cluster.withFileLock(vm.vmid, () => move(call));
      });
    },
  },
  {
    method: 'POST',
    path: '/nodes/{node}/qemu/{vmid}/template',
    needs: vmNeeds('VM.Allocate'),
    spec: { disk: 'string' },
    handle: (call) => {
      const { cluster, who } = call;
      const vm = vmOf(call);
      const check = (): void => {
        cluster.checkLock(vm);
        if (vm.config.template === 1) throw died("you can't convert a template to a template");
        if (vm.running) throw died("you can't convert a VM to template if VM is running");
      };
      check();
      return cluster.startTask(vm.node, 'qmtemplate', String(vm.vmid), who.id, () =>
        cluster.withFileLock(vm.vmid, async () => {
          await cluster.sleep(cluster.latency.task);
          check();
          toTemplate(call);
        }),
      );
    },
  },
];

function resize(call: Call): void {
  const { cluster, params, who } = call;
  const vm = vmOf(call);
  cluster.checkLock(vm);
  const slot = params.need('disk');
  const { drive, volume } = diskOf(call, vm, slot);
  if (isCdrom(drive)) throw died("you can't resize a cdrom");
  if (!volume) throw died(`disk '${slot}' has no associated volume`);
  cluster.access.require(who, `/storage/${volume.storage}`, ['Datastore.AllocateSpace']);
  const bytes = newSize(params.need('size'), volume.bytes);
  if (bytes < volume.bytes) throw died('shrinking disks is not supported');
  if (bytes - volume.bytes > cluster.volumes.space(volume.storage, vm.node).avail)
    throw died(`zfs error: cannot set property for '${volume.volid}': size is greater than available space`);
  volume.bytes = bytes;
  vm.config[slot] = printDrive(drive.set('size', printSize(bytes)));
  if (vm.running && slot === bootDisk(vm.config)) cluster.machines.resize?.(vm.vmid, bytes);
}

async function move(call: Call): Promise<void> {
  const { cluster, params } = call;
  const vm = vmOf(call);
  const slot = params.need('disk');
  await cluster.sleep(cluster.latency.task);
  const { drive, volume } = diskOf(call, vm, slot);
  if (!volume) throw died(`disk '${slot}' has no associated volume`);
  const copy = cluster.volumes.allocate(params.need('storage'), vm.node, vm.vmid, volume.bytes, {
    cloudInit: isCloudInit(drive),
    ...(volume.installed && { installed: true }),
  });
  vm.config[slot] = printDrive(drive.set('file', copy.volid));
  if (params.flag('delete')) cluster.volumes.free(volume);
  else {
    let number = 0;
    while (`unused${number}` in vm.config) number += 1;
    vm.config[`unused${number}`] = volume.volid;
  }
}

/** Disks become base volumes, from which linked clones can be made. */
function toTemplate(call: Call): void {
  const { cluster } = call;
  const vm = vmOf(call);
  vm.config.template = 1;
  for (const slot of Object.keys(vm.config).filter(isDrive)) {
    const drive = parseDrive(vm.config[slot] ?? '');
    const volume = cluster.volumes.find(drive.get('file') ?? '', vm.node);
    if (!volume || volume.vmid !== vm.vmid || isCdrom(drive)) continue;
    volume.volid = volume.volid.replace(/([:/])vm-(\d+-disk)/, '$1base-$2');
    vm.config[slot] = printDrive(drive.set('file', volume.volid));
  }
}
