import type { Config, K3sNode } from '../config/schema.ts';
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

/** Variables of terraform/variables.tf, as homelab.auto.tfvars.json. */
export function renderTfvars(config: Config, input: TfvarsInput): string {
  const nodes = Object.fromEntries(config.k3s.nodes.map((node) => [node.name, nodeVariables(config, node, input)]));
  return `${JSON.stringify({ lab: config.name, endpoint: input.endpoint, nodes }, null, 2)}\n`;
}

function nodeVariables(config: Config, node: K3sNode, { addresses, publicKey, placement }: TfvarsInput): object {
  const { network, proxmox, template, search_domain } = config;
  const subnet = parseSubnet(network.subnet);
  const address = addresses.get(node.name);
  if (typeof subnet === 'string' || !address) throw new Error(`no address for ${node.name}`);
  const source = placement.for(node.node);
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
    tags: ['homelab', 'k3s', node.role].sort(),
    description: marker(config.name, node.name),
  };
}
