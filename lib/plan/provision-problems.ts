import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { mapsIn } from '../loose.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { TerraformSeen } from '../observe/terraform.ts';
import type { VmSeen } from '../observe/vms.ts';
import { marker, markOf } from '../render/tfvars.ts';
import type { Note } from '../step.ts';
import { shownPath } from './shown-path.ts';
import { addressIn, type StateVm, type VmChange } from './terraform-json.ts';

const blocker = (text: string, fix?: string): Note => ({ level: 'blocker', text, fix });

/** What a VM of homelab.yaml is in reality. */
export type VmState =
  | { is: 'absent' | 'managed' }
  /** Ours by its mark, and not in Terraform's state: an apply was interrupted, or the state was lost. */
  | { is: 'lost'; vm: VmSeen }
  /** `replaced`: in Terraform's state, but another VM has its VMID now. */
  | { is: 'stranger' | 'elsewhere' | 'locked' | 'replaced' | 'unread'; vm: VmSeen }
  /** In Terraform's state under another name of homelab.yaml. */
  | { is: 'renamed'; vm: VmSeen; from: string };

/** Whether a node's VM is there and ours, is missing, or is somebody else's. */
export function vmStateOf(
  lab: string,
  node: Pick<K3sNode, 'name' | 'vmid' | 'node'>,
  vms: readonly VmSeen[],
  state: readonly StateVm[],
): VmState {
  const vm = vms.find(({ vmid }) => vmid === node.vmid);
  if (!vm) return { is: 'absent' };
  if (vm.lock) return { is: 'locked', vm };
  if (vm.unread) return { is: 'unread', vm };
  const ours = vm.kind === 'qemu' && !vm.template && vm.description.trim() === marker(lab, node.name);
  const managed = state.find(({ vmid }) => vmid === vm.vmid);
  if (managed && !isStill(lab, node.name, managed, vm)) return { is: 'replaced', vm };
  if (managed && managed.name !== node.name) return { is: 'renamed', vm, from: managed.name };
  // A VM that moved to where homelab.yaml wants it is fine: Terraform's refresh finds it.
  if ((managed ? vm.node !== managed.node : ours) && vm.node !== node.node) return { is: 'elsewhere', vm };
  if (managed) return { is: 'managed' };
  return ours ? { is: 'lost', vm } : { is: 'stranger', vm };
}

/**
 * Whether a VM is the one in the state: by its mark, or, where it has none (before the first apply after an import, or
 * its notes were not read), by its name. The mark of another lab or VM says that it is not, whatever its name.
 */
function isStill(lab: string, wanted: string, { name, description, attributes }: StateVm, vm: VmSeen): boolean {
  if (vm.kind !== 'qemu' || vm.template) return false;
  const mark = markOf(vm.description);
  if (!mark) return vm.name === name || vm.name === attributes?.name;
  // After `terraform state mv` it has the mark of its old name, which the state remembers.
  const names = [wanted, name, markOf(description ?? '')?.name];
  return mark.lab === lab && names.includes(mark.name);
}

/** VMIDs and names that somebody else holds. Strangers are never adopted unasked. */
export function strangers(lab: Lab, vms: readonly VmSeen[], states: ReadonlyMap<K3sNode, VmState>): Note[] {
  return [...states].flatMap(([node, state]) => [
    ...('vm' in state ? inTheWay(lab, node, state).map((note) => ({ ...note, host: node.name })) : []),
    ...vms
      .filter(({ name, vmid }) => name === node.name && vmid !== node.vmid)
      .map((other) =>
        blocker(
          `the name ${node.name} is taken by VM ${other.vmid} on ${other.node}`,
          `rename that VM, or set vmid: ${other.vmid} if it is this one`,
        ),
      ),
  ]);
}

/** Why VMs of the state cannot be destroyed. One that was moved by hand can: Terraform's refresh finds it. */
export function undestroyable(lab: Lab, doomed: readonly StateVm[], vms: readonly VmSeen[]): Note[] {
  return doomed.flatMap((vm) => {
    const found = vmStateOf(lab.config.name, vm, vms, doomed);
    return 'vm' in found && found.is !== 'elsewhere' ? inTheWay(lab, vm, found) : [];
  });
}

/** Why a node's VM cannot be worked with. */
export function inTheWay(
  lab: Lab,
  node: Pick<K3sNode, 'name' | 'vmid' | 'node'>,
  state: Extract<VmState, { vm: VmSeen }>,
): Note[] {
  const { vm } = state;
  const at = `VM ${vm.vmid} on ${vm.node}`;
  const terraform = `terraform -chdir=${shownPath(lab, `${lab.paths.state}/terraform`)}`;
  switch (state.is) {
    case 'lost':
      return [];
    case 'stranger': {
      const mark = markOf(vm.description);
      const whose = mark ? `is ${mark.name} of the lab "${mark.lab}"` : 'this lab did not make';
      const moved = vm.node === node.node ? '' : ` once it is on ${node.node}`;
      const adopt = `; if it is ${node.name}, adopt it${moved}: npx tsx scripts/provision.ts --import ${node.name}`;
      return [
        blocker(
          `VMID ${node.vmid} is wanted for ${node.name}, and taken by "${vm.name}" on ${vm.node}, which ${whose}`,
          `choose another vmid in homelab.yaml${unfit(node, { ...vm, node: node.node }) ? '' : adopt}`,
        ),
      ];
    }
    case 'replaced': {
      const mark = markOf(vm.description);
      return [
        blocker(
          `${at} is ${mark ? `${mark.name} of the lab "${mark.lab}"` : `"${vm.name}"`}, and no more ${node.name}, for which Terraform's state takes it`,
          `choose another vmid in homelab.yaml, and forget the one that is gone: ${terraform} state rm '${addressIn(node.name)}'`,
        ),
      ];
    }
    case 'renamed':
      return [
        blocker(
          `${at} is ${state.from} in Terraform's state, and homelab.yaml gives its vmid to ${node.name}`,
          `choose another vmid for ${node.name}; or, when the VM only has a new name: ${terraform} state mv '${addressIn(state.from)}' '${addressIn(node.name)}'`,
        ),
      ];
    case 'elsewhere':
      return [
        blocker(
          `${node.name} (VM ${node.vmid}) is on ${vm.node}, homelab.yaml says ${node.node}`,
          `migrate it to ${node.node}, or correct homelab.yaml`,
        ),
      ];
    case 'locked':
      return [
        {
          ...blocker(
            `${at} is locked (${vm.lock})`,
            `a task is under way: wait for it; when there is none, qm unlock ${vm.vmid} on ${vm.node}`,
          ),
          waitsFor: 'a task of Proxmox',
        },
      ];
    case 'unread':
      return [blocker(`${at} cannot be looked at: ${vm.unread}`, 'npx tsx scripts/check.ts --preflight')];
  }
}

/** Why a VM that this lab did not make cannot be imported as `node`; undefined: it can. */
export function unfit(node: Pick<K3sNode, 'node'>, vm: VmSeen): string | undefined {
  const mark = markOf(vm.description);
  if (vm.kind !== 'qemu') return 'is a container';
  if (vm.template) return 'is a template';
  if (mark) return `is ${mark.name} of the lab "${mark.lab}"`;
  return vm.node === node.node ? undefined : `is on ${vm.node}, homelab.yaml says ${node.node}`;
}

/** VMs in Terraform's state that belong to another lab: the file is not this one's. */
export function otherLabs(lab: Lab, { state, folder }: Pick<TerraformSeen, 'state' | 'folder'>): Note[] {
  const others = state.flatMap((vm) => {
    const mark = markOf(vm.description ?? '');
    return mark && mark.lab !== lab.config.name ? [{ ...vm, lab: mark.lab }] : [];
  });
  const [first] = others;
  if (!first) return [];
  const vms = others.map(({ name, vmid }) => `${name} (VM ${vmid})`).join(', ');
  return [
    blocker(
      `${shownPath(lab, `${folder}/terraform.tfstate`)} is the state of the lab "${first.lab}": it holds ${vms}; nothing is done with it`,
      `put the file of ${lab.config.name} in its place; when there is none, move that one away (no VM is touched by that): VMs of ${lab.config.name} are imported by their marks`,
    ),
  ];
}

/** Changes of VMs that carry another lab's mark: their VMIDs were given away since, which only Terraform's look showed. */
export function ofOtherLabs(
  lab: Lab,
  changes: readonly VmChange[],
): (VmChange & Required<Pick<VmChange, 'markBefore'>>)[] {
  return changes.flatMap((change) => {
    const { markBefore } = change;
    return markBefore && markBefore.lab !== lab.config.name ? [{ ...change, markBefore }] : [];
  });
}

/** Why what Terraform would do must not be done, where the VMs themselves, as they were seen, did not say it already. */
export function foreignChanges(lab: Lab, { changes, vms, terraform: { state } }: ProvisionSeen): Note[] {
  if (!changes?.ok) return [];
  return ofOtherLabs(lab, changes.value).flatMap(({ name, markBefore }) => {
    const managed = state.find((one) => one.name === name);
    const vm = vms.ok ? vms.value.find(({ vmid }) => vmid === managed?.vmid) : undefined;
    const shown = vm && markOf(vm.description);
    if (!vm || (shown && shown.lab !== lab.config.name)) return [];
    const description = marker(markBefore.lab, markBefore.name);
    const notes = inTheWay(lab, { ...vm, name }, { is: 'replaced', vm: { ...vm, description } });
    return notes.map((note) => ({ ...note, host: name }));
  });
}

/** Disks that homelab.yaml wants smaller than they are. One of a VM that is made anew may be. */
export function shrinking(states: ReadonlyMap<K3sNode, VmState>, seen: ProvisionSeen): Note[] {
  const anew = seen.changes?.ok ? seen.changes.value.filter(({ action }) => action === 'replace') : [];
  return [...states].flatMap(([{ name, vmid, disk_gib }, { is }]) => {
    if (is !== 'managed' && is !== 'lost') return [];
    const vm = seen.vms.ok ? seen.vms.value.find((one) => one.vmid === vmid) : undefined;
    const now = diskGib(vm) ?? listedGib(vm) ?? stateDiskGib(seen.terraform.state.find((one) => one.name === name));
    if (!vm || now === undefined || disk_gib >= now || anew.some((change) => change.name === name)) return [];
    return [
      blocker(
        `${name}: homelab.yaml says disk_gib: ${disk_gib}, its disk has ${now} GiB, and Proxmox cannot shrink a disk`,
        `set disk_gib: ${now} again; or make the VM anew: npx tsx scripts/provision.ts --destroy --limit ${name}, and provision`,
      ),
    ];
  });
}

function diskGib(vm: VmSeen | undefined): number | undefined {
  const [, number, unit = ''] =
    /(?:^|,)size=(\d+(?:\.\d+)?)([KMGT]?)(?:,|$)/.exec(String(vm?.config?.scsi0 ?? '')) ?? [];
  return number === undefined
    ? undefined
    : Number(number) * ({ K: 2 ** -20, M: 2 ** -10, G: 1, T: 2 ** 10 }[unit] ?? 2 ** -30);
}

/** Of one whose configuration was not read. A list that does not know it says 0. */
function listedGib(vm: VmSeen | undefined): number | undefined {
  return vm?.diskBytes ? vm.diskBytes / 2 ** 30 : undefined;
}

function stateDiskGib(vm: StateVm | undefined): number | undefined {
  const size = mapsIn(vm?.attributes?.disk).find((disk) => disk.interface === 'scsi0')?.size;
  return typeof size === 'number' ? size : undefined;
}
