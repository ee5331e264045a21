import { messageOf } from '../../errors.ts';
import type { GuestSpec } from '../types.ts';
import { bootDisk, type Cluster } from './cluster.ts';
import { died } from './errors.ts';
import { isCdrom, isCloudInit, isDrive, parseDrive, parseProperties } from './properties.ts';
import type { Call, Route } from './router.ts';
import { vmNeeds } from './router.ts';
import type { Vm, VmConfig } from './types.ts';
import { vmOf } from './vm-config.ts';

const COMMON = { skiplock: 'boolean', timeout: 'integer' } as const;

export const powerRoutes: Route[] = [
  power('start', 'qmstart', { machine: 'string', ...COMMON }, async ({ cluster }, vm) => {
    if (vm.config.template === 1) throw died("you can't start a vm if it's a template");
    if (vm.running) throw died(`VM ${vm.vmid} already running`);
    await powerOn(cluster, vm);
  }),
  power('stop', 'qmstop', { keepActive: 'boolean', 'overrule-shutdown': 'boolean', ...COMMON }, ({ cluster }, vm) =>
    powerOff(cluster, vm),
  ),
  power(
    'shutdown',
    'qmshutdown',
    { keepActive: 'boolean', forceStop: 'boolean', ...COMMON },
    async ({ cluster }, vm) => {
      if (!vm.running) return;
      await cluster.sleep(cluster.latency.shutdown);
      await powerOff(cluster, vm);
    },
  ),
  power('reboot', 'qmreboot', { timeout: 'integer' }, async ({ cluster }, vm) => {
    if (!vm.running) throw died(`VM ${vm.vmid} not running`);
    await cluster.sleep(cluster.latency.shutdown);
    await powerOff(cluster, vm);
    await powerOn(cluster, vm);
  }),
  power('reset', 'qmreset', { skiplock: 'boolean' }, async ({ cluster }, vm) => {
    if (!vm.running) throw died(`VM ${vm.vmid} not running`);
    await powerOff(cluster, vm);
    await powerOn(cluster, vm);
  }),
];

function power(
  verb: string,
  task: string,
  spec: NonNullable<Route['spec']>,
  work: (call: Call, vm: Vm) => Promise<void>,
): Route {
  return {
    method: 'POST',
    path: `/nodes/{node}/qemu/{vmid}/status/${verb}`,
    needs: vmNeeds('VM.PowerMgmt'),
    spec,
    handle: (call) => {
      const { cluster, who } = call;
      const vm = vmOf(call);
      if (verb === 'reboot' && !vm.running) throw died(`VM ${vm.vmid} not running`);
      return cluster.startTask(vm.node, task, String(vm.vmid), who.id, () =>
        cluster.withFileLock(vm.vmid, () => {
          cluster.checkLock(vmOf(call));
          return work(call, vmOf(call));
        }),
      );
    },
  };
}

/** Starts the machine; the guest comes up later, and then its agent answers. */
export async function powerOn(cluster: Cluster, vm: Vm): Promise<void> {
  checkDevices(cluster, vm);
  await cluster.sleep(cluster.latency.start);
  const running = { since: Date.now(), config: { ...vm.config } };
  vm.running = running;
  void bringUp(cluster, vm, () => vm.running === running).catch((error: unknown) =>
    cluster.problems.push(`VM ${vm.vmid}: ${messageOf(error)}`),
  );
}

async function powerOff(cluster: Cluster, vm: Vm): Promise<void> {
  const guest = vm.running?.guest;
  vm.running = undefined;
  await cluster.sleep(cluster.latency.task);
  await guest?.stop();
}

/** An installed disk boots; an empty one with an installer's ISO installs first; anything else never comes up. */
async function bringUp(cluster: Cluster, vm: Vm, isSameRun: () => boolean): Promise<void> {
  const drive = parseDrive(vm.config[bootDisk(vm.config) ?? ''] ?? '');
  const disk = cluster.volumes.find(drive.get('file') ?? '', vm.node);
  if (!disk) return;
  if (!disk.installed) {
    if (!hasIso(vm.config)) return;
    await cluster.sleep(cluster.latency.install);
    if (!isSameRun()) return;
    disk.installed = true;
  }
  await cluster.sleep(cluster.latency.boot);
  if (!isSameRun()) return;
  const guest = await cluster.machines.boot(guestSpec(vm, disk.bytes, cluster.faults.addressOf(vm.vmid)));
  if (vm.running && isSameRun()) vm.running.guest = guest;
  else {
    await guest.stop();
    // Destroyed while it came up: the machine's disk was made after that.
    if (cluster.vms.get(vm.vmid) !== vm) await cluster.machines.destroy(vm.vmid);
  }
}

function checkDevices(cluster: Cluster, vm: Vm): void {
  for (const [key, value] of Object.entries(vm.config)) {
    const net = /^net\d+$/.test(key) ? parseProperties(String(value)) : undefined;
    const bridge = net?.get('bridge');
    if (bridge !== undefined && bridge !== cluster.bridge) throw died(`bridge '${bridge}' does not exist`);
  }
  for (const mapping of gpusOf(vm.config)) {
    if (!cluster.node(vm.node).gpus?.includes(mapping)) throw died(`PCI device mapping not found for '${mapping}'`);
    const holder = [...cluster.vms.values()].find(
      (other) =>
        other !== vm && other.node === vm.node && other.running && gpusOf(other.running.config).includes(mapping),
    );
    if (holder) throw died(`PCI device mapping '${mapping}' already in use by VMID '${holder.vmid}'`);
  }
}

/** @param elsewhere the address that it takes instead of cloud-init's */
function guestSpec(vm: Vm, diskBytes: number, elsewhere?: string): GuestSpec {
  const { config } = vm;
  const cloudInit = drives(config).some(isCloudInit);
  const ip = cloudInit ? parseProperties(String(config.ipconfig0 ?? '')).get('ip') : undefined;
  return {
    vmid: vm.vmid,
    name: String(config.name ?? `VM${vm.vmid}`),
    node: vm.node,
    address: elsewhere ?? (ip === undefined || ip === 'dhcp' ? undefined : ip.split('/')[0]),
    cloudInit,
    user: cloudInit && config.ciuser !== undefined ? String(config.ciuser) : undefined,
    sshKeys: cloudInit
      ? decodeURIComponent(String(config.sshkeys ?? ''))
          .split('\n')
          .filter(Boolean)
      : [],
    cores: Number(config.cores ?? 1) * Number(config.sockets ?? 1),
    memoryMib: Number(config.memory ?? 512),
    diskBytes,
    macs: macsOf(config),
    gpus: gpusOf(config),
  };
}

export function macsOf(config: VmConfig): string[] {
  return Object.keys(config)
    .filter((key) => /^net\d+$/.test(key))
    .map((key) => [...parseProperties(String(config[key])).values()][0] ?? '');
}

function gpusOf(config: VmConfig): string[] {
  return Object.keys(config)
    .filter((key) => /^hostpci\d+$/.test(key))
    .flatMap((key) => parseProperties(String(config[key]), 'host').get('mapping') ?? []);
}

function hasIso(config: VmConfig): boolean {
  return drives(config).some((drive) => isCdrom(drive) && /:iso\//.test(drive.get('file') ?? ''));
}

function drives(config: VmConfig) {
  return Object.keys(config)
    .filter(isDrive)
    .map((slot) => parseDrive(config[slot] ?? ''));
}
