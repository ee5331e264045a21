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
  /** What holds a lock on it. */
  lock?: string;
  /** Size of the disk that it boots from, as the cluster's list has it. */
  diskBytes?: number;
  /** Its notes; only of those that were asked for. */
  description: string;
  /** Why it was asked for its notes in vain. */
  unread?: string;
  /** Its configuration as Proxmox has it, of those that were asked for their notes. */
  config?: VmConfig;
  /** Separated by ";", as the cluster's list has them. */
  tags?: string;
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

type Resource = {
  vmid: number;
  name?: string;
  node: string;
  type: VmSeen['kind'];
  template?: number;
  status?: string;
  tags?: string;
  lock?: string;
  maxdisk?: number;
};
/** What GET /config says of a VM: `scsi0`, `net0`, … beside these. */
export type VmConfig = Record<string, unknown> & {
  name?: string;
  description?: string;
  lock?: string;
  template?: number | string;
};

/** Which VMs are asked for their configuration, and with it their notes: a read each. */
export type About = (vm: Pick<VmSeen, 'vmid' | 'name' | 'template'>) => boolean;

/**
 * Every VM and container of the cluster, and the configuration of those that `about` selects.
 * Names come from the configuration where it is read: the cluster's list lags behind, by the seconds between two
 * broadcasts of a node, and a VM that is younger has no name in it. Node and lock are always of the moment.
 */
export async function readVms(pve: PveReader, about: About): Promise<Answer<VmSeen[]>> {
  const resources = await pve.get<Resource[]>('/cluster/resources', { type: 'vm' });
  if (!resources.ok) return resources;
  const vms = await Promise.all(
    resources.value.map(
      async ({ vmid, name = '', node, type, template, status, tags, lock, maxdisk }): Promise<VmSeen> => {
        const listed = {
          ...{ vmid, name, node, kind: type, running: status === 'running', description: '' },
          ...{ template: template === 1, tags, lock, diskBytes: maxdisk },
        };
        return type === 'qemu' && about(listed) ? withConfig(pve, listed) : listed;
      },
    ),
  );
  return { ok: true, value: vms };
}

async function withConfig(pve: PveReader, listed: VmSeen): Promise<VmSeen> {
  const config = await pve.get<VmConfig>(`/nodes/${listed.node}/qemu/${listed.vmid}/config`);
  if (!config.ok) return { ...listed, unread: config.reason };
  const { value } = config;
  return {
    ...listed,
    name: value.name ?? listed.name,
    description: value.description ?? '',
    lock: value.lock,
    template: Number(value.template ?? 0) === 1,
    config: value,
  };
}

/** The same VMs, the chosen ones with their notes and locks also when these were not asked for before. */
export async function withNotes(
  pve: PveReader,
  vms: Answer<VmSeen[]>,
  chosen: ReadonlySet<number>,
): Promise<Answer<VmSeen[]>> {
  if (!vms.ok) return vms;
  const without = (vm: VmSeen): boolean => vm.kind === 'qemu' && vm.config === undefined && vm.unread === undefined;
  const value = vms.value.map((vm) => (chosen.has(vm.vmid) && without(vm) ? withConfig(pve, vm) : vm));
  return { ok: true, value: await Promise.all(value) };
}

/** How long a look waits for tasks of an earlier run that still hold a VM; a full clone takes minutes. */
const SETTLE_SECONDS = 900;

/**
 * The same as readVms, once no VM of ours is locked: an interrupted run leaves tasks that Proxmox finishes by itself.
 * What is still locked at the end is returned with its lock.
 * @param held the locked VMs that are waited for; default: those that `about` selects
 */
export async function settledVms(
  pve: PveReader,
  clock: Clock,
  about: About,
  {
    wait,
    say,
    held = (vms) => vms.filter((vm) => vm.lock && about(vm)),
  }: { wait: boolean; say: (text: string) => void; held?: (vms: readonly VmSeen[]) => VmSeen[] },
): Promise<Answer<VmSeen[]>> {
  let told = false;
  const free = (vms: Answer<VmSeen[]>): boolean => {
    const locked = vms.ok ? held(vms.value) : [];
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
