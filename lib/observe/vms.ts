import { lastSeen } from '../deadline.ts';
import type { Answer, Clock, PveReader } from '../ports/types.ts';

/** A virtual machine or container, as Proxmox reports it. */
export type VmSeen = {
  vmid: number;
  name: string;
  node: string;
  kind: 'qemu' | 'lxc';
  template: boolean;
  running: boolean;
  /** Its notes, and what holds a lock on it; only of those that were asked for. */
  description: string;
  lock?: string;
};

/** A storage as one node sees it. */
export type StorageSeen = {
  name: string;
  type: string;
  shared: boolean;
  active: boolean;
  content: string[];
  availableBytes: number;
};

type Resource = { vmid: number; name?: string; node: string; type: VmSeen['kind']; template?: number; status?: string };
type VmConfig = { name?: string; description?: string; lock?: string; template?: number | string };

/**
 * Every VM and container of the cluster; the notes and locks of those that `about` selects.
 * Names come from a VM's configuration where it is read: the cluster's list lags behind.
 */
async function readVms(
  pve: PveReader,
  about: (vm: { vmid: number; name: string }) => boolean,
): Promise<Answer<VmSeen[]>> {
  const resources = await pve.get<Resource[]>('/cluster/resources', { type: 'vm' });
  if (!resources.ok) return resources;
  const vms = await Promise.all(
    resources.value.map(async ({ vmid, name = '', node, type, template, status }): Promise<VmSeen> => {
      const listed = { vmid, name, node, kind: type, running: status === 'running', description: '' };
      if (type !== 'qemu' || !about({ vmid, name })) return { ...listed, template: template === 1 };
      const config = await pve.get<VmConfig>(`/nodes/${node}/qemu/${vmid}/config`);
      if (!config.ok) return { ...listed, template: template === 1, lock: undefined };
      const { value } = config;
      return {
        ...listed,
        name: value.name ?? name,
        description: value.description ?? '',
        lock: value.lock,
        template: Number(value.template ?? 0) === 1,
      };
    }),
  );
  return { ok: true, value: vms };
}

/** How long a look waits for tasks of an earlier run that still hold a VM; a full clone takes minutes. */
const SETTLE_SECONDS = 900;

/**
 * The same as readVms, once no VM of ours is locked: an interrupted run leaves tasks that Proxmox finishes by itself.
 * What is still locked at the end is returned with its lock.
 */
export async function settledVms(
  pve: PveReader,
  clock: Clock,
  about: (vm: { vmid: number; name: string }) => boolean,
  { wait, say }: { wait: boolean; say: (text: string) => void },
): Promise<Answer<VmSeen[]>> {
  let told = false;
  const free = (vms: Answer<VmSeen[]>): boolean => {
    const locked = vms.ok ? vms.value.filter((vm) => vm.lock && about(vm)) : [];
    if (locked.length === 0) return true;
    if (wait && !told)
      say(`waiting for Proxmox: ${locked.map((vm) => `VM ${vm.vmid} is locked (${vm.lock})`).join(', ')}`);
    told = true;
    return false;
  };
  return lastSeen(wait ? SETTLE_SECONDS : 0, () => readVms(pve, about), free, { clock, first: 1, most: 1 });
}

type StorageStatus = {
  storage: string;
  type: string;
  shared?: number;
  active?: number;
  content?: string;
  avail?: number;
};

/** The storages of each node, by name; a node that does not answer has a reason instead. */
export async function readStorages(
  pve: PveReader,
  nodes: readonly string[],
): Promise<Record<string, Answer<StorageSeen[]>>> {
  const entries = nodes.map(async (node): Promise<[string, Answer<StorageSeen[]>]> => {
    const answer = await pve.get<StorageStatus[]>(`/nodes/${node}/storage`);
    if (!answer.ok) return [node, { ok: false, reason: answer.reason }];
    const value = answer.value.map(({ storage, type, shared, active, content, avail }) => ({
      name: storage,
      type,
      shared: shared === 1,
      active: active === 1,
      content: (content ?? '').split(',').filter(Boolean),
      availableBytes: avail ?? 0,
    }));
    return [node, { ok: true, value }];
  });
  return Object.fromEntries(await Promise.all(entries));
}
