import type { Config, K3sNode } from '../lib/config/schema.ts';
import { toProvider } from '../lib/lab/tools/terraform-shape.ts';
import type { Loose } from '../lib/loose.ts';
import type { DriftSources } from '../lib/plan/drift.ts';
import type { ProxmoxVm } from '../lib/plan/drift-values.ts';
import type { StateVm } from '../lib/plan/terraform-json.ts';
import { marker, tagsOf } from '../lib/render/tfvars.ts';
import { labOf } from './provision-fixture.ts';

export const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtleWtleWtleQ ops@lab';

export type Sources = DriftSources & { state: StateVm[]; proxmox: (ProxmoxVm & { config: Loose })[] };

/** Four sources that say the same; each of them is a copy of its own, for a test to change. */
export function agreeing(change?: (config: Config) => void): Sources {
  const { config, lock } = labOf({ change, leased: true });
  const nodes = config.k3s.nodes.map((node) => ({ node, address: addressIn(lock.leases, node.name) }));
  return structuredClone({
    ...{ config, leases: lock.leases, publicKey: `${KEY}\n` },
    state: nodes.map(({ node, address }) => stateOf(config, node, address)),
    proxmox: nodes.map(({ node, address }) => proxmoxOf(config, node, address)),
  });
}

function addressIn(leases: readonly { name: string; address: string }[], name: string): string {
  return leases.find((lease) => lease.name === name)?.address ?? '';
}

function stateOf(config: Config, node: K3sNode, address: string): StateVm {
  const { network } = config;
  const attributes = toProvider({
    ...{ vm_id: node.vmid, node_name: node.node, name: node.name, description: marker(config.name, node.name) },
    ...{ tags: tagsOf(node.role), cores: node.cores, memory: node.memory_gib * 1024 },
    disk: { datastore_id: node.storage ?? config.template.storage, size: node.disk_gib },
    network: { bridge: config.proxmox.bridge, vlan_id: network.vlan ?? null },
    initialization: {
      ...{ address: `${address}/24`, gateway: network.gateway, dns: network.dns.join(' ') },
      ...{ domain: config.search_domain, user: config.template.user, keys: [KEY] },
    },
    ...{ hostpci: node.gpu ?? null, on_boot: true, started: true },
  });
  return { name: node.name, vmid: node.vmid, node: node.node, tainted: false, attributes };
}

/** As Proxmox writes it: numbers here and there, options in its own order, keys percent-encoded. */
function proxmoxOf(config: Config, node: K3sNode, address: string): Sources['proxmox'][number] {
  const { network } = config;
  const description = marker(config.name, node.name);
  return {
    ...{ vmid: node.vmid, name: node.name, node: node.node, running: true, description },
    agent: ['fe80::1', '10.42.0.1', address],
    config: {
      ...{ name: node.name, description: `${description}\n`, cores: node.cores, sockets: 1, onboot: 1 },
      memory: String(node.memory_gib * 1024),
      scsi0: `${node.storage ?? config.template.storage}:vm-${node.vmid}-disk-1,discard=on,size=${node.disk_gib}G,ssd=1`,
      net0: `virtio=BC:24:11:00:00:01,bridge=${config.proxmox.bridge}${network.vlan ? `,tag=${network.vlan}` : ''}`,
      ipconfig0: `gw=${network.gateway},ip=${address}/24`,
      ...{ nameserver: network.dns.join(' '), searchdomain: config.search_domain, ciuser: config.template.user },
      sshkeys: encodeURIComponent(KEY),
      tags: tagsOf(node.role).reverse().join(';'),
      ...(node.gpu && { hostpci0: `mapping=${node.gpu},pcie=1,rombar=1,x-vga=0` }),
    },
  };
}
