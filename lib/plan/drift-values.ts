import type { Config, K3sNode } from '../config/schema.ts';
import { parseSubnet } from '../ledger/ip.ts';
import { dig, textOf, textsIn } from '../loose.ts';
import type { VmConfig } from '../observe/vms.ts';
import { marker, tagsOf } from '../render/tfvars.ts';
import type { StateVm } from './terraform-json.ts';

/** Who knows something of a VM. Between equals the first is right: it is what is wanted. */
export const SOURCES = ['homelab.yaml', 'homelab.lock.yaml', 'state', 'Proxmox', 'guest agent'] as const;
export type Source = (typeof SOURCES)[number];

/** What is compared, in the order in which it is told. */
export const ATTRIBUTES = [
  ...['vmid', 'name', 'node', 'address', 'prefix', 'gateway', 'dns', 'search domain', 'cores', 'memory', 'disk'],
  ...['storage', 'bridge', 'vlan', 'gpu', 'user', 'ssh keys', 'tags', 'description', 'on boot', 'running'],
] as const;
export type Attribute = (typeof ATTRIBUTES)[number];

/** What one source says of a VM, spelled the same way for all of them; what it does not say is left out. */
export type Facts = Partial<Record<string, string>>;

/** A VM as Proxmox has it. */
export type ProxmoxVm = {
  vmid: number;
  name: string;
  node: string;
  running: boolean;
  description: string;
  /** Undefined when its node does not answer, or it is just being made: then nothing is compared. */
  config?: VmConfig;
  /** Addresses that its guest agent reports; undefined when it reports nothing. */
  agent?: readonly string[];
};

const NONE = 'none';

/** @param publicKey undefined: unknown, and so not compared */
export function factsOfConfig(config: Config, node: K3sNode, publicKey: string | undefined): Facts {
  const { network, proxmox, template } = config;
  const subnet = parseSubnet(network.subnet);
  return {
    vmid: String(node.vmid),
    name: node.name,
    node: node.node,
    prefix: typeof subnet === 'string' ? undefined : String(subnet.prefix),
    gateway: network.gateway,
    dns: network.dns.join(', '),
    'search domain': config.search_domain,
    cores: String(node.cores),
    memory: memoryText(node.memory_gib * 1024),
    disk: gibText(node.disk_gib),
    storage: node.storage ?? template.storage,
    bridge: proxmox.bridge,
    vlan: String(network.vlan ?? NONE),
    gpu: node.gpu ?? NONE,
    user: template.user,
    'ssh keys': publicKey === undefined ? undefined : listText([publicKey.trim()]),
    tags: listText(tagsOf(node.role)),
    description: marker(config.name, node.name),
    'on boot': yesNo(true),
    running: yesNo(true),
  };
}

/** The provider keeps blocks as lists of one. What an import left open is no statement. */
export function factsOfState({ vmid, node, attributes = {} }: StateVm): Facts {
  const value = (...path: (string | number)[]): unknown => dig(attributes, ...path) ?? undefined;
  const cores = value('cpu', 0, 'cores');
  const memory = value('memory', 0, 'dedicated');
  const disks = Array.isArray(attributes.disk) ? attributes.disk : [];
  const disk = disks.find((one) => dig(one, 'interface') === 'scsi0');
  const size = dig(disk, 'size');
  const net = value('network_device', 0);
  const init = (...path: (string | number)[]): unknown => value('initialization', 0, ...path);
  const [address, prefix] = (textOf(init('ip_config', 0, 'ipv4', 0, 'address')) ?? '').split('/');
  const gpus = Array.isArray(attributes.hostpci) ? attributes.hostpci : undefined;
  const flag = (key: string): string | undefined =>
    typeof attributes[key] === 'boolean' ? yesNo(attributes[key]) : undefined;
  return {
    vmid: String(vmid),
    name: textOf(attributes.name),
    node,
    address: address || undefined,
    prefix,
    gateway: textOf(init('ip_config', 0, 'ipv4', 0, 'gateway')),
    dns: Array.isArray(init('dns', 0, 'servers')) ? textsIn(init('dns', 0, 'servers')).join(', ') : undefined,
    'search domain': textOf(init('dns', 0, 'domain')),
    cores: typeof cores === 'number' ? coresText(cores, Number(value('cpu', 0, 'sockets') ?? 1)) : undefined,
    memory: typeof memory === 'number' ? memoryText(memory) : undefined,
    disk: typeof size === 'number' ? gibText(size) : undefined,
    storage: textOf(dig(disk, 'datastore_id')),
    bridge: textOf(dig(net, 'bridge')),
    vlan: net === undefined ? undefined : String(dig(net, 'vlan_id') || NONE),
    gpu: gpus && (gpus.map((one) => textOf(dig(one, 'mapping')) ?? String(dig(one, 'id'))).join(', ') || NONE),
    user: textOf(init('user_account', 0, 'username')),
    'ssh keys': Array.isArray(init('user_account', 0, 'keys'))
      ? listText(textsIn(init('user_account', 0, 'keys')).map((key) => key.trim()))
      : undefined,
    tags: Array.isArray(attributes.tags) ? listText(textsIn(attributes.tags)) : undefined,
    description: textOf(attributes.description)?.trim(),
    'on boot': flag('on_boot'),
    running: flag('started'),
  };
}

/** What is not in a VM's configuration has Proxmox's default. */
export function factsOfProxmox({ vmid, name, node, running, config }: ProxmoxVm): Facts {
  if (!config) return {};
  const text = (key: string): string => String(config[key] ?? '').trim();
  const [disk, net, ip] = [options(text('scsi0')), options(text('net0')), options(text('ipconfig0'))];
  const [address, prefix] = (ip.get('ip') ?? ip.get('ip6') ?? NONE).split('/');
  const gpus = Object.keys(config).filter((key) => /^hostpci\d+$/.test(key));
  return {
    ...{ vmid: String(vmid), name, node, address },
    // A gateway and a prefix that come with the lease of a DHCP server are not said here.
    prefix,
    gateway: prefix === undefined ? undefined : (ip.get('gw') ?? ip.get('gw6') ?? NONE),
    dns:
      text('nameserver')
        .split(/[\s,]+/)
        .join(', ') || NONE,
    'search domain': text('searchdomain') || NONE,
    cores: coresText(Number(config.cores ?? 1), Number(config.sockets ?? 1)),
    memory: memoryText(Number(/\d+/.exec(text('memory'))?.[0] ?? 512)),
    disk: disk.has('size') ? gibText(gibOf(disk.get('size') ?? '')) : NONE,
    storage: (disk.get('') ?? '').split(':')[0] || NONE,
    bridge: net.get('bridge') ?? NONE,
    vlan: net.get('tag') ?? NONE,
    gpu: gpus.map((key) => options(text(key)).get('mapping') ?? text(key)).join(', ') || NONE,
    user: text('ciuser') || NONE,
    'ssh keys': listText(
      decoded(text('sshkeys'))
        .split('\n')
        .map((key) => key.trim()),
    ),
    tags: listText(text('tags').split(/[;,\s]/)),
    description: text('description') || NONE,
    'on boot': yesNo(Number(config.onboot ?? 0) === 1),
    running: yesNo(running),
  };
}

/** A value as a person reads it: of a public key its end and its comment. */
export function shown(attribute: string, value: string): string {
  if (attribute !== 'ssh keys') return value;
  return value.replace(/(ssh-\S+|ecdsa-\S+|sk-\S+) (\S+)/g, (_, type, body: string) =>
    body.length > 16 ? `${type} …${body.slice(-12)}` : `${type} ${body}`,
  );
}

function coresText(cores: number, sockets: number): string {
  return sockets > 1 ? `${cores} on each of ${sockets} sockets` : String(cores);
}

function memoryText(mib: number): string {
  return mib % 1024 === 0 ? gibText(mib / 1024) : `${mib} MiB`;
}

function gibText(gib: number): string {
  return `${Math.round(gib * 1000) / 1000} GiB`;
}

function listText(items: readonly string[]): string {
  return [...items].filter(Boolean).sort().join(', ') || NONE;
}

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no';
}

/** Proxmox keeps keys percent-encoded; what somebody wrote by hand may not be. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** "a,b=c,d=e" as a map; what has no name is under "". */
function options(text: string): Map<string, string> {
  return new Map(
    text.split(',').map((part): [string, string] => {
      const at = part.indexOf('=');
      return at < 0 ? ['', part] : [part.slice(0, at), part.slice(at + 1)];
    }),
  );
}

function gibOf(size: string): number {
  const [, number = '0', unit = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(size) ?? [];
  return Number(number) * ({ K: 2 ** -20, M: 2 ** -10, G: 1, T: 2 ** 10, '': 2 ** -30 }[unit] ?? 0);
}
