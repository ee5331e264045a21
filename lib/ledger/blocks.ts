import type { Config } from '../config/schema.ts';
import {
  contains,
  formatIp,
  formatRange,
  type Ip,
  overlap,
  parseRange,
  parseSubnet,
  type Range,
  type Subnet,
} from './ip.ts';
import type { Problem, Role } from './ledger.ts';

/** Addresses that belong together: the range of a role, MetalLB's pool, what the router hands out. */
export type Block = { name: string; kind: 'range' | 'pool' | 'dhcp'; range: Range };

/** The key of homelab.yaml from whose range a role gets its addresses. */
export function rangeName(role: Role): string {
  return `network.ranges.${role}`;
}

/** The subnet, or the one that was probably meant; undefined (and a problem) when nothing can be made of it. */
export function readSubnet(config: Config, problems: Problem[]): Subnet | undefined {
  const subnet = parseSubnet(config.network.subnet);
  if (typeof subnet !== 'string') return subnet;
  const [message = '', fix = 'correct network.subnet'] = subnet.split('; ');
  problems.push({ path: ['network', 'subnet'], message, fix });
  // Goes on with the network that was meant, so that the other problems are reported too.
  const meant = /did you mean ([^?]+)\?/.exec(subnet)?.[1];
  const guess = meant === undefined ? undefined : parseSubnet(meant);
  return typeof guess === 'string' ? undefined : guess;
}

/** Every block of homelab.yaml that can be read; each must be inside the subnet and apart from the others. */
export function readBlocks(config: Config, subnet: Subnet | undefined, problems: Problem[]): Block[] {
  const blocks: Block[] = [];
  for (const { name, kind, text, path } of blocksOf(config)) {
    const range = parseRange(text);
    if (typeof range === 'string') {
      const [message = '', fix = `write ${name} as FIRST-LAST`] = range.split('; ');
      problems.push({ path, message, fix });
      continue;
    }
    if (subnet) problems.push(...placeProblems(range, subnet).map((problem) => ({ path, ...problem })));
    for (const other of blocks.filter((block) => overlap(block.range, range))) {
      problems.push({
        path,
        message: `${formatRange(range)} overlaps ${other.name} ${formatRange(other.range)}`,
        fix: 'make them disjoint',
      });
    }
    blocks.push({ name, kind, range });
  }
  return blocks;
}

/**
 * What of a subnet nobody can have: the first and the last address of an IPv4 network; the first of an
 * IPv6 network, which means all of its routers. Point-to-point networks have no such addresses.
 */
export function reservedAs(subnet: Subnet, { family, value }: Ip): 'network' | 'broadcast' | 'all-routers' | undefined {
  if (family !== subnet.first.family || subnet.prefix >= (family === 4 ? 31 : 127)) return undefined;
  if (value === subnet.first.value) return family === 4 ? 'network' : 'all-routers';
  return family === 4 && value === subnet.last.value ? 'broadcast' : undefined;
}

function placeProblems(range: Range, subnet: Subnet): Omit<Problem, 'path'>[] {
  if (!contains(subnet, range.first) || !contains(subnet, range.last))
    return [
      {
        message: `${formatRange(range)} is outside the subnet ${subnet.text}`,
        fix: 'correct the range, or network.subnet',
      },
    ];
  return [range.first, range.last].flatMap((ip) => {
    const reserved = reservedAs(subnet, ip);
    return reserved
      ? [
          {
            message: `${formatRange(range)} contains ${formatIp(ip)}, the ${reserved} address of ${subnet.text}`,
            fix: 'shorten it',
          },
        ]
      : [];
  });
}

type Wanted = { name: string; kind: Block['kind']; text: string; path: (string | number)[] };

function blocksOf({ network, metallb }: Config): Wanted[] {
  const ranges = (['server', 'agent'] as const).map((role) => ({
    ...{ name: rangeName(role), kind: 'range' as const, text: network.ranges[role] },
    path: ['network', 'ranges', role],
  }));
  const dhcp = network.dhcp.map((text, i) => ({
    ...{ name: `network.dhcp[${i}]`, kind: 'dhcp' as const, text },
    path: ['network', 'dhcp', i],
  }));
  return [...ranges, ...dhcp, { name: 'metallb.pool', kind: 'pool', text: metallb.pool, path: ['metallb', 'pool'] }];
}
