import { createHash } from 'node:crypto';
import { died } from './errors.ts';
import { isDrive, parseProperties, printProperties } from './properties.ts';
import { type Call, type Route, vmNeeds } from './router.ts';
import type { Vm, VmConfig } from './types.ts';
import { namesToDelete, optionsOf, UPDATE } from './vm-changes.ts';
import { attachDrive, detachDrive } from './vm-drives.ts';
import { kindOfOption, needsRestart, storedValue } from './vm-options.ts';
import { ANY_CONFIG, checkChanges, checkDevices } from './vm-permissions.ts';

export const configRoutes: Route[] = [
  {
    method: 'GET',
    path: '/nodes/{node}/qemu/{vmid}/config',
    needs: vmNeeds('VM.Audit'),
    spec: { current: 'boolean', snapshot: 'string' },
    handle: (call) => {
      const vm = vmOf(call);
      const lock = call.cluster.lockOf(vm);
      return { ...shownConfig(vm, call.params.flag('current')), ...(lock && { lock }) };
    },
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
    needs: ANY_CONFIG,
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
    needs: ANY_CONFIG,
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

async function update(call: Call): Promise<void> {
  const vm = vmOf(call);
  checkChanges(call, vm.vmid);
  call.cluster.checkLock(vm);
  await call.cluster.withFileLock(vm.vmid, () => {
    const current = vmOf(call);
    call.cluster.checkLock(current);
    checkDevices(call, vm.vmid, current.config);
    const digest = call.params.text('digest');
    if (digest && digest !== digestOf(current.config)) throw died('checksum mismatch (file change by other user?)');
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
