import { messageOf } from '../../errors.ts';
import { died } from './errors.ts';
import type { Route } from './router.ts';
import { applyChanges } from './vm-config.ts';
import { kindOfOption } from './vm-options.ts';
import { checkChanges, checkPci } from './vm-permissions.ts';
import { powerOn } from './vm-power.ts';

export const createRoutes: Route[] = [
  {
    method: 'POST',
    path: '/nodes/{node}/qemu',
    needs: [
      {
        or: [
          { at: '/vms/{vmid}', have: ['VM.Allocate'] },
          { at: '/pool/{pool}', have: ['VM.Allocate'] },
        ],
      },
    ],
    spec: {
      vmid: 'vmid!',
      pool: 'string',
      storage: 'storage-id',
      start: 'boolean',
      force: 'boolean',
      unique: 'boolean',
      bwlimit: 'integer',
    },
    kindOf: kindOfOption,
    handle: (call) => {
      const { cluster, params, path, who } = call;
      const node = path.node ?? '';
      const vmid = params.integer('vmid') ?? 0;
      const pool = params.text('pool');
      if (pool !== undefined && !cluster.pools.has(pool)) throw died(`pool '${pool}' does not exist`);
      if (params.flag('start')) cluster.access.require(who, `/vms/${vmid}`, ['VM.PowerMgmt'], false, pool);
      checkChanges(call, vmid);
      for (const [name, value] of params.values) if (/^hostpci\d+$/.test(name)) checkPci(call, vmid, name, value);
      const taken = cluster.vms.get(vmid);
      if (taken) throw died(`unable to create VM ${vmid} - VM ${vmid} already exists on node '${taken.node}'`);
      const vm = cluster.addVm(vmid, node, { lock: 'create' });
      return cluster.startTask(node, 'qmcreate', String(vmid), who.id, () =>
        cluster.withFileLock(vmid, async () => {
          try {
            await cluster.sleep(cluster.latency.task);
            vm.config = {
              name: `VM${vmid}`,
              ...{ smbios1: `uuid=${cluster.newUuid(vmid, 'smbios')}`, vmgenid: cluster.newUuid(vmid, 'vmgenid') },
              meta: `creation-qemu=10.1.2,ctime=${Math.floor(Date.now() / 1000)}`,
            };
            applyChanges(call, vm);
            if (pool !== undefined) cluster.pools.get(pool)?.add(vmid);
          } catch (error) {
            for (const volume of cluster.volumes.ofVm(vmid)) cluster.volumes.free(volume);
            cluster.removeVm(vmid);
            throw died(`unable to create VM ${vmid} - ${messageOf(error)}`);
          }
          if (params.flag('start')) await powerOn(cluster, vm);
        }),
      );
    },
  },
];
