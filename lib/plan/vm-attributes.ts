import { isMap } from '../loose.ts';

/**
 * Attributes of the provider's VM, by their paths (`memory.dedicated`; blocks are lists of one, whose 0 is left out):
 * what a person calls them, and what changing them does to a VM that runs.
 */
type Attribute = { name: string; unit?: 'MiB' | 'GiB' | 's' };

const NAMES: Record<string, Attribute> = {
  vm_id: { name: 'VMID' },
  node_name: { name: 'Proxmox node' },
  description: { name: 'notes' },
  on_boot: { name: 'starts with its node' },
  started: { name: 'running' },
  'cpu.cores': { name: 'cores' },
  'cpu.type': { name: 'CPU type' },
  'memory.dedicated': { name: 'memory', unit: 'MiB' },
  'disk.size': { name: 'disk', unit: 'GiB' },
  'disk.datastore_id': { name: 'storage of its disk' },
  'network_device.bridge': { name: 'bridge' },
  'network_device.vlan_id': { name: 'VLAN' },
  'network_device.mac_address': { name: 'MAC address' },
  initialization: { name: 'cloud-init' },
  'initialization.datastore_id': { name: 'storage of its cloud-init drive' },
  'initialization.ip_config.ipv4.address': { name: 'address' },
  'initialization.ip_config.ipv4.gateway': { name: 'gateway' },
  'initialization.dns.servers': { name: 'DNS servers' },
  'initialization.dns.domain': { name: 'search domain' },
  'initialization.user_account.username': { name: 'user' },
  'initialization.user_account.keys': { name: 'SSH keys' },
  timeout_shutdown_vm: { name: "Terraform's wait for its shutdown", unit: 's' },
  timeout_stop_vm: { name: "Terraform's wait for its stop", unit: 's' },
  hostpci: { name: 'GPU' },
  'hostpci.mapping': { name: 'GPU' },
};

/** "memory: 64 GiB → 32 GiB"; undefined where a person sees no difference. */
export function differenceText(path: string, before: unknown, after: unknown): string | undefined {
  const { name, unit } = NAMES[path] ?? { name: path };
  const [from, to] = [shown(before, unit), shown(after, unit)];
  return from === to ? undefined : `${name}: ${from} → ${to}`;
}

function shown(value: unknown, unit?: Attribute['unit']): string {
  if (value === undefined || value === null || value === '') return 'none';
  if (Array.isArray(value)) return value.map((one) => shown(one)).join(' ') || 'none';
  if (typeof value === 'number' && unit)
    return unit === 'MiB' && value % 1024 === 0 ? `${value / 1024} GiB` : `${value} ${unit}`;
  // A block is called by what it maps to, where it does.
  if (isMap(value)) return typeof value.mapping === 'string' ? value.mapping : 'set';
  const text = String(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}

const LONGEST = 60;

/**
 * What the provider (bpg/proxmox 0.111.1) shuts the VM down for, or reboots it after: its vmUpdate. Not among them:
 * network cards and growing disks, which are changed while it runs, and what only Proxmox keeps of it. A block counts
 * whole: also for `agent.timeout`, which the VM does not see.
 */
const RESTARTING = new Set([
  ...['acpi', 'agent', 'amd_sev', 'audio_device', 'bios', 'boot_order', 'cpu', 'efi_disk', 'hostpci', 'initialization'],
  ...['keyboard_layout', 'kvm_arguments', 'machine', 'memory', 'numa', 'operating_system', 'rng', 'scsi_hardware'],
  ...['serial_device', 'tablet_device', 'tpm_state', 'usb', 'vga', 'virtiofs', 'watchdog'],
]);
/** Of a disk: these; to another storage it is moved with the VM off. */
const RESTARTING_OF_DISK = new Set(['aio', 'queues', 'datastore_id']);

/** Whether a VM that runs is restarted when this attribute changes. */
export function restartsVm(path: string): boolean {
  const [block = '', ...rest] = path.split('.');
  if (block === 'disk') return rest.some((key) => RESTARTING_OF_DISK.has(key));
  return RESTARTING.has(block);
}
