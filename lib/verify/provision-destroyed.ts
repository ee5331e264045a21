import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import { readState } from '../observe/terraform.ts';
import { readVms, type VmConfig } from '../observe/vms.ts';
import { doomedVms } from '../plan/provision-destroy.ts';
import type { StateVm } from '../plan/terraform-json.ts';
import type { Ports, PveReader } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** Proves of what was to go that it is gone, with its disks, and of everything else that it is still there. */
export async function verifyDestroyed(
  lab: Lab,
  { pve, files }: Pick<Ports, 'pve' | 'files'>,
  limit: readonly string[] | undefined,
  before: ProvisionSeen,
): Promise<Proof[]> {
  const doomed = doomedVms(before.terraform.state, limit);
  if (doomed.length === 0) return [];
  const [now, state] = await Promise.all([readVms(pve, () => false), readState(lab, files)]);
  const disks = await Promise.all(doomed.map((vm) => proveNoDisk(lab, pve, vm, before)));
  const known = state.filter(({ name }) => doomed.some((vm) => vm.name === name)).map(({ name }) => name);
  const others = before.vms.ok ? before.vms.value.filter(({ vmid }) => !doomed.some((vm) => vm.vmid === vmid)) : [];
  const missing = now.ok ? others.filter(({ vmid }) => !now.value.some((vm) => vm.vmid === vmid)) : others;
  return [
    ...doomed.map(({ name, vmid }): Proof => {
      const found = now.ok ? now.value.find((vm) => vm.vmid === vmid) : undefined;
      const detail = now.ok ? (found ? `it is on ${found.node}` : 'Proxmox does not list it') : now.reason;
      return { claim: `${name} (VM ${vmid}) is gone`, host: name, ok: now.ok && !found, detail };
    }),
    ...disks,
    {
      claim: "Terraform's state knows none of them",
      ok: known.length === 0,
      detail: known.length === 0 ? `${state.length} others are in it` : known.join(', '),
    },
    {
      claim: 'every other VM and template is still there',
      ok: now.ok && missing.length === 0,
      detail: now.ok
        ? missing.length === 0
          ? `${others.length} of ${others.length}`
          : `missing: ${missing.map(({ name, vmid }) => `${name} (${vmid})`).join(', ')}`
        : now.reason,
    },
  ];
}

type Volume = { volid: string; vmid?: number | string };

/** Its own disks are those that its configuration named. Others with its number may be anybody's, and are only told. */
async function proveNoDisk({ config }: Lab, pve: PveReader, vm: StateVm, before: ProvisionSeen): Promise<Proof> {
  const { name, vmid, node } = vm;
  const claim = `the disks of VM ${vmid} are gone`;
  const was = before.vms.ok ? before.vms.value.find((one) => one.vmid === vmid) : undefined;
  const own = ownDisks(was?.config ?? {});
  // Others the token need not be allowed to look at.
  const used = [config.template.storage, ...config.k3s.nodes.map(({ storage }) => storage)];
  const storages = config.proxmox.storages.filter(
    (one) => used.includes(one.name) || own.some((volid) => volid.startsWith(`${one.name}:`)),
  );
  const left: string[] = [];
  for (const storage of storages) {
    const path = `/nodes/${was?.node ?? node}/storage/${storage.name}/content`;
    const answer = await pve.get<Volume[]>(path, { content: 'images', vmid });
    if (!answer.ok) return { claim, host: name, ok: false, detail: `${storage.name}: ${answer.reason}` };
    left.push(...answer.value.filter((volume) => Number(volume.vmid) === vmid).map(({ volid }) => volid));
  }
  const ownLeft = left.filter((volid) => own.includes(volid));
  if (ownLeft.length > 0) return { claim, host: name, ok: false, detail: `left: ${ownLeft.join(', ')}` };
  const others = left.length > 0 ? `; ${left.join(', ')} stay: its configuration did not name them` : '';
  const looked = `looked at ${storages.map((storage) => storage.name).join(', ')} of ${was?.node ?? node}`;
  return { claim, host: name, ok: true, detail: `${looked}${others}` };
}

/** Volumes that a VM's configuration names, its cloud-init drive among them. */
function ownDisks(config: VmConfig): string[] {
  return Object.entries(config)
    .filter(([key]) => /^(scsi|virtio|sata|ide|efidisk|tpmstate|unused)\d+$/.test(key))
    .map(
      ([, value]) =>
        String(value)
          .split(',')[0]
          ?.replace(/^file=/, '') ?? '',
    );
}

/** Proves of VMs that were taken over that Terraform knows them, and that they are there as before. */
export async function verifyImported(
  lab: Lab,
  { files }: Pick<Ports, 'files'>,
  names: readonly string[],
): Promise<Proof[]> {
  const state = await readState(lab, files);
  return [...new Set(names)].map((name) => {
    const vm = state.find((one) => one.name === name);
    const wanted = lab.config.k3s.nodes.find((node) => node.name === name);
    const detail = vm ? `VM ${vm.vmid} on ${vm.node}` : 'it is not in it';
    return { claim: `${name} is in Terraform's state`, host: name, ok: vm?.vmid === wanted?.vmid, detail };
  });
}
