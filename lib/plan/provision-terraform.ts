import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { Step, Value } from '../step.ts';
import type { VmState } from './provision-problems.ts';
import { shownPath } from './shown-path.ts';
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
};

/** Terraform's folder: our files, the generated variables, `init`. */
export function folderSteps(lab: Lab, seen: ProvisionSeen, context: ProvisionContext, variables: string): Step[] {
  const { terraform } = seen;
  const after = lab.newLeases.length > 0 ? ['leases'] : [];
  const write = (name: string, content: string): Step => ({
    id: `terraform/${name}`,
    title: `write ${shownPath(lab, `${terraform.folder}/${name}`)}`,
    why: terraform.files[name] === undefined ? 'absent' : 'differs',
    after,
    action: { kind: 'write', path: `${terraform.folder}/${name}`, content, mode: 0o600 },
  });
  const steps = context.differing.map((name) => write(name, terraform.sources[name] ?? ''));
  if (terraform.files[context.variables] !== variables) steps.push(write(context.variables, variables));
  if (!terraform.initialised || context.differing.length > 0)
    steps.push({
      id: 'terraform/init',
      title: 'terraform init',
      why: terraform.initialised ? 'its files changed' : 'not initialised',
      after: steps.map(({ id }) => id),
      action: {
        kind: 'run',
        argv: ['terraform', `-chdir=${terraform.folder}`, 'init', '-input=false', '-no-color'],
        env: { TF_IN_AUTOMATION: '1' },
        deadline: 300,
      },
    });
  return steps;
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
  const { folder, state } = seen.terraform;
  const env: Record<string, Value> = {
    ...context.environment,
    PROXMOX_VE_API_TOKEN: { join: [`${lab.config.proxmox.token_id}=`, { secret: 'PROXMOX_TOKEN_SECRET' }] },
  };
  const terraform = (
    id: string,
    title: string,
    why: string,
    argv: string[],
    after: string[],
    minutes: number,
  ): Step => ({
    id: `terraform/${id}`,
    title,
    why,
    after,
    // Its state has one writer at a time.
    lane: 'terraform',
    action: { kind: 'run', argv: ['terraform', `-chdir=${folder}`, ...argv], env, deadline: minutes * 60 },
  });
  const common = ['-input=false', '-no-color', '-lock-timeout=300s'];
  const repairs: Step[] = [];
  for (const [node, found] of states)
    if (found.is === 'lost')
      repairs.push({
        ...terraform(
          `import ${node.name}`,
          `import VM ${node.vmid} into Terraform's state`,
          'an interrupted run made it, and its state does not know it',
          ['import', ...common, addressIn(node.name), `${node.node}/${node.vmid}`],
          before,
          10,
        ),
        host: node.name,
      });
  for (const { name, vmid } of state.filter(({ tainted }) => tainted))
    repairs.push(
      terraform(
        `untaint ${name}`,
        `keep VM ${vmid}, whose creation failed half-way`,
        'Terraform would replace it',
        ['untaint', '-no-color', '-lock-timeout=300s', addressIn(name)],
        before,
        5,
      ),
    );

  const losses = (changes ?? []).filter(({ action }) => action === 'replace' || action === 'delete');
  const why = changes ? changes.map(textOf).join('; ') : 'VMs are to be made or repaired';
  const targets = (context.limit ?? []).map((name) => `-target=${addressIn(name)}`);
  const plan = terraform(
    'plan',
    'terraform plan',
    why,
    [
      ...['plan', ...common, '-out=apply.tfplan', ...targets],
      ...(seen.silentAgents.length > 0 && changes ? ['-refresh=false'] : []),
    ],
    [...before, ...repairs.map(({ id }) => id)],
    15,
  );
  const guard: Step = {
    id: 'terraform/guard',
    title: losses.length > 0 ? 'check that nothing else is destroyed' : 'check that nothing is destroyed',
    why: 'what Terraform plans now may be more than what was seen',
    after: [plan.id],
    action: {
      kind: 'operation',
      name: 'guard',
      args: { folder, file: 'apply.tfplan', allowed: losses.map(({ name }) => name) },
      deadline: 120,
    },
  };
  // Side by side where that is safe: new VMs on different nodes. Changes restart VMs, and both servers at once are no cluster.
  const restarts =
    changes?.some(({ action }) => action === 'update' || action === 'replace') ?? state.length + repairs.length > 0;
  const parallelism = restarts ? 1 : lab.config.proxmox.nodes.length;
  const apply: Step = {
    ...terraform(
      'apply',
      'terraform apply',
      why,
      ['apply', '-input=false', '-no-color', '-lock-timeout=300s', `-parallelism=${parallelism}`, 'apply.tfplan'],
      [guard.id],
      90,
    ),
    ...(losses.length > 0 && { destroys: losses.map((change) => lossOf(lab, seen, change)) }),
  };
  return [...repairs, plan, guard, apply];
}

function textOf({ name, action, differences }: VmChange): string {
  const shown = differences.slice(0, 4).join(', ');
  const more = differences.length > 4 ? ` and ${differences.length - 4} more` : '';
  return `${action} ${name}${shown ? ` (${shown}${more})` : ''}`;
}

/** What is gone with a VM, in words for the one who must confirm it. */
function lossOf({ config }: Lab, { terraform }: ProvisionSeen, { name, action }: VmChange): string {
  const at = terraform.state.find((vm) => vm.name === name);
  const isServer = config.k3s.nodes.find((node) => node.name === name)?.role === 'server';
  const data = isServer ? 'its etcd member and every local-path volume on it' : 'every local-path volume on it';
  return `VM ${name} (${at?.vmid ?? '?'} on ${at?.node ?? '?'}) with its disk: ${data}${action === 'replace' ? '; it is made anew' : ''}`;
}
