import type { Config } from '../config/schema.ts';
import { type Block, rangeName, readBlocks, readSubnet, reservedAs } from './blocks.ts';
import { type Fixed, fixedAddresses } from './fixed.ts';
import { contains, formatIp, formatRange, type Ip, parseIp, parseSubnet, type Range, type Subnet } from './ip.ts';
import type { Lease } from './lockfile.ts';

export { type Block, rangeName } from './blocks.ts';

/**
 * Who holds what of the lab's network, and why. Not a calculator: it knows the subnet, the gateway,
 * what has a fixed address, what the router hands out, the ranges of the roles, MetalLB's pool, and the leases.
 */
export type Role = Lease['role'];
export type Holder = { name: string; kind: string; address: string; note?: string };

/** Something that contradicts. `path` is the place in homelab.yaml; a lease's has none. */
export type Problem = { path?: (string | number)[]; message: string; fix: string };

export type Ledger = {
  subnet: Subnet;
  /** Every address that somebody has, fixed or leased, by its canonical text. */
  holders: ReadonlyMap<string, Holder>;
  blocks: readonly Block[];
  leases: readonly Lease[];
  problems: readonly Problem[];
};

/** The ledger of a configuration and its leases; contradictions are in `problems`, all of them. */
export function openLedger(config: Config, leases: readonly Lease[]): Ledger {
  const problems: Problem[] = [];
  const subnet = readSubnet(config, problems);
  const blocks = readBlocks(config, subnet, problems);
  const holders = new Map<string, Holder>();
  for (const fixed of fixedAddresses(config)) problems.push(...addFixed(fixed, { subnet, blocks, holders }));
  const roles = new Map(config.k3s.nodes.map(({ name, role }) => [name, role]));
  const names = new Set<string>();
  for (const lease of leases) {
    const found = addLease(lease, roles.get(lease.name), { subnet, blocks, holders });
    if (names.has(lease.name)) found.push('there are two of this name');
    names.add(lease.name);
    problems.push(
      ...found.map((text) => ({
        message: `homelab.lock.yaml: lease of ${lease.name}: ${text}`,
        fix: `npx tsx scripts/network.ts release ${lease.name}`,
      })),
    );
  }
  return { subnet: subnet ?? NOWHERE, holders, blocks, leases, problems };
}

/**
 * Leases for all of `wanted` that have none yet, in their order: the lowest free address of the role's range. What has
 * one keeps it; where none is left there is a problem.
 */
export function allocateAll(
  ledger: Ledger,
  wanted: readonly { name: string; role: Role }[],
  since: string,
): { ledger: Ledger; given: Lease[]; problems: Problem[] } {
  const holders = new Map(ledger.holders);
  const known = new Set(ledger.leases.map((lease) => lease.name));
  /** Where to go on looking, by role: everything below is taken. */
  const next = new Map<Role, bigint>();
  const given: Lease[] = [];
  const problems: Problem[] = [];
  for (const { name, role } of wanted) {
    if (known.has(name)) continue;
    const range = ledger.blocks.find((block) => block.name === rangeName(role))?.range;
    const free = range && lowestFree(range, next.get(role) ?? range.first.value, ledger.subnet, holders);
    if (!free) {
      problems.push({
        path: ['network', 'ranges', role],
        message: `no address is left for ${name}: ${range ? `${formatRange(range)} is full` : 'its role has no range'}`,
        fix: 'widen the range, or release a lease: npx tsx scripts/network.ts release NAME',
      });
      continue;
    }
    next.set(role, free.value + 1n);
    const lease: Lease = { name, address: free.address, role, since };
    holders.set(lease.address, { name, kind: 'lease', address: lease.address });
    known.add(name);
    given.push(lease);
  }
  return { ledger: { ...ledger, holders, leases: [...ledger.leases, ...given] }, given, problems };
}

/** Stands for a subnet that could not be read; such a ledger has problems, and gives nothing. */
const NOWHERE = parseSubnet('0.0.0.0/32') as Subnet;

function lowestFree(
  range: Range,
  from: bigint,
  subnet: Subnet,
  holders: ReadonlyMap<string, Holder>,
): { value: bigint; address: string } | undefined {
  const { family } = range.first;
  for (let value = from; value <= range.last.value; value++) {
    const address = formatIp({ family, value });
    if (!holders.has(address) && !reservedAs(subnet, { family, value })) return { value, address };
  }
  return undefined;
}

type Known = { subnet: Subnet | undefined; blocks: readonly Block[]; holders: Map<string, Holder> };

/** Enters something with a fixed address. @returns what is wrong with it */
function addFixed(fixed: Fixed, { subnet, blocks, holders }: Known): Problem[] {
  const { name, kind, note, path } = fixed;
  const ip = parseIp(fixed.address);
  if (!ip) {
    const example = formatIp(subnet ? { ...subnet.first, value: subnet.first.value + 10n } : { family: 4, value: 0n });
    return [{ path, message: `"${fixed.address}" is not an IP address`, fix: `write one, such as ${example}` }];
  }
  const problems: Problem[] = [];
  const address = canonical(fixed.address, ip);
  const problem = (message: string, fix: string): number => problems.push({ path, message, fix });
  if (subnet && fixed.inSubnet && !contains(subnet, ip))
    problem(`${address} (${name}) is outside the subnet ${subnet.text}`, 'correct the address, or network.subnet');
  const reserved = subnet && reservedAs(subnet, ip);
  if (reserved) problem(`${address} (${name}) is the ${reserved} address of ${subnet.text}`, 'give it another address');
  const other = holders.get(address);
  if (other && other.name !== name && !fixed.shares)
    problem(
      `address ${address} is used by both ${other.name} (${other.kind}) and ${name} (${kind})`,
      'give one of them another address',
    );
  // A DNS server may be a service of the cluster, with an address of the pool.
  const block = blocks.find((b) => contains(b.range, ip) && !(fixed.shares && b.kind === 'pool'));
  if (block && !(other && fixed.shares))
    problem(
      `${address} (${name}) is inside ${block.name} ${formatRange(block.range)}`,
      `move ${block.name}, or give ${name} another address`,
    );
  if (!other) holders.set(address, { name, kind, address, note });
  return problems;
}

/** Enters a lease. @returns what is wrong with it */
function addLease(lease: Lease, role: Role | undefined, { subnet, blocks, holders }: Known): string[] {
  const ip = parseIp(lease.address);
  if (!ip) return [`"${lease.address}" is not an IP address`];
  const problems: string[] = [];
  const address = canonical(lease.address, ip);
  if (subnet && !contains(subnet, ip)) problems.push(`${address} is outside the subnet ${subnet.text}`);
  const reserved = subnet && reservedAs(subnet, ip);
  if (reserved) problems.push(`${address} is the ${reserved} address of ${subnet.text}`);
  const other = holders.get(address);
  if (other) problems.push(`address ${address} is used by both ${other.name} (${other.kind}) and ${lease.name}`);
  else holders.set(address, { name: lease.name, kind: 'lease', address });
  // Outside of its own range it may stay: ranges are moved for nodes that come, not for those that are there.
  const foreign = blocks.find((block) => contains(block.range, ip) && block.name !== rangeName(lease.role));
  if (foreign) problems.push(`${address} is inside ${foreign.name} ${formatRange(foreign.range)}`);
  if (role && role !== lease.role)
    problems.push(`${address} was given to it as ${lease.role}, and homelab.yaml says ${role}`);
  return problems;
}

/** IPv4 has one spelling (parseIp takes no other), IPv6 has many. */
function canonical(text: string, ip: Ip): string {
  return ip.family === 4 ? text : formatIp(ip);
}
