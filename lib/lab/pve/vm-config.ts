import { createHash } from 'node:crypto';
import { badParameters, died } from './errors.ts';
import type { Spec } from './params.ts';
import { isCdrom, isDrive, parseDrive, parseProperties, printProperties } from './properties.ts';
import { type Call, type Route, vmNeeds } from './router.ts';
import type { Vm, VmConfig } from './types.ts';
import { attachDrive, checkDrive, detachDrive } from './vm-drives.ts';
import { kindOfOption, needsRestart, privilegeOf, storedValue } from './vm-options.ts';

const UPDATE: Spec = {
  delete: 'string',
  revert: 'string',
  digest: 'string',
  force: 'boolean',
  skiplock: 'boolean',
  background_delay: 'integer',
  'import-working-storage': 'storage-id',
};

export const configRoutes: Route[] = [
  {
    method: 'GET',
    path: '/nodes/{node}/qemu/{vmid}/config',
    needs: vmNeeds('VM.Audit'),
    spec: { current: 'boolean', snapshot: 'string' },
    handle: (call) => shownConfig(vmOf(call), call.params.flag('current')),
  },
  {
    method: 'GET',
    path: '/nodes/{node}/qemu/{vmid}/pending',
    needs: vmNeeds('VM.Audit'),
    handle: (call) => pending(vmOf(call)),
  },
  {
    method: 'PUT',
    path: '/nodes/{node}/qemu/{vmid}/config',
    needs: vmNeeds(),
    spec: UPDATE,
    kindOf: kindOfOption,
    handle: async (call) => {
      await update(call);
      return null;
    },
  },
  {
    method: 'POST',
    path: '/nodes/{node}/qemu/{vmid}/config',
    needs: vmNeeds(),
    spec: UPDATE,
    kindOf: kindOfOption,
    handle: (call) => {
      const vm = vmOf(call);
      checkChanges(call, vm.vmid);
      call.cluster.checkLock(vm);
      return call.cluster.startTask(vm.node, 'qmconfig', String(vm.vmid), call.who.id, async () => update(call));
    },
  },
  {
    method: 'PUT',
    path: '/nodes/{node}/qemu/{vmid}/cloudinit',
    needs: vmNeeds('VM.Config.Cloudinit'),
    handle: (call) => {
      call.cluster.checkLock(vmOf(call));
      return null;
    },
  },
];

export function vmOf({ cluster, path }: Call): Vm {
  return cluster.vm(path.node ?? '', Number(path.vmid));
}

/** Names in the configuration that are no options: they come from the call around them. */
const NOT_OPTIONS = new Set([...Object.keys(UPDATE), 'vmid', 'node', 'pool', 'storage', 'start', 'unique', 'bwlimit']);

function optionsOf({ params }: Call): Map<string, string> {
  const options = new Map([...params.values].filter(([name]) => !NOT_OPTIONS.has(name)));
  const cdrom = options.get('cdrom');
  options.delete('cdrom');
  if (cdrom !== undefined) options.set('ide2', cdrom.includes('media=') ? cdrom : `${cdrom},media=cdrom`);
  return options;
}

/** Everything that can be refused before anything changes. */
export function checkChanges(call: Call, vmid: number): void {
  const { cluster, who, params } = call;
  const require = (privilege: string): void =>
    cluster.access.require(who, `/vms/${vmid}`, [privilege], false, cluster.poolOf(vmid) ?? params.text('pool'));
  for (const name of namesToDelete(call)) {
    const drive = isDrive(name) ? parseDrive(cluster.vms.get(vmid)?.config[name] ?? '') : undefined;
    require(drive && isCdrom(drive) ? 'VM.Config.CDROM' : privilegeOf(name));
  }
  for (const [name, value] of optionsOf(call)) {
    if (isDrive(name)) checkDrive(call, vmid, value);
    else require(privilegeOf(name));
    if (/^net\d+$/.test(name)) checkNet(call, name, value);
    if (/^hostpci\d+$/.test(name)) checkPci(call, name, value);
  }
}

async function update(call: Call): Promise<void> {
  const vm = vmOf(call);
  checkChanges(call, vm.vmid);
  await call.cluster.withFileLock(vm.vmid, () => {
    const current = vmOf(call);
    call.cluster.checkLock(current);
    const digest = call.params.text('digest');
    if (digest && digest !== digestOf(current.config))
      throw died('detected modified configuration - file changed by other user? Try again.');
    applyChanges(call, current);
  });
}

/** Deletes, then sets. A drive that is replaced is detached first. */
export function applyChanges(call: Call, vm: Vm): void {
  for (const name of namesToDelete(call)) {
    if (isDrive(name) && name in vm.config) detachDrive(call, vm, name);
    else delete vm.config[name];
  }
  for (const [name, value] of optionsOf(call)) {
    if (isDrive(name)) {
      const attached = attachDrive(call, vm, name, value);
      const old = vm.config[name];
      if (old !== undefined && fileOf(old) !== fileOf(attached)) detachDrive(call, vm, name);
      vm.config[name] = attached;
    } else if (/^net\d+$/.test(name)) vm.config[name] = withMac(value, call.cluster.newMac(vm.vmid, name));
    else vm.config[name] = storedValue(name, value);
  }
}

/** What GET /config answers: secrets masked, a digest added; `current`: what the running VM has. */
function shownConfig(vm: Vm, current = false): VmConfig {
  const shown = { ...vm.config };
  if (current && vm.running) {
    for (const name of new Set([...Object.keys(shown), ...Object.keys(vm.running.config)])) {
      if (!needsRestart(name)) continue;
      const value = vm.running.config[name];
      if (value === undefined) delete shown[name];
      else shown[name] = value;
    }
  }
  if (shown.cipassword !== undefined) shown.cipassword = '**********';
  return { ...shown, digest: digestOf(vm.config) };
}

function pending(vm: Vm): { key: string; value?: string | number; pending?: string | number }[] {
  const now = vm.running ? shownConfig(vm, true) : shownConfig(vm);
  return Object.keys({ ...now, ...vm.config }).map((key) => ({
    key,
    value: now[key],
    ...(vm.config[key] !== undefined &&
      now[key] !== vm.config[key] &&
      key !== 'cipassword' && { pending: vm.config[key] }),
  }));
}

function namesToDelete({ params }: Call): string[] {
  return (params.text('delete') ?? '').split(/[\s,;]+/).filter(Boolean);
}

function checkNet({ cluster, who }: Call, name: string, value: string): void {
  const card = parseProperties(value);
  const models = ['virtio', 'e1000', 'e1000e', 'rtl8139', 'vmxnet3'];
  if (!models.some((model) => card.has(model)) && !models.includes(card.get('model') ?? card.get('') ?? ''))
    throw badParameters({
      [name]: `invalid format - format error\n${name}.model: property is missing and it is not optional\n`,
    });
  const bridge = card.get('bridge');
  if (bridge) cluster.access.require(who, `/sdn/zones/localnetwork/${bridge}`, ['SDN.Use']);
}

function checkPci({ cluster, who }: Call, name: string, value: string): void {
  if (who.isRoot) return;
  const mapping = parseProperties(value, 'host').get('mapping');
  if (!mapping) throw died(`only root can set '${name}' config for non-mapped devices`);
  cluster.access.require(who, `/mapping/pci/${mapping}`, ['Mapping.Use']);
}

/** "virtio=MAC,bridge=…", whichever way it was given; a card without a MAC gets one. */
function withMac(value: string, mac: string): string {
  const card = parseProperties(value);
  const model =
    card.get('model') ??
    card.get('') ??
    ['virtio', 'e1000', 'e1000e', 'rtl8139', 'vmxnet3'].find((m) => card.has(m)) ??
    'virtio';
  const given = card.get('macaddr') ?? card.get(model);
  for (const key of ['', 'model', 'macaddr', model]) card.delete(key);
  const rest = printProperties(card);
  return `${model}=${(given || mac).toUpperCase()}${rest ? `,${rest}` : ''}`;
}

function fileOf(value: string | number): string {
  return (
    String(value)
      .replace(/^file=/, '')
      .split(',')[0] ?? ''
  );
}

function digestOf(config: VmConfig): string {
  return createHash('sha1')
    .update(JSON.stringify(Object.entries(config).sort()))
    .digest('hex');
}
