import { died } from './errors.ts';
import { isCdrom, isCloudInit, isDrive, parseDrive, parseProperties, printDrive, storageOf } from './properties.ts';
import type { Call, Route } from './router.ts';
import { vmNeeds } from './router.ts';
import type { Log } from './tasks.ts';
import { vmOf } from './vm-config.ts';

export const migrateRoutes: Route[] = [
  {
    method: 'POST',
    path: '/nodes/{node}/qemu/{vmid}/migrate',
    needs: vmNeeds('VM.Migrate'),
    spec: {
      target: 'string!',
      online: 'boolean',
      force: 'boolean',
      migration_type: 'string',
      migration_network: 'string',
      'with-local-disks': 'boolean',
      targetstorage: 'string',
      bwlimit: 'integer',
    },
    handle: (call) => {
      const { cluster, params, who } = call;
      const vm = vmOf(call);
      const target = params.need('target');
      if (!cluster.nodes.some((node) => node.name === target)) throw died(`no such cluster node '${target}'`);
      if (target === vm.node) throw died(`target is local node.`);
      cluster.checkLock(vm);
      if (vm.running && !params.flag('online')) throw died("can't migrate running VM without --online");
      const storage = params.text('targetstorage');
      if (storage) cluster.access.require(who, `/storage/${storage}`, ['Datastore.AllocateSpace']);
      return cluster.startTask(vm.node, 'qmigrate', String(vm.vmid), who.id, (log) => migrate(call, log));
    },
  },
];

/** Offline: the disks on node-local storage go along, one by one; their numbers may change on the way. */
async function migrate(call: Call, log: Log): Promise<void> {
  const { cluster, params } = call;
  const vm = vmOf(call);
  const target = params.need('target');
  log(`starting migration of VM ${vm.vmid} to node '${target}' (${cluster.node(target).address})`);
  if (cluster.faults.isDown(target))
    throw died(`migration aborted (duration 00:00:00): Can't connect to destination address using public key`);
  const slots = Object.keys(vm.config).filter(isDrive);
  for (const slot of slots) {
    const drive = parseDrive(vm.config[slot] ?? '');
    const file = drive.get('file') ?? '';
    const storage = storageOf(file);
    if (storage === undefined || cluster.volumes.storage(storage).shared) continue;
    if (isCdrom(drive) && !isCloudInit(drive)) {
      log(`can't migrate local cdrom drive '${file}' (${slot}): local cdrom image`);
      throw died("Problem found while scanning volumes - can't migrate VM - check log");
    }
    const base = cluster.volumes.find(file, vm.node)?.base;
    if (base) throw died(`Problem found while scanning volumes - can't migrate '${file}' as it's a clone of '${base}'`);
  }
  for (const [key, value] of Object.entries(vm.config)) {
    const mapping = /^hostpci\d+$/.test(key) ? parseProperties(String(value), 'host').get('mapping') : undefined;
    if (mapping && !cluster.node(target).gpus?.includes(mapping))
      throw died(`can't migrate to '${target}': missing mapped devices ${key}: ${mapping}`);
  }
  if (vm.running) throw died('live migration is not part of this lab');

  vm.config.lock = 'migrate';
  try {
    await cluster.sleep(cluster.latency.migrate);
    for (const slot of slots) {
      const drive = parseDrive(vm.config[slot] ?? '');
      const volume = cluster.volumes.find(drive.get('file') ?? '', vm.node);
      if (!volume || volume.node === undefined || volume.vmid !== vm.vmid) continue;
      const storage = params.text('targetstorage') ?? volume.storage;
      log(`found local disk '${volume.volid}' (attached)`);
      const { installed } = volume;
      const moved = cluster.volumes.allocate(storage, target, vm.vmid, volume.bytes, {
        cloudInit: isCloudInit(drive),
        ...(installed && { installed }),
      });
      if (volume.volid.includes(':base-')) moved.volid = moved.volid.replace(':vm-', ':base-');
      log(`volume '${volume.volid}' is '${moved.volid}' on the target`);
      cluster.volumes.free(volume);
      vm.config[slot] = printDrive(drive.set('file', moved.volid));
    }
    vm.node = target;
    log('migration finished successfully (duration 00:00:01)');
  } finally {
    delete vm.config.lock;
  }
}
