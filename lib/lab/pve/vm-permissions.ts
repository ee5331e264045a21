import type { Identity } from './access.ts';
import type { Cluster } from './cluster.ts';
import { badParameters, died } from './errors.ts';
import { isDrive, parseProperties } from './properties.ts';
import { type Call, vmNeeds } from './router.ts';
import type { VmConfig } from './types.ts';
import { namesToDelete, optionsOf } from './vm-changes.ts';
import { checkDrive, checkStorage } from './vm-drives.ts';
import { privilegesOf } from './vm-options.ts';

/** Which privileges the changes of a VM's configuration need. */

/** To be let in at all; what each change needs is looked at later. */
export const ANY_CONFIG = vmNeeds(
  ...['Disk', 'CDROM', 'CPU', 'Memory', 'Network', 'HWType', 'Options', 'Cloudinit'].map((x) => `VM.Config.${x}`),
).map((need) => ({ ...need, any: true }));

/** Everything that can be refused before anything is locked. */
export function checkChanges(call: Call, vmid: number): void {
  const { cluster, who, params } = call;
  const pool = cluster.poolOf(vmid) ?? params.text('pool');
  const options = optionsOf(call);
  for (const name of [...namesToDelete(call), ...options.keys()]) {
    // What these need depends on their values, new and old.
    if (isDrive(name) || /^(serial|usb|hostpci)\d+$/.test(name)) continue;
    const privileges = privilegesOf(name);
    if (privileges.length > 0) cluster.access.require(who, `/vms/${vmid}`, privileges, true, pool);
    else if (!who.isRoot) throw died(`only root can set '${name}' config`);
  }
  for (const [name, value] of options) {
    if (isDrive(name)) checkStorage(call, vmid, value);
    if (/^net\d+$/.test(name)) checkNet(call, name, value);
  }
}

/** What single changes need, given what is there. A device's old value must be the caller's to change, too. */
export function checkDevices(call: Call, vmid: number, old: VmConfig): void {
  const options = optionsOf(call);
  for (const name of new Set([...namesToDelete(call), ...options.keys()])) {
    for (const value of [old[name], options.get(name)]) {
      if (value === undefined) continue;
      if (isDrive(name)) checkDrive(call, vmid, value);
      if (/^hostpci\d+$/.test(name)) checkPci(call, vmid, name, String(value));
      if (/^net\d+$/.test(name)) requireBridge(call.cluster, call.who, String(value));
      if (/^(serial|usb)\d+$/.test(name))
        call.cluster.access.require(call.who, `/vms/${vmid}`, privilegesOf(name), false, call.cluster.poolOf(vmid));
    }
  }
}

function checkNet({ cluster, who }: Call, name: string, value: string): void {
  const card = parseProperties(value);
  const models = ['virtio', 'e1000', 'e1000e', 'rtl8139', 'vmxnet3'];
  if (!models.some((model) => card.has(model)) && !models.includes(card.get('model') ?? card.get('') ?? ''))
    throw badParameters({
      [name]: `invalid format - format error\n${name}.model: property is missing and it is not optional\n`,
    });
  requireBridge(cluster, who, value);
}

/** A card on a bridge needs the bridge, one with a VLAN that VLAN on it. */
export function requireBridge(cluster: Cluster, who: Identity, net: string): void {
  const card = parseProperties(net);
  const path = [card.get('bridge'), card.get('tag')].filter(Boolean).join('/');
  if (card.has('bridge')) cluster.access.require(who, `/sdn/zones/localnetwork/${path}`, ['SDN.Use']);
}

/** Privileges for a passed-through device. @throws PveError 403, or 500 for what only root may pass through */
export function checkPci(call: Call, vmid: number, name: string, value: string): void {
  const { cluster, who } = call;
  requireMapping(cluster, who, name, value);
  cluster.access.require(who, `/vms/${vmid}`, ['VM.Config.HWType'], false, cluster.poolOf(vmid));
}

/** A passed-through device is used through a mapping; any other is root's. */
export function requireMapping(cluster: Cluster, who: Identity, name: string, value: string): void {
  if (who.isRoot) return;
  const mapping = parseProperties(value, 'host').get('mapping');
  if (!mapping) throw died(`only root can set '${name}' config for non-mapped devices`);
  cluster.access.require(who, `/mapping/pci/${mapping}`, ['Mapping.Use']);
}
