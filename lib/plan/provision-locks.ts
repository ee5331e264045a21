import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { VmSeen } from '../observe/vms.ts';
import { markOf } from '../render/tfvars.ts';
import { placementOf } from './template.ts';
import { isNamed, lockedOf, OWN_LOCKS } from './template-placement.ts';
import type { StateVm } from './terraform-json.ts';

export type Chosen = {
  /** VMs that --limit selects; undefined: all. */
  limit?: readonly string[];
  /** --import: VMs that are taken over, whoever made them. */
  imports: readonly string[];
  destroy?: boolean;
};

/** What a task still holds, and provision works with next: its VMs, and the templates that they are cloned from. */
export function lockedForProvision(
  lab: Lab,
  vms: readonly VmSeen[],
  { state, storages, wanted }: Pick<ProvisionSeen, 'storages' | 'wanted'> & { state: readonly StateVm[] },
  chosen: Chosen,
): VmSeen[] {
  const nodes = lockedNodes(lab, vms, state, chosen);
  if (chosen.destroy) return nodes;
  const placement = placementOf(lab, { storages, vms: { ok: true, value: [...vms] }, wanted });
  return [...nodes, ...lockedOf(lab.config, vms, placement, wanted)];
}

/**
 * The VMs of homelab.yaml that a task still holds, whatever the task: they are worked with next. Who holds VMs of other
 * labs, or strangers at our VMIDs, does not matter: those are refused, locked or not.
 */
function lockedNodes(
  { config }: Pick<Lab, 'config'>,
  vms: readonly VmSeen[],
  state: readonly StateVm[],
  { limit, imports }: Chosen,
): VmSeen[] {
  const nodes = config.k3s.nodes.filter(({ name }) => !limit || limit.includes(name));
  return vms.filter((vm) => {
    const known = state.find(({ vmid }) => vmid === vm.vmid);
    const node = nodes.find(({ vmid, name }) => vmid === vm.vmid || name === known?.name);
    if (!vm.lock || !node) return false;
    const mark = markOf(vm.description);
    if (mark) return mark.lab === config.name;
    const isKnown = known !== undefined && [known.name, known.attributes?.name].includes(vm.name);
    // One that is being made has no mark yet, and perhaps no name.
    const isMade = OWN_LOCKS.has(vm.lock) && (vm.name === node.name || !isNamed(vm));
    return isKnown || isMade || imports.includes(node.name);
  });
}
