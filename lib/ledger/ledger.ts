import type { Config } from '../config/schema.ts';
import {
  contains,
  formatIp,
  formatRange,
  type Ip,
  overlap,
  parseIp,
  parseRange,
  parseSubnet,
  type Range,
  type Subnet,
} from './ip.ts';
import type { Lease } from './lockfile.ts';

/**
 * Who holds what of the lab's network, and why. Not a calculator: it knows the subnet, the gateway,
 * what has a fixed address, what the router hands out, the ranges of the roles, MetalLB's pool, and the leases.
 */
export type Role = Lease['role'];
export type Holder = { name: string; kind: string; address: string; note?: string };
export type Block = { name: string; kind: 'range' | 'pool' | 'dhcp'; range: Range };

/** Something that contradicts. `path` is the place in homelab.yaml; a lease's has none. */
export type Problem = { path?: (string | number)[]; message: string; fix: string };

export type Ledger = {
  subnet: Subnet;
  /** Every address that somebody has, fixed or leased, by address. */
  holders: ReadonlyMap<string, Holder>;
  blocks: readonly Block[];
  leases: readonly Lease[];
  problems: readonly Problem[];
};

type Fixed = Holder & { path: (string | number)[]; inSubnet?: boolean };

/** The ledger of a configuration and its leases; contradictions are in `problems`, all of them. */
export function openLedger(config: Config, leases: readonly Lease[]): Ledger {
  const problems: Problem[] = [];
  const subnet = readSubnet(config, problems);
  const blocks = readBlocks(config, subnet, problems);
  const holders = new Map<string, Holder>();
  const byName = new Map<string, Holder>();

  for (const fixed of fixedAddresses(config)) {
    const ip = parseIp(fixed.address);
    if (!ip) {
      problems.push({
        path: fixed.path,
        message: `"${fixed.address}" is not an IP address`,
        fix: `write ${fixed.name}'s address, such as ${formatIp({ ...subnet.first, value: subnet.first.value + 10n })}`,
      });
      continue;
    }
    if (fixed.inSubnet && !contains(subnet, ip)) {
      problems.push({
        path: fixed.path,
        message: `${fixed.address} (${fixed.name}) is outside the subnet ${subnet.text}`,
        fix: 'correct the address, or network.subnet',
      });
    }
    const reserved = reservedAs(subnet, ip);
    if (reserved)
      problems.push({
        path: fixed.path,
        message: `${fixed.address} (${fixed.name}) is the ${reserved} address of ${subnet.text}`,
        fix: 'give it another address',
      });
    const address = formatIp(ip);
    const other = holders.get(address);
    if (other && other.name !== fixed.name) {
      problems.push({
        path: fixed.path,
        message: `address ${address} is used by both ${other.name} (${other.kind}) and ${fixed.name} (${fixed.kind})`,
        fix: 'give one of them another address',
      });
    }
    const block = blocks.find((b) => contains(b.range, ip));
    if (block)
      problems.push({
        path: fixed.path,
        message: `${address} (${fixed.name}) is inside ${block.name} ${formatRange(block.range)}`,
        fix: `move ${block.name} or give ${fixed.name} another address`,
      });
    if (!other) holders.set(address, { name: fixed.name, kind: fixed.kind, address, note: fixed.note });
    byName.set(fixed.name, fixed);
  }

  for (const lease of leases) problems.push(...leaseProblems(lease, { config, subnet, blocks, holders }));
  return { subnet, holders, blocks, leases, problems };
}

/** The lowest free address of the role's range, or a problem when none is left. A lease that exists is returned as it is. */
export function allocate(
  ledger: Ledger,
  name: string,
  role: Role,
  since: string,
): { ledger: Ledger; lease: Lease } | Problem {
  const results = allocateAll(ledger, [{ name, role }], since);
  const lease = results.ledger.leases.find((l) => l.name === name);
  return lease ? { ledger: results.ledger, lease } : results.problems[0]!;
}

/** Leases for all of `wanted` that have none yet, in their order; what has one keeps it. */
export function allocateAll(
  ledger: Ledger,
  wanted: readonly { name: string; role: Role }[],
  since: string,
): { ledger: Ledger; given: Lease[]; problems: Problem[] } {
  const holders = new Map(ledger.holders);
  const known = new Set(ledger.leases.map((lease) => lease.name));
  const cursors = new Map<Role, bigint>();
  const given: Lease[] = [];
  const problems: Problem[] = [];
  for (const { name, role } of wanted) {
    if (known.has(name)) continue;
    const range = ledger.blocks.find((block) => block.kind === 'range' && block.name === rangeName(role))?.range;
    const address = range && lowestFree(range, cursors.get(role) ?? range.first.value, ledger, holders);
    if (!address) {
      const size = range ? `${formatRange(range)} is full` : 'there is none';
      problems.push({
        path: ['network', 'ranges', role],
        message: `no address is left for ${name}: ${size}`,
        fix: 'widen the range, or release a lease: npx tsx scripts/network.ts release NAME',
      });
      continue;
    }
    cursors.set(role, address.value + 1n);
    const lease: Lease = { name, address: formatIp(address), role, since };
    holders.set(lease.address, { name, kind: 'lease', address: lease.address });
    known.add(name);
    given.push(lease);
  }
  return { ledger: { ...ledger, holders, leases: [...ledger.leases, ...given] }, given, problems };
}

/** The ledger without the lease of `name`; the same ledger when there is none. */
export function release(ledger: Ledger, name: string): Ledger {
  const lease = ledger.leases.find((l) => l.name === name);
  if (!lease) return ledger;
  const holders = new Map(ledger.holders);
  holders.delete(lease.address);
  return { ...ledger, holders, leases: ledger.leases.filter((l) => l !== lease) };
}

export function rangeName(role: Role): string {
  return `network.ranges.${role}`;
}

function lowestFree(range: Range, from: bigint, ledger: Ledger, holders: ReadonlyMap<string, Holder>): Ip | undefined {
  for (let value = from; value <= range.last.value; value++) {
    const ip = { family: range.first.family, value };
    if (!holders.has(formatIp(ip)) && !reservedAs(ledger.subnet, ip)) return ip;
  }
  return undefined;
}

function leaseProblems(
  lease: Lease,
  {
    config,
    subnet,
    blocks,
    holders,
  }: { config: Config; subnet: Subnet; blocks: Block[]; holders: Map<string, Holder> },
): Problem[] {
  const where = `homelab.lock.yaml: lease of ${lease.name}`;
  const fix = `npx tsx scripts/network.ts release ${lease.name}`;
  const ip = parseIp(lease.address);
  if (!ip) return [{ message: `${where}: "${lease.address}" is not an IP address`, fix }];
  const problems: Problem[] = [];
  const address = formatIp(ip);
  if (!contains(subnet, ip))
    problems.push({
      path: ['network', 'subnet'],
      message: `${where}: ${address} is outside the subnet ${subnet.text}`,
      fix,
    });
  const reserved = reservedAs(subnet, ip);
  if (reserved) problems.push({ message: `${where}: ${address} is the ${reserved} address`, fix });
  const other = holders.get(address);
  if (other)
    problems.push({
      message: `${where}: address ${address} is used by both ${other.name} (${other.kind}) and ${lease.name}`,
      fix,
    });
  else holders.set(address, { name: lease.name, kind: 'lease', address });
  const foreign = blocks.find((block) => block.name !== rangeName(lease.role) && contains(block.range, ip));
  if (foreign)
    problems.push({ message: `${where}: ${address} is inside ${foreign.name} ${formatRange(foreign.range)}`, fix });
  const node = config.k3s.nodes.find((n) => n.name === lease.name);
  if (node && node.role !== lease.role)
    problems.push({ message: `${where} is of the role ${lease.role}, homelab.yaml says ${node.role}`, fix });
  return problems;
}

/** Everything in homelab.yaml that has a fixed address, with its place. */
function fixedAddresses(config: Config): Fixed[] {
  const { network, proxmox, nas } = config;
  const at = (...path: (string | number)[]) => path;
  return [
    { name: 'gateway', kind: 'gateway', address: network.gateway, path: at('network', 'gateway'), inSubnet: true },
    ...network.dns
      .map((address, i) => ({ name: `dns ${i + 1}`, kind: 'DNS server', address, path: at('network', 'dns', i) }))
      .filter(({ address }) => address !== network.gateway),
    ...proxmox.nodes.map((node, i) => ({
      name: node.name,
      kind: 'Proxmox node',
      address: node.address,
      path: at('proxmox', 'nodes', i, 'address'),
    })),
    ...nas.map((n, i) => ({ name: n.name, kind: 'NAS', address: n.address, path: at('nas', i, 'address') })),
    ...network.hosts.map((host, i) => ({
      name: host.name,
      kind: 'host',
      address: host.address,
      note: host.note,
      path: at('network', 'hosts', i, 'address'),
      inSubnet: true,
    })),
  ];
}

function readSubnet(config: Config, problems: Problem[]): Subnet {
  const subnet = parseSubnet(config.network.subnet);
  if (typeof subnet !== 'string') return subnet;
  problems.push({ path: ['network', 'subnet'], message: subnet, fix: 'correct network.subnet' });
  // Goes on with the network that was probably meant, so that the other problems are reported too.
  const meant = /did you mean ([^?]+)\?/.exec(subnet)?.[1];
  return (meant ? parseSubnet(meant) : parseSubnet('0.0.0.0/0')) as Subnet;
}

function readBlocks(config: Config, subnet: Subnet, problems: Problem[]): Block[] {
  const wanted: { name: string; kind: Block['kind']; text: string; path: (string | number)[] }[] = [
    {
      name: rangeName('server'),
      kind: 'range',
      text: config.network.ranges.server,
      path: ['network', 'ranges', 'server'],
    },
    {
      name: rangeName('agent'),
      kind: 'range',
      text: config.network.ranges.agent,
      path: ['network', 'ranges', 'agent'],
    },
    { name: 'metallb.pool', kind: 'pool', text: config.metallb.pool, path: ['metallb', 'pool'] },
    ...config.network.dhcp.map((text, i) => ({
      name: `network.dhcp[${i}]`,
      kind: 'dhcp' as const,
      text,
      path: ['network', 'dhcp', i],
    })),
  ];
  const blocks: Block[] = [];
  for (const { name, kind, text, path } of wanted) {
    const range = parseRange(text);
    if (typeof range === 'string') {
      problems.push({ path, message: range, fix: `write ${name} as FIRST-LAST` });
      continue;
    }
    if (!contains(subnet, range.first) || !contains(subnet, range.last)) {
      problems.push({
        path,
        message: `${name} ${formatRange(range)} is outside the subnet ${subnet.text}`,
        fix: 'correct the range, or network.subnet',
      });
    }
    for (const ip of [range.first, range.last]) {
      const reserved = reservedAs(subnet, ip);
      if (reserved)
        problems.push({
          path,
          message: `${name} contains ${formatIp(ip)}, the ${reserved} address of ${subnet.text}`,
          fix: 'shorten the range',
        });
    }
    for (const other of blocks.filter((block) => overlap(block.range, range))) {
      problems.push({
        path,
        message: `${name} ${formatRange(range)} overlaps ${other.name} ${formatRange(other.range)}`,
        fix: 'make them disjoint',
      });
    }
    blocks.push({ name, kind, range });
  }
  return blocks;
}

/** The first and the last address of an IPv4 network are nobody's; an IPv6 network's first is its routers'. */
function reservedAs(subnet: Subnet, ip: Ip): 'network' | 'broadcast' | undefined {
  if (ip.family !== subnet.first.family || subnet.prefix >= (ip.family === 4 ? 31 : 127)) return undefined;
  if (ip.value === subnet.first.value) return 'network';
  return ip.family === 4 && ip.value === subnet.last.value ? 'broadcast' : undefined;
}
