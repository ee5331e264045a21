import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { Step, Value } from '../step.ts';
import { lossLines } from './losses.ts';
import { changeLine, stateLines, summaryOf } from './provision-lines.ts';
import type { VmState } from './provision-problems.ts';
import { addressIn, type VmChange } from './terraform-json.ts';

/** What the pure plan needs to know of the working folder, which observe computed. */
export type ProvisionContext = {
  /** Names of *.tf files that must be copied there. */
  differing: string[];
  /** Name of the generated variables. */
  variables: string;
  /** Environment of every call of Terraform, without the token. */
  environment: Record<string, string>;
  /** VMs that --limit selects; undefined: all. */
  limit?: string[];
  /** --destroy */
  destroy?: boolean;
  /** --import: VMs that this lab did not make, and is to take over. */
  imports?: string[];
};

/** Makes the step of one call of Terraform. `deadline` is in minutes. */
export type Terraform = (
  call: Pick<Step, 'title' | 'why' | 'after' | 'host'> & { id: string; argv: string[]; minutes: number },
) => Step;

/** Options of every call that works with the state. Whoever holds its lock is waited for. */
export const COMMON = ['-input=false', '-no-color', '-lock-timeout=300s'];

/** Terraform in its working folder, with the token. Its state has one writer at a time. */
export function terraformIn(lab: Lab, { terraform: { folder } }: ProvisionSeen, context: ProvisionContext): Terraform {
  const env: Record<string, Value> = {
    ...context.environment,
    PROXMOX_VE_API_TOKEN: { join: [`${lab.config.proxmox.token_id}=`, { secret: 'PROXMOX_TOKEN_SECRET' }] },
  };
  return ({ id, argv, minutes, ...step }) => ({
    ...step,
    id: `terraform/${id}`,
    lane: 'terraform',
    action: { kind: 'run', argv: ['terraform', `-chdir=${folder}`, ...argv], env, deadline: minutes * 60 },
  });
}

/** Takes a VM that is there into the state. While it runs, its guest agent is waited for. */
export function importStep(terraform: Terraform, node: K3sNode, why: string, after: string[]): Step {
  return terraform({
    id: `import ${node.name}`,
    title: `import VM ${node.vmid} into Terraform's state`,
    why,
    host: node.name,
    after,
    argv: ['import', ...COMMON, addressIn(node.name), `${node.node}/${node.vmid}`],
    minutes: 20,
  });
}

/**
 * Whether Terraform is to look at the VMs of its state that the limit selects. Of a running VM whose agent is silent
 * that takes minutes, and is left out; but never while a VM is gone, or on another node: only a look finds that.
 */
export function looksAtVms(
  {
    silentAgents,
    vms,
    terraform: { state },
  }: Pick<ProvisionSeen, 'silentAgents' | 'vms'> & {
    terraform: Pick<ProvisionSeen['terraform'], 'state'>;
  },
  limit: readonly string[] | undefined,
): boolean {
  const known = state.filter(({ name }) => !limit || limit.includes(name));
  if (!known.some(({ name }) => silentAgents.includes(name))) return true;
  const there = vms.ok ? vms.value : [];
  return !known.every(({ vmid, node }) => there.some((vm) => vm.vmid === vmid && vm.node === node));
}

/**
 * Refuses, between plan and apply, what nobody was shown.
 * @param allowed VMs that may be destroyed or replaced, and those that may be restarted
 */
export function guardStep(
  { terraform: { folder } }: ProvisionSeen,
  file: string,
  allowed: { destroyed: string[]; restarted: string[] },
  after: string[],
): Step {
  const nothing = allowed.destroyed.length + allowed.restarted.length === 0 ? 'nothing' : 'nothing else';
  return {
    id: 'terraform/guard',
    title: `check that ${nothing} is destroyed or restarted`,
    why: 'what Terraform plans now may be more than what was seen',
    after,
    action: { kind: 'operation', name: 'guard', args: { folder, file, ...allowed }, deadline: 120 },
  };
}

/**
 * New VMs at once, for each Proxmox node. Terraform draws them in no order, so with one for each node most wait behind
 * the same node while the others idle; four keep all of them busy. More would gain next to nothing and risk refusals:
 * a clone allocates its volumes under the storage's lock, for which others wait ten seconds, and no longer.
 */
const NEW_VMS = 4;

/**
 * On how many VMs Terraform works at once. What exists is changed one by one: a change may restart it, and two servers
 * that are down at once are no cluster.
 * @param actions what is done; undefined: not known yet
 */
export function parallelismOf(
  { config }: Pick<Lab, 'config'>,
  actions: readonly VmChange['action'][] | undefined,
): number {
  return actions?.every((action) => action === 'create') ? NEW_VMS * config.proxmox.nodes.length : 1;
}

/** Imports what an interrupted apply left out of the state, plans, refuses unforeseen losses, applies. */
export function applySteps(
  lab: Lab,
  seen: ProvisionSeen,
  context: ProvisionContext,
  states: ReadonlyMap<K3sNode, VmState>,
  changes: readonly VmChange[] | undefined,
  before: string[],
): Step[] {
  const { state } = seen.terraform;
  const terraform = terraformIn(lab, seen, context);
  const lost = [...states].flatMap(([node, found]) => (found.is === 'lost' ? [node] : []));
  const repairs = [
    ...lost.map((node) =>
      importStep(terraform, node, "it is ours by its mark, and Terraform's state does not know it", before),
    ),
    ...state
      .filter(({ tainted, name }) => tainted && (!context.limit || context.limit.includes(name)))
      .map(({ name, vmid }) =>
        terraform({
          id: `untaint ${name}`,
          title: `keep VM ${vmid}, whose creation failed half-way`,
          why: 'Terraform would replace it',
          after: before,
          argv: ['untaint', '-no-color', '-lock-timeout=300s', addressIn(name)],
          minutes: 5,
        }),
      ),
  ];

  const losses = (changes ?? []).filter(({ action }) => action === 'replace' || action === 'delete');
  const why = changes ? summaryOf(changes) : 'VMs are to be made or repaired';
  const file = 'apply.tfplan';
  const targets = (context.limit ?? []).map((name) => `-target=${addressIn(name)}`);
  const plan = terraform({
    id: 'plan',
    title: 'terraform plan',
    why,
    after: [...before, ...repairs.map(({ id }) => id)],
    argv: [
      ...['plan', ...COMMON, `-out=${file}`, ...targets],
      ...(changes && !looksAtVms(seen, context.limit) ? ['-refresh=false'] : []),
    ],
    minutes: 15,
  });
  const allowed = losses.map(({ name }) => name);
  const restarted = (changes ?? []).flatMap(({ name, restarts }) => (restarts ? name : []));
  const guard = guardStep(seen, file, { destroyed: allowed, restarted }, [plan.id]);
  const nothingExists = state.length + repairs.length === 0;
  const actions = changes?.map(({ action }) => action) ?? (nothingExists ? [] : undefined);
  const apply: Step = {
    ...terraform({
      id: 'apply',
      title: 'terraform apply',
      why,
      after: [guard.id],
      argv: ['apply', ...COMMON, `-parallelism=${parallelismOf(lab, actions)}`, file],
      minutes: 90,
    }),
    does: changes?.map((change) => changeLine(lab, state, change)) ?? stateLines(lab, state, states),
    ...(losses.length > 0 && {
      destroys: lossLines(
        lab,
        losses.map(({ name, action }) => ({ ...placeIn(state, name), again: action === 'replace' })),
        seen.losses,
      ),
      confirm: allowed,
    }),
  };
  return [...repairs, plan, guard, apply];
}

function placeIn(
  state: ProvisionSeen['terraform']['state'],
  name: string,
): { name: string; vmid: number; node: string } {
  const { vmid = 0, node = '?' } = state.find((vm) => vm.name === name) ?? {};
  return { name, vmid, node };
}
