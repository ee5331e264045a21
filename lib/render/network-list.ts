import type { Config } from '../config/schema.ts';
import { allocation, type BlockEntry, blockEntries, type Entry, withoutLease } from '../ledger/allocation.ts';
import type { Ledger } from '../ledger/ledger.ts';

/** What `network list` prints, for people and (--json) for programs. */
export type NetworkList = {
  subnet: string;
  gateway: string;
  addresses: Entry[];
  blocks: BlockEntry[];
  /** K3s nodes that have no address yet. */
  missing: string[];
  problems: string[];
};

export function networkList(config: Config, ledger: Ledger, problems: readonly string[]): NetworkList {
  return {
    subnet: config.network.subnet,
    gateway: config.network.gateway,
    addresses: allocation(config, ledger),
    blocks: blockEntries(ledger),
    missing: withoutLease(config, ledger),
    problems: [...problems],
  };
}

/** The list as columns; leases whose node is gone are marked `unused`. */
export function listText({ addresses, blocks, missing }: NetworkList): string {
  return [
    ...columns([
      ['ADDRESS', 'NAME', 'WHAT', 'WHY'],
      ...addresses.map(({ address, name, what, why, lease }) => [
        ...[address, name, what, lease === 'unused' ? `unused: ${why}` : why],
      ]),
      ...missing.map((name) => ['-', name, 'K3s node', 'no lease yet: npx tsx scripts/network.ts allocate']),
    ]),
    '',
    ...columns([
      ['RANGE', 'KEY', 'GIVEN'],
      ...blocks.map(({ first, last, name, size, used }) => [`${first}-${last}`, name, `${used} of ${size}`]),
    ]),
  ].join('\n');
}

function columns(rows: string[][]): string[] {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((text, i) => text.replaceAll(/\s+/g, ' ').padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
