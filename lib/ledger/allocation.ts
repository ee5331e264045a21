import type { Config } from '../config/schema.ts';
import { contains, formatIp, type Ip, parseIp, sizeOf } from './ip.ts';
import type { Block, Ledger } from './ledger.ts';
import type { Lease } from './lockfile.ts';

/** An address, who has it, and why. */
export type Entry = {
  address: string;
  name: string;
  /** What it is: "K3s server on pve-02, VMID 200". */
  what: string;
  /** Why it has the address: "fixed", "lease of 2026-11-23", a host's note. */
  why: string;
  /** For leases. `unused`: its node is not in homelab.yaml (any more), and the lease stays until it is released. */
  lease?: 'used' | 'unused';
  routed: boolean;
};

export type BlockEntry = { first: string; last: string; name: string; purpose: string; size: string; used: number };

/** Everything of homelab.yaml and the lock file that has an address, in the order of the addresses. */
export function allocation(config: Config, ledger: Ledger): Entry[] {
  const leases = new Map(ledger.leases.map((lease) => [lease.name, lease]));
  const dns = new Set(config.network.dns.map(canonical));
  const entries = [...ledger.holders.values()].map(({ address, name, kind, note }) => {
    const lease = kind === 'lease' ? leases.get(name) : undefined;
    const what = lease ? leased(config, lease) : describe(config, name, kind);
    const ip = parseIp(address);
    return {
      ...{ address, name, ip },
      what: dns.has(address) && kind !== 'DNS server' ? `${what}, DNS server` : what,
      why: lease ? `lowest free of its range, since ${lease.since}` : (note ?? 'fixed'),
      lease: lease && (config.k3s.nodes.some((node) => node.name === name) ? ('used' as const) : ('unused' as const)),
      routed: ip ? !contains(ledger.subnet, ip) : false,
    };
  });
  return entries.sort((a, b) => order(a.ip, b.ip)).map(({ ip: _, ...entry }) => entry);
}

/** The blocks in the order of their addresses, and how many addresses of each somebody has. */
export function blockEntries(ledger: Ledger): BlockEntry[] {
  const held = [...ledger.holders.keys()].flatMap((address) => parseIp(address) ?? []);
  return [...ledger.blocks]
    .sort((a, b) => order(a.range.first, b.range.first))
    .map(({ name, kind, range }) => ({
      ...{ first: formatIp(range.first), last: formatIp(range.last), name, purpose: PURPOSE[kind] },
      size: String(sizeOf(range)),
      used: held.filter((ip) => contains(range, ip)).length,
    }));
}

const PURPOSE: Record<Block['kind'], string> = {
  range: 'leased to K3s nodes of this role, the lowest free one first',
  pool: 'MetalLB gives them to services of type LoadBalancer',
  dhcp: 'handed out by the router',
};

/** K3s nodes of homelab.yaml that have no lease yet. */
export function withoutLease(config: Config, ledger: Ledger): string[] {
  const known = new Set(ledger.leases.map(({ name }) => name));
  return config.k3s.nodes.map(({ name }) => name).filter((name) => !known.has(name));
}

function leased({ k3s }: Config, { name, role }: Lease): string {
  const node = k3s.nodes.find((one) => one.name === name);
  return node ? `K3s ${node.role} on ${node.node}, VMID ${node.vmid}` : `K3s ${role} that homelab.yaml does not hold`;
}

function describe({ proxmox, nas }: Config, name: string, kind: string): string {
  const node = proxmox.nodes.find((one) => one.name === name);
  if (node) return ['Proxmox node', ...node.gpus.map((gpu) => `GPU ${gpu}`)].join(', ');
  const found = nas.find((one) => one.name === name);
  if (found) return `NAS (${found.kind}): ${found.exports.map((one) => one.name).join(', ')}`;
  return kind;
}

function canonical(text: string): string {
  const ip = parseIp(text);
  return ip ? formatIp(ip) : text;
}

function order(a: Ip | undefined, b: Ip | undefined): number {
  if (!a || !b) return a ? -1 : b ? 1 : 0;
  if (a.family !== b.family) return a.family - b.family;
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
}
