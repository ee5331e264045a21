import { agentRoutes } from './agent.ts';
import { bootDisk, type Cluster } from './cluster.ts';
import { died } from './errors.ts';
import { parseDrive, parseSize } from './properties.ts';
import { type Call, type Route, vmNeeds } from './router.ts';
import type { Vm } from './types.ts';
import { cloneRoutes } from './vm-clone.ts';
import { configRoutes, vmOf } from './vm-config.ts';
import { createRoutes } from './vm-create.ts';
import { diskRoutes } from './vm-disks.ts';
import { migrateRoutes } from './vm-migrate.ts';
import { powerRoutes } from './vm-power.ts';

export const vmRoutes: Route[] = [
  {
    method: 'GET',
    path: '/nodes/{node}/qemu',
    spec: { full: 'boolean' },
    handle: ({ cluster, who, path }) =>
      [...cluster.vms.values()]
        .filter((vm) => vm.node === path.node && mayAudit(cluster, who, vm))
        .map((vm) => summary(cluster, vm)),
  },
  {
    method: 'GET',
    path: '/nodes/{node}/qemu/{vmid}/status/current',
    needs: vmNeeds('VM.Audit'),
    handle: (call) => current(call),
  },
  {
    method: 'DELETE',
    path: '/nodes/{node}/qemu/{vmid}',
    needs: vmNeeds('VM.Allocate'),
    spec: { purge: 'boolean', 'destroy-unreferenced-disks': 'boolean', skiplock: 'boolean' },
    handle: (call) => destroy(call),
  },
  {
    method: 'PUT',
    path: '/nodes/{node}/qemu/{vmid}/sendkey',
    needs: vmNeeds('VM.Console'),
    spec: { key: 'string!', skiplock: 'boolean' },
    handle: (call) => {
      const vm = vmOf(call);
      if (!vm.running) throw died(`VM ${vm.vmid} not running`);
      return null;
    },
  },
  ...createRoutes,
  ...configRoutes,
  ...cloneRoutes,
  ...migrateRoutes,
  ...diskRoutes,
  ...powerRoutes,
  ...agentRoutes,
];

export function mayAudit(cluster: Cluster, who: Call['who'], vm: Vm): boolean {
  return cluster.access.has(who, `/vms/${vm.vmid}`, ['VM.Audit'], false, cluster.poolOf(vm.vmid));
}

/** What lists and status/current share. */
export function summary(cluster: Cluster, vm: Vm): Record<string, string | number> {
  const { config, running } = vm;
  const disk = parseDrive(config[bootDisk(config) ?? ''] ?? '');
  const lock = cluster.lockOf(vm);
  return {
    vmid: vm.vmid,
    name: String(config.name ?? `VM ${vm.vmid}`),
    status: running ? 'running' : 'stopped',
    cpus: Number(config.cores ?? 1) * Number(config.sockets ?? 1),
    maxmem: Number(config.memory ?? 512) * 2 ** 20,
    mem: running ? 2 ** 28 : 0,
    maxdisk: parseSize(disk.get('size') ?? '') ?? 0,
    disk: 0,
    cpu: 0,
    uptime: running ? Math.floor((Date.now() - running.since) / 1000) : 0,
    netin: 0,
    netout: 0,
    ...(config.template === 1 && { template: 1 }),
    ...(config.tags !== undefined && { tags: config.tags }),
    ...(lock && { lock }),
    ...(running && { pid: 100_000 + vm.vmid }),
  };
}

function current(call: Call): unknown {
  const vm = vmOf(call);
  const agent = /^(1|enabled=1)/.test(String(vm.config.agent ?? ''));
  return {
    ...summary(call.cluster, vm),
    qmpstatus: vm.running ? 'running' : 'stopped',
    ha: { managed: 0 },
    ...(agent && { agent: 1 }),
  };
}

function destroy(call: Call): string {
  const { cluster, who } = call;
  const check = (): Vm => {
    const vm = vmOf(call);
    if (vm.config.protection === 1) throw died(`can't remove VM ${vm.vmid} - protection mode enabled`);
    if (vm.running) throw died(`VM ${vm.vmid} is running - destroy failed`);
    return vm;
  };
  const { vmid, node } = check();
  return cluster.startTask(node, 'qmdestroy', String(vmid), who.id, () =>
    cluster.withFileLock(vmid, async () => {
      const vm = check();
      cluster.checkLock(vm);
      await cluster.sleep(cluster.latency.task);
      for (const volume of cluster.volumes.ofVm(vmid)) cluster.volumes.free(volume);
      cluster.removeVm(vmid);
      await cluster.machines.destroy(vmid);
    }),
  );
}
