/** Proxmox's property strings: "local-zfs:vm-200-disk-0,discard=on,size=50G", "virtio=BC:24:…,bridge=vmbr0". */

export type Properties = Map<string, string>;

/** @param defaultKey the key of a part without "=" */
export function parseProperties(text: string, defaultKey = ''): Properties {
  const properties: Properties = new Map();
  for (const part of text.split(',').filter(Boolean)) {
    const at = part.indexOf('=');
    if (at < 0) properties.set(defaultKey, part);
    else properties.set(part.slice(0, at), part.slice(at + 1));
  }
  return properties;
}

/** The default key first and without its name, then the others in alphabetical order, as Proxmox writes them. */
export function printProperties(properties: Properties, defaultKey = ''): string {
  const first = properties.get(defaultKey);
  const rest = [...properties].filter(([key]) => key !== defaultKey).sort(([a], [b]) => (a < b ? -1 : 1));
  return [...(first === undefined ? [] : [first]), ...rest.map(([key, value]) => `${key}=${value}`)].join(',');
}

const UNITS: Record<string, number> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Bytes of "50G", "4M", "53687091200"; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(text) ?? [];
  return number === undefined ? undefined : Math.floor(Number(number) * (UNITS[unit] ?? 1));
}

/** The largest unit that divides the size evenly, as Proxmox prints it. */
export function printSize(bytes: number): string {
  const unit = ['T', 'G', 'M', 'K'].find((u) => bytes > 0 && bytes % (UNITS[u] ?? 1) === 0);
  return unit ? `${bytes / (UNITS[unit] ?? 1)}${unit}` : String(bytes);
}

const DRIVE = /^(ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5])|efidisk0|tpmstate0|unused\d{1,3})$/;

export function isDrive(key: string): boolean {
  return DRIVE.test(key);
}

export function parseDrive(value: string | number): Properties {
  return parseProperties(String(value), 'file');
}

export function printDrive(drive: Properties): string {
  return printProperties(drive, 'file');
}

/** "local-zfs" of "local-zfs:vm-200-disk-0"; undefined for "none". */
export function storageOf(volid: string): string | undefined {
  const at = volid.indexOf(':');
  return at < 0 ? undefined : volid.slice(0, at);
}

export function isCloudInit(drive: Properties): boolean {
  return /[:/]vm-\d+-cloudinit(\.\w+)?$|:cloudinit$/.test(drive.get('file') ?? '');
}

/** A CD-ROM in Proxmox's sense: cloud-init drives count too. */
export function isCdrom(drive: Properties): boolean {
  return drive.get('media') === 'cdrom' || isCloudInit(drive);
}
