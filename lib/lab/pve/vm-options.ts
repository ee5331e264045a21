import type { Kind } from './params.ts';
import { isDrive } from './properties.ts';

/** The options of a VM's configuration: their form, the privileges that change each, and whether a running VM takes it. */

type Option = { kind: Kind; privileges: readonly string[] };

const CPU = ['VM.Config.CPU'];
const MEMORY = ['VM.Config.Memory'];
const HARDWARE = ['VM.Config.HWType'];
const GENERAL = ['VM.Config.Options'];
const DISK = ['VM.Config.Disk'];
/** Either is enough; the cloud-init drive itself needs more, see vm-drives.ts. */
const CLOUDINIT = ['VM.Config.Cloudinit', 'VM.Config.Network'];
/** No privilege is enough. */
const ROOT: string[] = [];

const OPTIONS: Record<string, Option> = {
  ...each(CPU, 'integer', ['cores', 'sockets', 'vcpus', 'cpuunits']),
  ...each(CPU, 'number', ['cpulimit']),
  ...each(CPU, 'string', ['cpu']),
  ...each(CPU, 'boolean', ['numa']),
  ...each(MEMORY, 'integer', ['balloon', 'shares']),
  ...each(MEMORY, 'string', ['memory']),
  ...each(MEMORY, 'boolean', ['allow-ksm']),
  ...each(HARDWARE, 'boolean', ['acpi', 'kvm', 'tablet']),
  ...each(HARDWARE, 'string', ['hotplug', 'machine', 'scsihw', 'smbios1', 'vga', 'watchdog', 'audio0', 'rng0']),
  ...each(GENERAL, 'boolean', ['autostart', 'localtime', 'onboot', 'protection', 'reboot', 'tdf', 'template']),
  ...each(GENERAL, 'string', ['agent', 'bios', 'description', 'keyboard', 'ostype', 'startdate', 'startup', 'tags']),
  ...each(GENERAL, 'string', ['migrate_downtime']),
  ...each(GENERAL, 'dns-name', ['name']),
  ...each(DISK, 'string', ['boot', 'bootdisk', 'vmstatestorage']),
  ...each(CLOUDINIT, 'string', ['cicustom', 'cipassword', 'citype', 'ciuser', 'nameserver', 'searchdomain']),
  ...each(CLOUDINIT, 'boolean', ['ciupgrade']),
  ...each(CLOUDINIT, 'urlencoded', ['sshkeys']),
  ...each(ROOT, 'string', ['affinity', 'args', 'hookscript', 'hugepages', 'vmgenid']),
};

const PATTERNS: [RegExp, Option][] = [
  [/^net([0-9]|[12][0-9]|3[01])$/, { kind: 'string', privileges: ['VM.Config.Network'] }],
  [/^ipconfig([0-9]|[12][0-9]|3[01])$/, { kind: 'string', privileges: CLOUDINIT }],
  [/^(hostpci|usb|serial|parallel)\d{1,2}$/, { kind: 'string', privileges: HARDWARE }],
  [/^numa[0-7]$/, { kind: 'string', privileges: CPU }],
];

function find(name: string): Option | undefined {
  if (isDrive(name)) return { kind: 'string', privileges: DISK };
  return OPTIONS[name] ?? PATTERNS.find(([pattern]) => pattern.test(name))?.[1];
}

/** The form of an option, or undefined when there is no such option. */
export function kindOfOption(name: string): Kind | undefined {
  return name === 'cdrom' ? 'string' : find(name)?.kind;
}

/** Privileges of which one is enough to change an option; none: root only (drives: see vm-drives.ts). */
export function privilegesOf(name: string): readonly string[] {
  return find(name)?.privileges ?? ROOT;
}

/** The value as the configuration file holds it and JSON shows it. */
export function storedValue(name: string, value: string): string | number {
  const kind = find(name)?.kind;
  if (kind === 'boolean') return /^(1|on|yes|true)$/i.test(value) ? 1 : 0;
  return kind === 'integer' || kind === 'number' ? Number(value) : value;
}

/** Whether a running VM goes on with the old value until it is stopped. */
export function needsRestart(name: string): boolean {
  const { privileges } = find(name) ?? {};
  if (['bios', 'args', 'ostype', 'agent'].includes(name)) return true;
  return privileges === CPU || privileges === MEMORY || privileges === HARDWARE;
}

function each(privileges: readonly string[], kind: Kind, names: string[]): Record<string, Option> {
  return Object.fromEntries(names.map((name) => [name, { kind, privileges }]));
}
