import type { Config } from '../config/schema.ts';
import type { Holder } from './ledger.ts';

/** Something with a fixed address in homelab.yaml, and its place there. */
export type Fixed = Holder & {
  path: (string | number)[];
  /** Whether the address must be of the subnet: a NAS may be routed, a host of this network may not. */
  inSubnet?: boolean;
  /** Whether another may have the address too: a DNS server runs on some host. */
  shares?: boolean;
};

/** Everything in homelab.yaml that has a fixed address. DNS servers come last: they are mostly somebody else too. */
export function fixedAddresses({ network, proxmox, nas }: Config): Fixed[] {
  return [
    { name: 'gateway', kind: 'router', address: network.gateway, path: ['network', 'gateway'], inSubnet: true },
    ...proxmox.nodes.map(({ name, address }, i) => ({
      ...{ name, address, kind: 'Proxmox node' },
      path: ['proxmox', 'nodes', i, 'address'],
    })),
    ...nas.map(({ name, address }, i) => ({ name, address, kind: 'NAS', path: ['nas', i, 'address'] })),
    ...network.hosts.map(({ name, address, note }, i) => ({
      ...{ name, address, note, kind: 'host', inSubnet: true },
      path: ['network', 'hosts', i, 'address'],
    })),
    ...network.dns.map((address, i) => ({
      ...{ name: `dns ${i + 1}`, address, kind: 'DNS server', shares: true },
      path: ['network', 'dns', i],
    })),
  ];
}
