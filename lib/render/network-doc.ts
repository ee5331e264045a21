import type { Config } from '../config/schema.ts';
import { allocation, blockEntries, withoutLease } from '../ledger/allocation.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { clientsOf } from '../lookup.ts';

/** docs/NETWORK.md: who has which address, and why. The same configuration and leases are always the same text. */
export function networkDoc(config: Config, ledger: Ledger): string {
  const { network, k3s } = config;
  const entries = allocation(config, ledger);
  const address = new Map(entries.map((entry) => [entry.name, entry.address]));
  const row = ({ address, name, what, why }: (typeof entries)[number]): string[] => [address, name, what, why];
  const routed = entries.filter((entry) => entry.routed);
  const missing = withoutLease(config, ledger);
  const sections = [
    '<!-- Made from homelab.yaml and homelab.lock.yaml by `npx tsx scripts/network.ts doc`. Not to be edited by hand. -->',
    `# Network of ${config.name}`,
    table(
      ['VLAN', 'Subnet', 'Gateway', 'DNS', 'Search domain'],
      [
        [
          String(network.vlan ?? 'untagged'),
          network.subnet,
          network.gateway,
          network.dns.join(', '),
          config.search_domain,
        ],
      ],
    ),
    '## Addresses',
    table(['Address', 'Name', 'What it is', 'Why'], entries.filter((entry) => !entry.routed).map(row)),
    ...(missing.length > 0
      ? [`No address yet, until \`npx tsx scripts/network.ts allocate\` gives one: ${missing.join(', ')}.`]
      : []),
    '## Ranges and pools',
    table(
      ['From', 'To', 'Key in homelab.yaml', 'What for', 'Size', 'Given'],
      blockEntries(ledger).map(({ first, last, name, purpose, size, used }) => [
        ...[first, last, name, purpose, size],
        name.startsWith('network.ranges') ? String(used) : '',
      ]),
    ),
    '## Beyond the subnet',
    table(
      ['Address', 'Name', 'What it is', 'Why'],
      [
        ...routed.map(row),
        [k3s.cluster_cidr, 'k3s.cluster_cidr', 'network of the pods', 'inside of the cluster only'],
        [k3s.service_cidr, 'k3s.service_cidr', 'network of the services', 'inside of the cluster only'],
      ],
    ),
    '## Who may mount what',
    table(
      ['Export', 'Path', 'Clients', 'Addresses'],
      config.nas.flatMap((nas) =>
        nas.exports.map(({ name, path, clients }) => [
          `${nas.name}/${name}`,
          path,
          clients.join(', '),
          clientsOf(config, clients)
            .map((client) => address.get(client) ?? `(${client})`)
            .join(', '),
        ]),
      ),
    ),
  ];
  return `${sections.join('\n\n')}\n`;
}

function table(head: string[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** A note of homelab.yaml may hold anything. */
function cell(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('\\', '\\\\').replaceAll('|', '\\|');
}
