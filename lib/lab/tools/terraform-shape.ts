import { dig, textsIn } from '../../loose.ts';
import type { Attributes } from './terraform-vm.ts';

/** The same attributes as bpg/proxmox 0.111.1 keeps and shows them: blocks are lists of one, and nothing is null. */
export function toProvider(vm: Attributes): Record<string, unknown> {
  const { initialization: init } = vm;
  return {
    cpu: [{ cores: vm.cores, sockets: 1, type: 'host' }],
    description: vm.description,
    disk: [{ datastore_id: vm.disk.datastore_id, interface: 'scsi0', size: vm.disk.size }],
    hostpci: vm.hostpci === null ? [] : [{ device: 'hostpci0', id: '', mapping: vm.hostpci }],
    id: String(vm.vm_id),
    initialization: [
      {
        datastore_id: vm.disk.datastore_id,
        dns: [{ domain: init.domain, servers: init.dns.split(' ').filter(Boolean) }],
        interface: 'ide2',
        ip_config: [{ ipv4: [{ address: init.address, gateway: init.gateway }], ipv6: [] }],
        user_account: [{ keys: init.keys, password: '', username: init.user }],
      },
    ],
    memory: [{ dedicated: vm.memory, floating: 0 }],
    name: vm.name,
    network_device: [{ bridge: vm.network.bridge, firewall: false, model: 'virtio', vlan_id: vm.network.vlan_id ?? 0 }],
    node_name: vm.node_name,
    on_boot: vm.on_boot,
    started: vm.started,
    tags: vm.tags,
    template: false,
    vm_id: vm.vm_id,
  };
}

/** What toProvider made, back again; a file that somebody edited may say anything. */
export function fromProvider(state: unknown): Attributes {
  const text = (...path: (string | number)[]): string => String(dig(state, ...path) ?? '');
  const number = (...path: (string | number)[]): number => Number(dig(state, ...path) ?? 0);
  const init = ['initialization', 0];
  return {
    vm_id: number('vm_id'),
    node_name: text('node_name'),
    name: text('name'),
    description: text('description'),
    tags: textsIn(dig(state, 'tags')),
    cores: number('cpu', 0, 'cores'),
    memory: number('memory', 0, 'dedicated'),
    disk: { datastore_id: text('disk', 0, 'datastore_id'), size: number('disk', 0, 'size') },
    network: {
      bridge: text('network_device', 0, 'bridge'),
      vlan_id: number('network_device', 0, 'vlan_id') || null,
    },
    initialization: {
      address: text(...init, 'ip_config', 0, 'ipv4', 0, 'address'),
      gateway: text(...init, 'ip_config', 0, 'ipv4', 0, 'gateway'),
      dns: textsIn(dig(state, ...init, 'dns', 0, 'servers')).join(' '),
      domain: text(...init, 'dns', 0, 'domain'),
      user: text(...init, 'user_account', 0, 'username'),
      keys: textsIn(dig(state, ...init, 'user_account', 0, 'keys')),
    },
    hostpci: text('hostpci', 0, 'mapping') || null,
    on_boot: dig(state, 'on_boot') === true,
    started: dig(state, 'started') === true,
  };
}
