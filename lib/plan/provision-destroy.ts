import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import { markOf } from '../render/tfvars.ts';
import type { Note, Plan, Step } from '../step.ts';
import { lossLines, lossNotes } from './losses.ts';
import { changeLine } from './provision-lines.ts';
import { undestroyable } from './provision-problems.ts';
import { quorumNotes } from './provision-quorum.ts';
import { COMMON, guardStep, looksAtVms, type ProvisionContext, terraformIn } from './provision-terraform.ts';
import { folderSteps } from './terraform-folder.ts';
import { addressIn, type StateVm, type VmChange } from './terraform-json.ts';

/** VMs that --destroy is about: those of Terraform's state, of which --limit may choose. */
export function doomedVms(state: readonly StateVm[], limit: readonly string[] | undefined): StateVm[] {
  return state.filter(({ name }) => !limit || limit.includes(name));
}

/**
 * Destroys what Terraform's state holds, and nothing else: what is not in it is named, and stays. Leases stay too.
 * @param variables what Terraform needs to be started at all
 */
export function planDestroy(lab: Lab, seen: ProvisionSeen, context: ProvisionContext, variables: string): Plan {
  const { state } = seen.terraform;
  const vms = seen.vms.ok ? seen.vms.value : [];
  const doomed = doomedVms(state, context.limit);
  const going = doomed.map(({ name }): VmChange => ({ name, action: 'delete', differences: [] }));
  // Who destroys everything is not asked what etcd needs.
  const isWhole = doomed.length === state.length;
  const notes = [
    ...undestroyable(lab, doomed, vms),
    ...stays(lab, seen, context.limit),
    ...(isWhole ? [] : quorumNotes(lab, going, seen.losses)),
  ];
  if (doomed.length === 0) {
    const text = "no VM of this lab is in Terraform's state: there is nothing to destroy";
    return { steps: [], notes: [{ level: 'info', text }, ...notes] };
  }

  const steps = folderSteps({ ...lab, newLeases: [] }, seen, context, variables);
  const terraform = terraformIn(lab, seen, context);
  const file = 'destroy.tfplan';
  const names = doomed.map(({ name }) => name);
  const there = doomed.filter(({ vmid }) => vms.some((vm) => vm.vmid === vmid));
  const plan = terraform({
    id: 'plan',
    title: 'terraform plan -destroy',
    why: `to destroy: ${names.join(', ')}`,
    after: steps.map(({ id }) => id),
    argv: [
      ...['plan', '-destroy', ...COMMON, `-out=${file}`],
      ...(context.limit ? names.map((name) => `-target=${addressIn(name)}`) : []),
      ...(looksAtVms(seen, context.limit) ? [] : ['-refresh=false']),
    ],
    minutes: 30,
  });
  const guard = guardStep(seen, file, { destroyed: names, restarted: [] }, [plan.id]);
  const apply: Step = {
    ...terraform({
      id: 'apply',
      title: 'terraform apply, which destroys',
      why: plan.why,
      after: [guard.id],
      // Of a cluster that stays, one goes after the other.
      argv: ['apply', ...COMMON, `-parallelism=${context.limit ? 1 : lab.config.proxmox.nodes.length}`, file],
      minutes: 90,
    }),
    does: doomed.map(({ name, vmid }) =>
      there.some((vm) => vm.vmid === vmid)
        ? changeLine(lab, state, { name, action: 'delete', differences: [] })
        : `forget ${name} (VM ${vmid}), which is gone already`,
    ),
    ...(there.length > 0 && {
      destroys: lossLines(lab, there, seen.losses),
      confirm: [lab.config.name, ...(context.limit ? there.map(({ name }) => name) : [])],
    }),
  };
  return {
    steps: [...steps, plan, guard, apply, ...forgetKeys(lab, names, [apply.id])],
    notes: [...notes, ...lossNotes(lab.config.backup, seen.losses), ...leases(lab, names)],
  };
}

/** VMs that --destroy leaves alone, though one might think that it is about them. */
function stays(
  { config }: Lab,
  { vms, terraform: { state } }: ProvisionSeen,
  limit: readonly string[] | undefined,
): Note[] {
  const known = new Set(state.map(({ vmid }) => vmid));
  const outside = vms.ok ? vms.value.filter(({ vmid }) => !known.has(vmid)) : [];
  return outside.flatMap((vm): Note[] => {
    const mark = markOf(vm.description);
    const at = `${vm.name} (VM ${vm.vmid} on ${vm.node})`;
    if (mark?.lab === config.name && (!limit || limit.includes(mark.name)))
      return [
        {
          level: 'warning',
          text: `${at} carries this lab's mark, is not in Terraform's state, and stays`,
          fix: 'npx tsx scripts/provision.ts imports it; after that --destroy is about it too',
        },
      ];
    const node = config.k3s.nodes.find(({ name, vmid }) => vmid === vm.vmid && (!limit || limit.includes(name)));
    if (!node || mark?.lab === config.name) return [];
    return [{ level: 'info', text: `${at} has the VMID of ${node.name}, is not this lab's, and stays` }];
  });
}

/** A host that is made anew at the address has another key. */
export function forgetKeys({ ledger, config }: Lab, names: readonly string[], after: string[]): Step[] {
  return names
    .filter((name) => ledger.leases.some((lease) => lease.name === name))
    .map((name) => ({
      id: `${name}/forget-key`,
      title: 'forget its SSH host key',
      why: 'the VM is gone',
      host: config.k3s.nodes.some((node) => node.name === name) ? name : undefined,
      after,
      action: { kind: 'operation', name: 'forgetKey', args: { name }, deadline: 30 },
    }));
}

function leases({ lock }: Lab, names: readonly string[]): Note[] {
  const kept = lock.leases.filter(({ name }) => names.includes(name)).map(({ name, address }) => `${name} ${address}`);
  if (kept.length === 0) return [];
  const text = `leases stay (${kept.join(', ')}): a VM that is made anew has its address again`;
  return [{ level: 'info', text, fix: 'npx tsx scripts/network.ts release NAME gives one back' }];
}
