import type { Config, K3sNode } from '../lib/config/schema.ts';
import type { Attribute, ProxmoxVm, Source } from '../lib/plan/drift-values.ts';
import { KEY, type Sources } from './drift-fixture.ts';

type Change = (sources: Sources, at: number, by: number) => void;
/** How a source comes to say something else of an attribute; `by` makes it one of many values. */
type Changes = Partial<Record<Source, Change>>;

const inConfig =
  (change: (config: Config, node: K3sNode, by: number) => void): Change =>
  ({ config }, at, by) =>
    change(config, config.k3s.nodes[at]!, by);
/** @param path of the provider's attribute */
const inState =
  (path: string, value: (by: number) => unknown): Change =>
  ({ state }, at, by) => {
    const keys = path.split('.');
    let found: unknown = state[at]?.attributes;
    for (const key of keys.slice(0, -1)) found = (found as Record<string, unknown>)[key];
    (found as Record<string, unknown>)[keys.at(-1)!] = value(by);
  };
const inProxmox =
  (key: string, value: (by: number, before: string) => unknown): Change =>
  ({ proxmox }, at, by) => {
    const vm = proxmox[at]!;
    vm.config[key] = value(by, String(vm.config[key] ?? ''));
  };
const ofVm =
  (change: (vm: ProxmoxVm, by: number) => void): Change =>
  ({ proxmox }, at, by) =>
    change(proxmox[at]!, by);

const INIT = 'initialization.0';
/** Every source that can differ in an attribute, and how it comes to. What is a constant in one of them is left out. */
export const CHANGES: Record<Attribute, Changes> = {
  vmid: {
    'homelab.yaml': inConfig((_, node, by) => {
      node.vmid = 700 + by;
    }),
    state: ({ state }, at, by) => {
      state[at]!.vmid = 700 + by;
    },
    Proxmox: ofVm((vm, by) => {
      vm.vmid = 700 + by;
    }),
  },
  name: {
    state: inState('name', (by) => `old-${by}`),
    Proxmox: ofVm((vm, by) => {
      vm.name = `renamed-${by}`;
    }),
  },
  node: {
    'homelab.yaml': inConfig((_, node, by) => {
      node.node = `pve-1${by}`;
    }),
    state: ({ state }, at, by) => {
      state[at]!.node = `pve-1${by}`;
    },
    Proxmox: ofVm((vm, by) => {
      vm.node = `pve-1${by}`;
    }),
  },
  address: {
    'homelab.lock.yaml': ({ leases }, at, by) => {
      leases[at]!.address = `10.20.11.${100 + by}`;
    },
    state: inState(`${INIT}.ip_config.0.ipv4.0.address`, (by) => `10.20.11.${100 + by}/24`),
    Proxmox: inProxmox('ipconfig0', (by) => `gw=10.20.11.1,ip=10.20.11.${100 + by}/24`),
    'guest agent': ofVm((vm, by) => {
      vm.agent = ['127.0.0.1', `10.20.11.${100 + by}`];
    }),
  },
  prefix: {
    'homelab.yaml': inConfig(({ network }) => {
      network.subnet = '10.20.10.0/23';
    }),
    state: inState(`${INIT}.ip_config.0.ipv4.0.address`, () => '/25'),
    Proxmox: inProxmox('ipconfig0', (_, before) => before.replace('/24', '/25')),
  },
  gateway: {
    'homelab.yaml': inConfig(({ network }, _, by) => {
      network.gateway = `10.20.11.${100 + by}`;
    }),
    state: inState(`${INIT}.ip_config.0.ipv4.0.gateway`, (by) => `10.20.11.${100 + by}`),
    Proxmox: inProxmox('ipconfig0', (by, before) => before.replace(/gw=[^,]+/, `gw=10.20.11.${100 + by}`)),
  },
  dns: {
    'homelab.yaml': inConfig(({ network }, _, by) => {
      network.dns.push(`10.20.11.${100 + by}`);
    }),
    state: inState(`${INIT}.dns.0.servers`, (by) => [`10.20.11.${100 + by}`]),
    Proxmox: inProxmox('nameserver', (by) => `10.20.11.${100 + by} 10.20.11.1`),
  },
  'search domain': {
    'homelab.yaml': inConfig((config, _, by) => {
      config.search_domain = `lab${by}.arpa`;
    }),
    state: inState(`${INIT}.dns.0.domain`, (by) => `lab${by}.arpa`),
    Proxmox: inProxmox('searchdomain', (by) => `lab${by}.arpa`),
  },
  cores: {
    'homelab.yaml': inConfig((_, node, by) => {
      node.cores += 1 + by;
    }),
    state: inState('cpu.0.cores', (by) => 20 + by),
    Proxmox: inProxmox('sockets', (by) => 2 + by),
  },
  memory: {
    'homelab.yaml': inConfig((_, node, by) => {
      node.memory_gib += 1 + by;
    }),
    state: inState('memory.0.dedicated', (by) => 1000 + by),
    Proxmox: inProxmox('memory', (by) => `current=${1000 + by}`),
  },
  disk: {
    'homelab.yaml': inConfig((_, node, by) => {
      node.disk_gib += 1 + by;
    }),
    state: inState('disk.0.size', (by) => 300 + by),
    Proxmox: inProxmox('scsi0', (by, before) => before.replace(/size=\w+/, `size=${300_000 + by}M`)),
  },
  storage: {
    'homelab.yaml': inConfig((_, node, by) => {
      node.storage = `store-${by}`;
    }),
    state: inState('disk.0.datastore_id', (by) => `store-${by}`),
    Proxmox: inProxmox('scsi0', (by, before) => before.replace(/^[^:]+/, `store-${by}`)),
  },
  bridge: {
    'homelab.yaml': inConfig(({ proxmox }, _, by) => {
      proxmox.bridge = `vmbr${1 + by}`;
    }),
    state: inState('network_device.0.bridge', (by) => `vmbr${1 + by}`),
    Proxmox: inProxmox('net0', (by, before) => before.replace('bridge=vmbr0', `bridge=vmbr${1 + by}`)),
  },
  vlan: {
    'homelab.yaml': inConfig(({ network }, _, by) => {
      network.vlan = by === 0 ? undefined : 100 + by;
    }),
    state: inState('network_device.0.vlan_id', (by) => (by === 0 ? 0 : 100 + by)),
    Proxmox: inProxmox('net0', (by, before) => before.replace(',tag=11', by === 0 ? '' : `,tag=${100 + by}`)),
  },
  gpu: {
    'homelab.yaml': inConfig((_, node, by) => {
      node.gpu = `gpu${by}`;
    }),
    state: inState('hostpci', (by) => [{ device: 'hostpci0', mapping: `gpu${by}` }]),
    Proxmox: inProxmox('hostpci1', (by) => `0000:0${by}:00.0`),
  },
  user: {
    'homelab.yaml': inConfig(({ template }, _, by) => {
      template.user = `u${by}`;
    }),
    state: inState(`${INIT}.user_account.0.username`, (by) => `u${by}`),
    Proxmox: inProxmox('ciuser', (by) => `u${by}`),
  },
  'ssh keys': {
    'homelab.yaml': (sources, _, by) => {
      sources.publicKey = `ssh-ed25519 AAAA${by} other@lab`;
    },
    state: inState(`${INIT}.user_account.0.keys`, (by) => [KEY, `ssh-rsa AAAA${by}`]),
    Proxmox: inProxmox('sshkeys', (by, before) => `${before}%0Assh-rsa%20AAAA${by}`),
  },
  tags: {
    'homelab.yaml': inConfig((_, node) => {
      node.role = node.role === 'server' ? 'agent' : 'server';
    }),
    state: inState('tags', (by) => ['homelab', `t${by}`]),
    Proxmox: inProxmox('tags', (by, before) => `${before};t${by}`),
  },
  description: {
    state: inState('description', (by) => `mine ${by}`),
    Proxmox: (sources, at, by) => {
      const vm = sources.proxmox[at]!;
      vm.description = `mine ${by}`;
      vm.config.description = vm.description;
    },
  },
  'on boot': { state: inState('on_boot', () => false), Proxmox: inProxmox('onboot', () => 0) },
  running: {
    state: inState('started', () => false),
    Proxmox: ofVm((vm) => {
      vm.running = false;
    }),
  },
};
