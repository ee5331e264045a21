import { messageOf } from '../../errors.ts';
import type { Cluster } from './cluster.ts';
import { badParameters, died } from './errors.ts';
import {
  isCdrom,
  isCloudInit,
  isDrive,
  type Properties,
  parseDrive,
  parseProperties,
  printDrive,
  storageOf,
} from './properties.ts';
import type { Call, Route } from './router.ts';
import { vmNeeds } from './router.ts';
import type { Log } from './tasks.ts';
import type { Vm } from './types.ts';
import { vmOf } from './vm-config.ts';
import type { Volume } from './volumes.ts';

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
      if (target === vm.node) throw badParameters({ target: 'target is local node.' });
      cluster.checkLock(vm);
      if (vm.running && !params.flag('online')) throw died("can't migrate running VM without --online");
      const storage = params.text('targetstorage');
      if (storage) cluster.access.require(who, `/vms/${vm.vmid}`, ['VM.Config.Disk'], false, cluster.poolOf(vm.vmid));
      if (storage) cluster.access.require(who, `/storage/${storage}`, ['Datastore.AllocateSpace']);
      return cluster.startTask(vm.node, 'qmigrate', String(vm.vmid), who.id, (log) =>
        cluster.withFileLock(vm.vmid, () => migrate(call, log)),
      );
    },
  },
];

/** What goes wrong stands in the log; the task ends with "migration aborted" whatever it was. */
async function migrate(call: Call, log: Log): Promise<void> {
  const { cluster, params } = call;
  const vm = vmOf(call);
  const target = params.need('target');
  try {
    log(`starting migration of VM ${vm.vmid} to node '${target}' (${cluster.node(target).address})`);
    checkTarget(cluster, vm, target);
    vm.config.lock = 'migrate';
    try {
      checkVolumes(cluster, vm, log);
      await moveDisks(cluster, vm, target, params.text('targetstorage'), log);
      vm.node = target;
    } finally {
      delete vm.config.lock;
    }
  } catch (error) {
    log(`ERROR: migration aborted (duration 00:00:00): ${messageOf(error)}`);
    throw died('migration aborted');
  }
  log('migration finished successfully (duration 00:00:01)');
}

function checkTarget(cluster: Cluster, vm: Vm, target: string): void {
  if (vm.running) throw died('live migration is not part of this lab');
  for (const [key, value] of Object.entries(vm.config)) {
    const mapping = /^hostpci\d+$/.test(key) ? parseProperties(String(value), 'host').get('mapping') : undefined;
    if (mapping && !cluster.node(target).gpus?.includes(mapping))
      throw died(`can't migrate to '${target}': missing mapped devices ${key}:${mapping}`);
  }
  if (cluster.faults.isDown(target)) throw died(`Can't connect to destination address using public key`);
}

function checkVolumes(cluster: Cluster, vm: Vm, log: Log): void {
  const scanned = (why: string) => died(`Problem found while scanning volumes - ${why}`);
  const blocked = (volid: string, why: string) => {
    log(`ERROR: can't migrate local disk '${volid}': ${why}`);
    return scanned("can't migrate VM - check log");
  };
  for (const { file, drive } of localDrives(cluster, vm)) {
    if (isCdrom(drive) && !isCloudInit(drive)) throw blocked(file, 'local cdrom image');
    const why = cluster.faults.blockerOf(vm.vmid);
    if (why) throw blocked(file, why);
    const base = cluster.volumes.find(file, vm.node)?.base;
    if (base) throw scanned(`can't migrate '${file}' as it's a clone of '${base}'`);
  }
}

/** Disks on node-local storage go along; their numbers may change on the way. Should one fail, all stay where they were. */
async function moveDisks(cluster: Cluster, vm: Vm, target: string, targetStorage: string | undefined, log: Log) {
  await cluster.sleep(cluster.latency.migrate);
  const moves: { slot: string; drive: Properties; from: Volume; to: Volume }[] = [];
  try {
    for (const { slot, drive, file } of localDrives(cluster, vm)) {
      const from = cluster.volumes.find(file, vm.node);
      if (!from || from.vmid !== vm.vmid) continue;
      log(`found local disk '${from.volid}' (attached)`);
      const to = cluster.volumes.allocate(targetStorage ?? from.storage, target, vm.vmid, from.bytes, {
        cloudInit: isCloudInit(drive),
        ...(from.installed && { installed: true }),
      });
      if (from.volid.includes(':base-')) to.volid = to.volid.replace(':vm-', ':base-');
      log(`volume '${from.volid}' is '${to.volid}' on the target`);
      moves.push({ slot, drive, from, to });
    }
  } catch (error) {
    for (const { to } of moves) cluster.volumes.free(to);
    throw error;
  }
  for (const { slot, drive, from, to } of moves) {
    cluster.volumes.free(from);
    vm.config[slot] = printDrive(drive.set('file', to.volid));
  }
}

function localDrives(cluster: Cluster, { config }: Vm) {
  return Object.keys(config)
    .filter(isDrive)
    .map((slot) => ({ slot, drive: parseDrive(config[slot] ?? '') }))
    .map(({ slot, drive }) => ({ slot, drive, file: drive.get('file') ?? '' }))
    .filter(({ file }) => {
      const storage = storageOf(file);
      return storage !== undefined && !cluster.volumes.storage(storage).shared;
    });
}
