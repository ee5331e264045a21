import type { Config } from '../config/schema.ts';
import type { VmSeen } from '../observe/vms.ts';
import type { Note } from '../step.ts';
import { changedParts, parseNotes, type TemplateStamp } from './template-hash.ts';
import type { TemplateAt } from './template-placement.ts';

/** What is at the VMID of a template. */
export type TemplateState =
  | { is: 'absent' | 'current' }
  /** Ours, of other inputs. */
  | { is: 'stale'; vm: VmSeen; why: string }
  /** A copy of the right content on its way: still on the build node, or there and not converted. */
  | { is: 'cloned' | 'migrated'; vm: VmSeen }
  /** What a Packer that was killed left. */
  | { is: 'leftover'; vm: VmSeen }
  | { is: 'locked'; vm: VmSeen }
  | { is: 'stranger'; vm: VmSeen };

/** Judges what is at the VMID of a template. */
export function stateOf(
  at: TemplateAt,
  vms: readonly VmSeen[],
  wanted: TemplateStamp,
  { template }: Config,
): TemplateState {
  const vm = vms.find(({ vmid }) => vmid === at.vmid);
  if (!vm) return { is: 'absent' };
  if (vm.lock) return { is: 'locked', vm };
  const stamp = parseNotes(vm.description);
  if (!stamp) {
    const ephemeral = vm.name === template.name && /^Packer ephemeral build VM/.test(vm.description);
    return { is: ephemeral ? 'leftover' : 'stranger', vm };
  }
  if (stamp.hash !== wanted.hash)
    return { is: 'stale', vm, why: `stale: ${changedParts(stamp, wanted).join(', ') || 'its inputs'} changed` };
  if (vm.template)
    return vm.node === at.node ? { is: 'current' } : { is: 'stale', vm, why: `it is on ${vm.node}, not ${at.node}` };
  if (vm.node === at.node && at.node !== template.build_node) return { is: 'migrated', vm };
  if (vm.node === template.build_node && at.node !== template.build_node) return { is: 'cloned', vm };
  return { is: 'leftover', vm };
}

/** Why nothing may be done at this VMID. */
export function refusal(at: TemplateAt, state: TemplateState): Note[] {
  if (state.is === 'stranger')
    return [
      {
        level: 'blocker',
        text: `VMID ${at.vmid} is wanted for the template on ${at.node}, and taken by "${state.vm.name}" on ${state.vm.node}`,
        fix: 'set template.vmid in homelab.yaml to a range that is free, or move that VM away',
      },
    ];
  if (state.is === 'locked')
    return [
      {
        level: 'blocker',
        text: `VM ${at.vmid} on ${state.vm.node} is locked (${state.vm.lock})`,
        fix: `a task is under way: wait for it; when there is none, qm unlock ${at.vmid} on ${state.vm.node}`,
      },
    ];
  return [];
}
