import { type Api, sleep } from './api.ts';

/** One VM of homelab.auto.tfvars.json; see terraform/variables.tf. */
export type NodeVariables = {
  vmid: number;
  node: string;
  template_vmid: number;
  template_node?: string | null;
  cores: number;
  memory_mib: number;
  disk_gib: number;
  storage: string;
  address_cidr: string;
  gateway: string;
  dns: string[];
  search_domain: string;
  bridge: string;
  vlan?: number | null;
  user: string;
  ssh_keys: string[];
  gpu?: string | null;
  tags?: string[];
  description?: string;
  on_boot?: boolean;
};

/** What the stand-in keeps of a VM in the state, and compares. */
export type Attributes = {
  vm_id: number;
  node_name: string;
  name: string;
  description: string;
  tags: string[];
  cores: number;
  memory: number;
  disk: { datastore_id: string; size: number };
  network: { bridge: string; vlan_id: number | null };
  initialization: { address: string; gateway: string; dns: string; domain: string; user: string; keys: string[] };
  hostpci: string | null;
  on_boot: boolean;
  started: boolean;
};

export function wanted(lab: string, name: string, node: NodeVariables): Attributes {
  return {
    vm_id: node.vmid,
    node_name: node.node,
    name,
    description: node.description || `${name} of ${lab}`,
    tags: [...(node.tags ?? [])].sort(),
    cores: node.cores,
    memory: node.memory_mib,
    disk: { datastore_id: node.storage, size: node.disk_gib },
    network: { bridge: node.bridge, vlan_id: node.vlan ?? null },
    initialization: {
      address: node.address_cidr,
      gateway: node.gateway,
      dns: node.dns.join(' '),
      domain: node.search_domain,
      user: node.user,
      keys: node.ssh_keys,
    },
    hostpci: node.gpu ?? null,
    on_boot: node.on_boot ?? true,
    started: true,
  };
}

/** Attributes that cannot change in a VM that exists. */
export const NEEDS_NEW_VM = ['vm_id', 'node_name'] as const;

/** A VM as it is; undefined when there is none. */
export async function readVm(api: Api, node: string, vmid: number): Promise<Attributes | undefined> {
  const path = `/nodes/${node}/qemu/${vmid}`;
  const config = await api.find<Record<string, string | number>>(`${path}/config`);
  if (!config) return undefined;
  const { status } = await api.get<{ status: string }>(`${path}/status/current`);
  const text = (key: string): string => String(config[key] ?? '');
  const [disk, net, ip] = [properties(text('scsi0')), properties(text('net0')), properties(text('ipconfig0'))];
  return {
    vm_id: vmid,
    node_name: node,
    name: text('name'),
    description: text('description').trimEnd(),
    tags: text('tags').split(/[;,]/).filter(Boolean).sort(),
    cores: Number(config.cores ?? 1),
    memory: Number(config.memory ?? 512),
    disk: { datastore_id: (disk.get('') ?? '').split(':')[0] ?? '', size: gibOf(disk.get('size') ?? '0') },
    network: { bridge: net.get('bridge') ?? '', vlan_id: net.has('tag') ? Number(net.get('tag')) : null },
    initialization: {
      address: ip.get('ip') ?? '',
      gateway: ip.get('gw') ?? '',
      dns: text('nameserver'),
      domain: text('searchdomain'),
      user: text('ciuser'),
      keys: decodeURIComponent(text('sshkeys')).split('\n').filter(Boolean),
    },
    hostpci: properties(text('hostpci0')).get('mapping') ?? null,
    on_boot: Number(config.onboot ?? 0) === 1,
    started: status === 'running',
  };
}

/**
 * The calls of the real provider, in its order. @param made told as soon as the VM is there: from then on the
 * state has to know it, whatever comes after.
 */
export async function createVm(api: Api, to: Attributes, from: NodeVariables, made: () => void): Promise<void> {
  const source = from.template_node ?? from.node;
  const target = source === to.node_name ? undefined : to.node_name;
  await api.change('POST', `/nodes/${source}/qemu/${from.template_vmid}/clone`, {
    ...{ newid: to.vm_id, full: 1, name: to.name, description: to.description, target },
  });
  made();
  const path = `/nodes/${to.node_name}/qemu/${to.vm_id}`;
  await api.change('PUT', `${path}/config`, { delete: 'ide2' });
  await configure(api, to);
  await changeDisk(api, to);
  await start(api, to);
}

/** Changes a VM in place; it is restarted when it runs, as what changed asks for. */
export async function updateVm(api: Api, before: Attributes, to: Attributes): Promise<void> {
  const path = `/nodes/${to.node_name}/qemu/${to.vm_id}`;
  const same = (key: keyof Attributes): boolean => JSON.stringify(before[key]) === JSON.stringify(to[key]);
  if (
    !(
      ['name', 'description', 'tags', 'cores', 'memory', 'network', 'initialization', 'hostpci', 'on_boot'] as const
    ).every(same)
  )
    await configure(api, to);
  if (!same('disk')) await changeDisk(api, to);
  const restart = !(['cores', 'memory', 'initialization', 'hostpci'] as const).every(same);
  if (before.started && restart) await api.change('POST', `${path}/status/shutdown`, { forceStop: 1, timeout: 300 });
  if (!before.started || restart) await start(api, to);
}

export async function destroyVm(api: Api, { node_name, vm_id }: Attributes): Promise<void> {
  const path = `/nodes/${node_name}/qemu/${vm_id}`;
  const now = await api.find<{ status: string }>(`${path}/status/current`);
  if (!now) return;
  if (now.status === 'running') await api.change('POST', `${path}/status/shutdown`, { forceStop: 1, timeout: 300 });
  await api.change('DELETE', path, { 'destroy-unreferenced-disks': 0, purge: 1 });
}

async function configure(api: Api, to: Attributes): Promise<void> {
  const path = `/nodes/${to.node_name}/qemu/${to.vm_id}`;
  const config = await api.get<Record<string, unknown>>(`${path}/config`);
  const { initialization: init } = to;
  await api.change('PUT', `${path}/config`, {
    name: to.name,
    description: to.description,
    tags: to.tags.join(';'),
    agent: 'enabled=1,fstrim_cloned_disks=0,type=virtio',
    cores: to.cores,
    cpu: 'cputype=host',
    memory: to.memory,
    balloon: 0,
    net0: `model=virtio,bridge=${to.network.bridge},firewall=0${to.network.vlan_id === null ? '' : `,tag=${to.network.vlan_id}`}`,
    ide2: config.ide2 === undefined ? `file=${to.disk.datastore_id}:cloudinit` : undefined,
    ipconfig0: `gw=${init.gateway},ip=${init.address}`,
    nameserver: init.dns,
    searchdomain: init.domain,
    ciuser: init.user,
    sshkeys: encodeURIComponent(init.keys.join('\n')).replaceAll('+', '%20'),
    hostpci0: to.hostpci === null ? undefined : `mapping=${to.hostpci},pcie=1,rombar=1,x-vga=0`,
    onboot: to.on_boot ? 1 : 0,
    delete: to.hostpci === null && config.hostpci0 !== undefined ? 'hostpci0' : undefined,
  });
}

async function changeDisk(api: Api, to: Attributes): Promise<void> {
  const path = `/nodes/${to.node_name}/qemu/${to.vm_id}`;
  const now = await readVm(api, to.node_name, to.vm_id);
  if (now && now.disk.datastore_id !== to.disk.datastore_id)
    await api.change('POST', `${path}/move_disk`, { disk: 'scsi0', storage: to.disk.datastore_id, delete: 1 });
  if (now && now.disk.size !== to.disk.size)
    await api.change('PUT', `${path}/resize`, { disk: 'scsi0', size: to.disk.size * 2 ** 30 });
}

/** Starts it and waits for its agent, which may take its time; that one never answers is a warning only. */
async function start(api: Api, { node_name, vm_id }: Attributes): Promise<void> {
  const path = `/nodes/${node_name}/qemu/${vm_id}`;
  const { status } = await api.get<{ status: string }>(`${path}/status/current`);
  if (status !== 'running') await api.change('POST', `${path}/status/start`, { timeout: 1800 });
  for (const end = Date.now() + 300_000; Date.now() < end; await sleep(200))
    if (await api.find(`${path}/agent/network-get-interfaces`)) return;
  process.stderr.write(`Warning: the QEMU guest agent of VM ${vm_id} does not answer\n`);
}

/** "a,b=c,d=e" as a map; what has no name is under "". */
function properties(value: string): Map<string, string> {
  const pairs = value.split(',').map((part): [string, string] => {
    const at = part.indexOf('=');
    return at < 0 ? ['', part] : [part.slice(0, at), part.slice(at + 1)];
  });
  return new Map(pairs);
}

function gibOf(size: string): number {
  const [, number = '0', unit = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(size) ?? [];
  const gib = { K: 2 ** -20, M: 2 ** -10, G: 1, T: 2 ** 10, '': 2 ** -30 }[unit] ?? 0;
  return Number(number) * gib;
}
