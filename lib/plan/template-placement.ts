import type { Config } from '../config/schema.ts';
import type { StorageSeen, VmSeen } from '../observe/vms.ts';
import type { Answer } from '../ports/types.ts';
import { parseNotes, type TemplateStamp } from './template-hash.ts';

/** A template: where it is, and its VMID. */
export type TemplateAt = { node: string; vmid: number };

/** Where a node's template is, or is to be. */
export type PlacedTemplate = TemplateAt & {
  /**
   * `current`: of the wanted inputs. `cloned`: a copy on its way, still on the build node. `unconverted`: where it
   * belongs, and no template yet. `absent`: nothing is at this VMID.
   */
  is: 'current' | 'cloned' | 'unconverted' | 'absent';
  /** The newest template of ours on the node that is of other inputs. */
  old?: VmSeen;
};

/**
 * Where templates belong. A VM cannot be cloned across nodes from a disk that only one of them has; so:
 * `per-node` (template.storage is local to its node): each node has its own;
 * `shared` (every node sees template.storage): one, on the build node.
 */
export type Placement = {
  mode: 'per-node' | 'shared';
  all: PlacedTemplate[];
  /** The template that VMs on `node` are cloned from. */
  for(node: string): PlacedTemplate;
};

/**
 * A template is known by the stamp in its notes, not by its VMID: one of other inputs stays until it is pruned, and
 * its successor gets the lowest VMID from template.vmid on that nobody has.
 * @param shared whether Proxmox reports template.storage as shared
 * @param vms every VM of the cluster; those that mayBeTemplate selects with their notes
 * @param wanted undefined: every template is absent
 */
export function placeTemplates(
  config: Config,
  shared: boolean,
  vms: readonly VmSeen[] = [],
  wanted?: TemplateStamp,
): Placement {
  const { proxmox, template, k3s } = config;
  const leftovers = new Set(leftoversOf(config, vms));
  // What a killed Packer left is removed before anything is made.
  const taken = new Set([...vms.filter((vm) => !leftovers.has(vm)), ...k3s.nodes].map(({ vmid }) => vmid));
  let next = template.vmid;
  const free = (): number => {
    while (taken.has(next)) next += 1;
    taken.add(next);
    return next;
  };
  const stamped = vms
    .flatMap((vm) => {
      const stamp = vm.kind === 'qemu' ? parseNotes(vm.description) : undefined;
      return stamp ? [{ vm, stamp, wanted: stamp.hash === wanted?.hash }] : [];
    })
    .sort((a, b) => a.vm.vmid - b.vm.vmid);

  const place = (node: string): PlacedTemplate => {
    const here = stamped.filter(({ vm }) => vm.node === node && vm.template);
    const current = here.find((one) => one.wanted)?.vm;
    const old = here.filter((one) => !one.wanted).at(-1)?.vm;
    if (current) return { node, vmid: current.vmid, is: 'current', old };
    const unfinished = stamped.find((one) => one.wanted && destinationOf(config, one.vm, one.stamp) === node)?.vm;
    if (unfinished)
      return { node, vmid: unfinished.vmid, is: unfinished.node === node ? 'unconverted' : 'cloned', old };
    return { node, vmid: free(), is: 'absent', old };
  };

  if (shared) {
    const only = place(template.build_node);
    return { mode: 'shared', all: [only], for: () => only };
  }
  const all = proxmox.nodes.map(({ name }) => place(name));
  return {
    mode: 'per-node',
    all,
    for: (node) => {
      const found = all.find((at) => at.node === node);
      if (!found) throw new Error(`no Proxmox node ${node}`);
      return found;
    },
  };
}

/** VMs whose notes must be read to place templates. One that is being cloned has no name yet. */
export function mayBeTemplate(config: Config): (vm: { vmid: number; name: string; template: boolean }) => boolean {
  const names = [config.template.name, buildName(config)];
  return (vm) => vm.template || names.includes(vm.name) || isNameless(vm, config.template.vmid);
}

/** What a Packer of this lab left that was killed: a VM under construction, or a template without its notes. */
export function leftoversOf(config: Config, vms: readonly VmSeen[]): VmSeen[] {
  return vms.filter(({ kind, name }) => kind === 'qemu' && name === buildName(config));
}

/** The name of a VM while Packer builds it. The lab's is in it: nothing else would say whose the rest of a build is. */
export function buildName({ name }: Config): string {
  return `template-build.${name}`;
}

/** Locks of the tasks that make a VM. A template that is being backed up is as good as ever. */
export const OWN_LOCKS = new Set(['create', 'clone', 'migrate']);

/**
 * What a task still holds, and build-template needs: what it made itself, and whatever it would touch next, which
 * nobody may hold. The original of copies that are to be made is one of these.
 */
export function lockedOf(
  config: Config,
  vms: readonly VmSeen[],
  { mode, all }: Placement,
  wanted?: TemplateStamp,
): VmSeen[] {
  const leftovers = leftoversOf(config, vms);
  const copies = mode === 'per-node' && all.some(({ is }) => is === 'absent');
  const touched = all.filter(({ node, is }) =>
    is === 'current' ? copies && node === config.template.build_node : is !== 'absent',
  );
  const isTouched = (vm: VmSeen): boolean => leftovers.includes(vm) || touched.some(({ vmid }) => vmid === vm.vmid);
  const isOurs = (vm: VmSeen): boolean =>
    isNameless(vm, config.template.vmid) || (wanted !== undefined && parseNotes(vm.description)?.hash === wanted.hash);
  return vms.filter((vm) => vm.lock !== undefined && (isTouched(vm) || (OWN_LOCKS.has(vm.lock) && isOurs(vm))));
}

/**
 * The node for which a VM is made that is no template yet: a copy on its way, or what Packer built and Proxmox did not
 * convert. Undefined: it is none of ours. A VM that somebody made of a template has another name, or runs.
 */
export function destinationOf({ template }: Config, vm: VmSeen, stamp: Pick<TemplateStamp, 'for'>): string | undefined {
  if (vm.template || vm.running || vm.name !== template.name) return undefined;
  if (vm.node === template.build_node) return stamp.for ?? vm.node;
  return stamp.for && vm.node;
}

function isNameless(vm: { vmid: number; name: string }, first: number): boolean {
  return vm.vmid >= first && !isNamed(vm);
}

/** Proxmox lists a VM that is being cloned without a name, or as "VM 9001". */
export function isNamed({ vmid, name }: { vmid: number; name: string }): boolean {
  return name !== '' && name !== `VM ${vmid}`;
}

/** Whether a node's storage of that name is shared; false when that is not known. */
export function isShared(seen: Answer<StorageSeen[]> | undefined, storage: string): boolean {
  return seen?.ok === true && seen.value.some(({ name, shared }) => name === storage && shared);
}
