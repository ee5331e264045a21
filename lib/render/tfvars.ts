import type { Config, K3sNode } from '../config/schema.ts';
import { fixedAddresses } from '../ledger/fixed.ts';
import { parseSubnet } from '../ledger/ip.ts';
import type { Placement } from '../plan/template-placement.ts';

export type TfvarsInput = {
  /** https://HOST:PORT/ */
  endpoint: string;
  /** Name → leased address. */
  addresses: ReadonlyMap<string, string>;
  publicKey: string;
  placement: Placement;
};

/** The name by which we recognise a VM as ours, in its description: homelab:LAB/NAME. */
export function marker(lab: string, name: string): string {
  return `homelab:${lab}/${name}`;
}

/** A VM's tags in Proxmox. TAG is on every VM that this toolkit made. */
export function tagsOf(role: K3sNode['role']): string[] {
  return [TAG, 'k3s', role].sort();
}

export const TAG = 'homelab';

/** Whose VM it is by its description; undefined for one that no lab of this toolkit made. */
export function markOf(description: string): { lab: string; name: string } | undefined {
  const [, lab, name] = /^homelab:([^/\s]+)\/(\S+)$/.exec(description.trim()) ?? [];
  return lab && name ? { lab, name } : undefined;
}

/** Variables of terraform/variables.tf, as homelab.auto.tfvars.json. */
export function renderTfvars(config: Config, input: TfvarsInput): string {
  const nodes = Object.fromEntries(config.k3s.nodes.map((node) => [node.name, nodeVariables(config, node, input)]));
  const { name: lab, template } = config;
  const variables = { lab, endpoint: input.endpoint, template_disk_gib: template.disk_gib, reserved: reserved(config) };
  return `${JSON.stringify({ ...variables, nodes }, null, 2)}\n`;
}

/** Who else has addresses, so that a VM that is edited by hand gets none of them. Gateway and DNS servers stand in the VMs. */
function reserved(config: Config): Record<string, string> {
  const fixed = fixedAddresses(config).filter(({ shares, kind }) => !shares && kind !== 'router');
  const ranges = config.network.dhcp.map((range, i) => [`network.dhcp[${i}]`, range.replaceAll(' ', '')]);
  return {
    ...Object.fromEntries(fixed.map(({ name, address }) => [name, address])),
    ...Object.fromEntries(ranges),
    'metallb.pool': config.metallb.pool.replaceAll(' ', ''),
  };
}

function nodeVariables(config: Config, node: K3sNode, { addresses, publicKey, placement }: TfvarsInput): object {
  const { network, proxmox, template, search_domain } = config;
  const subnet = parseSubnet(network.subnet);
  const address = addresses.get(node.name);
  if (typeof subnet === 'string' || !address) throw new Error(`no address for ${node.name}`);
  const at = placement.for(node.node);
  // Clones are never made of an old one; but while nothing is to be cloned, its VMID is no news.
  const source = at.is === 'current' ? at : (at.old ?? at);
  return {
    vmid: node.vmid,
    node: node.node,
    template_vmid: source.vmid,
    template_node: source.node === node.node ? null : source.node,
    cores: node.cores,
    memory_mib: node.memory_gib * 1024,
    disk_gib: node.disk_gib,
    storage: node.storage ?? template.storage,
    address_cidr: `${address}/${subnet.prefix}`,
    gateway: network.gateway,
    dns: network.dns,
    search_domain,
    bridge: proxmox.bridge,
    vlan: network.vlan ?? null,
    user: template.user,
    ssh_keys: [publicKey.trim()],
    gpu: node.gpu ?? null,
    tags: tagsOf(node.role),
    description: marker(config.name, node.name),
  };
}
