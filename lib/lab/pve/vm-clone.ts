import { messageOf } from '../../errors.ts';
import { bootDisk, type Cluster } from './cluster.ts';
import { badParameters, died } from './errors.ts';
import {
  isCdrom,
  isCloudInit,
  isDrive,
  parseDrive,
  parseProperties,
  printDrive,
  printProperties,
  storageOf,
} from './properties.ts';
import type { Call, Route } from './router.ts';
import type { Log } from './tasks.ts';
import type { Vm, VmConfig } from './types.ts';
import { vmOf } from './vm-config.ts';
import { requireBridge, requireMapping } from './vm-permissions.ts';

export const cloneRoutes: Route[] = [
  {
    method: 'POST',
    path: '/nodes/{node}/qemu/{vmid}/clone',
    needs: [
      { at: '/vms/{vmid}', have: ['VM.Clone'] },
      {
        or: [
          { at: '/vms/{newid}', have: ['VM.Allocate'] },
          { at: '/pool/{pool}', have: ['VM.Allocate'] },
        ],
      },
    ],
    spec: {
      newid: 'vmid!',
      name: 'dns-name',
      description: 'string',
      pool: 'string',
      snapname: 'string',
      storage: 'storage-id',
      format: 'string',
      full: 'boolean',
      target: 'string',
      bwlimit: 'integer',
    },
    handle: (call) => {
      const { cluster, path, who } = call;
      check(call);
      const { source, newid } = requestOf(call);
      const copy = (log: Log) => cluster.withFileLock(newid, () => clone(call, log), 'copy');
      // The lock on a running source is held alone, so that its clones wait for each other.
      const run = (log: Log) => cluster.withFileLock(source.vmid, () => copy(log), source.running ? 'copy' : 'source');
      return cluster.startTask(path.node ?? '', 'qmclone', path.vmid ?? '', who.id, run);
    },
  },
];

type Request = { source: Vm; newid: number; full: boolean; storage?: string; target?: string };

function requestOf(call: Call): Request {
  const source = vmOf(call);
  const target = call.params.text('target');
  return {
    source,
    newid: call.params.integer('newid') ?? 0,
    full: call.params.flag('full', source.config.template !== 1),
    storage: call.params.text('storage'),
    target: target === source.node ? undefined : target,
  };
}

/** What is refused before a task is forked, in the order of the real thing. */
function check(call: Call): void {
  const { cluster, who, params } = call;
  const pool = params.text('pool');
  if (pool !== undefined && !cluster.pools.has(pool)) throw died(`pool '${pool}' does not exist`);
  const { source, newid, full, storage, target } = requestOf(call);
  if (target && !cluster.nodes.some((node) => node.name === target)) throw died(`no such cluster node '${target}'`);
  if (storage) {
    const { content, shared } = cluster.volumes.storage(storage);
    if (!content.includes('images'))
      throw badParameters({ storage: `storage '${storage}' does not support vm images` });
    if (target && !shared) throw died(`can't clone to non-shared storage '${storage}'`);
  }
  cluster.checkLock(source);
  if (storage && !full) throw died("parameter 'storage' not allowed for linked clones");
  const volumes = drivesOf(source.config);
  for (const { drive } of volumes) {
    const own = storageOf(drive.get('file') ?? '');
    if (own && !isCdrom(drive)) cluster.access.require(who, `/storage/${storage ?? own}`, ['Datastore.AllocateSpace']);
  }
  for (const [key, value] of Object.entries(source.config)) {
    if (/^hostpci\d+$/.test(key)) requireMapping(cluster, who, key, String(value));
    if (/^net\d+$/.test(key)) requireBridge(cluster, who, String(value));
  }
  const local = volumes.some(({ drive }) => isLocal(cluster, drive.get('file') ?? ''));
  if (target && local) throw died(`can't clone VM to node '${target}' (VM uses local storage)`);
  if (cluster.vms.get(newid)?.node === source.node)
    throw died(`unable to create VM ${newid}: config file already exists`);
}

async function clone(call: Call, log: Log): Promise<void> {
  const { cluster, params } = call;
  const { source, newid, full, storage, target } = requestOf(call);
  log(`creating a clone of VM ${source.vmid} with ID ${newid}`);
  if (cluster.vms.has(newid))
    throw died(
      `close (rename) atomic file '/etc/pve/nodes/${source.node}/qemu-server/${newid}.conf' failed: File exists`,
    );
  const vm = cluster.addVm(newid, source.node, { lock: 'clone' });
  try {
    const config = copiedConfig(cluster, source.config, newid);
    config.name = params.text('name') ?? `Copy-of-VM-${source.config.name ?? source.vmid}`;
    const description = params.text('description');
    if (description !== undefined) config.description = description;
    const system = parseDrive(source.config[bootDisk(source.config) ?? ''] ?? '').get('file') ?? '';
    const onto = storage ?? storageOf(system);
    if (full && onto) await cluster.copyOnto(onto, source.node);
    else await cluster.sleep(cluster.latency.task);
    for (const { slot, drive } of drivesOf(source.config)) {
      if (isCdrom(drive) && !isCloudInit(drive)) continue;
      const volume = cluster.volumes.find(drive.get('file') ?? '', source.node);
      if (!volume) throw died(`volume '${drive.get('file')}' does not exist`);
      const linked = !full && !isCloudInit(drive);
      log(`create ${linked ? 'linked' : 'full'} clone of drive ${slot} (${volume.volid})`);
      const copy = cluster.volumes.allocate(
        linked ? volume.storage : (storage ?? volume.storage),
        source.node,
        newid,
        volume.bytes,
        {
          cloudInit: isCloudInit(drive),
          ...(volume.installed && { installed: true }),
          ...(linked && { base: volume.volid }),
        },
      );
      config[slot] = printDrive(new Map([...drive, ['file', copy.volid]]));
    }
    vm.config = config;
    if (target) vm.node = target;
    const pool = params.text('pool');
    if (pool !== undefined) cluster.pools.get(pool)?.add(newid);
  } catch (error) {
    for (const volume of cluster.volumes.ofVm(newid)) cluster.volumes.free(volume);
    cluster.removeVm(newid);
    throw died(`clone failed: ${messageOf(error)}`);
  }
}

/** New MACs and uuids, no template mark, no unused disks; everything else verbatim, CD-ROMs too. */
function copiedConfig(cluster: Cluster, config: VmConfig, newid: number): VmConfig {
  const copy: VmConfig = {};
  for (const [key, value] of Object.entries(config)) {
    if (['template', 'lock', 'smbios1', 'vmgenid'].includes(key) || /^unused\d+$/.test(key)) continue;
    copy[key] = /^net\d+$/.test(key) ? withNewMac(String(value), cluster.newMac(newid, key)) : value;
  }
  copy.smbios1 = `uuid=${cluster.newUuid(newid, 'smbios')}`;
  copy.vmgenid = cluster.newUuid(newid, 'vmgenid');
  return copy;
}

function withNewMac(value: string, mac: string): string {
  const card = parseProperties(value);
  const model = [...card.keys()][0] ?? 'virtio';
  card.delete(model);
  return [`${model}=${mac}`, printProperties(card)].filter(Boolean).join(',');
}

function drivesOf(config: VmConfig) {
  return Object.keys(config)
    .filter((slot) => isDrive(slot) && !slot.startsWith('unused'))
    .sort()
    .map((slot) => ({ slot, drive: parseDrive(config[slot] ?? '') }));
}

function isLocal(cluster: Cluster, volid: string): boolean {
  const storage = storageOf(volid);
  return storage !== undefined && !cluster.volumes.storage(storage).shared;
}
