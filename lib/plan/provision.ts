import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { VmSeen } from '../observe/vms.ts';
import { joinPlans, type Note, type Plan, type Step } from '../step.ts';
import { lossNotes } from './losses.ts';
import { privilegeNotes } from './privileges.ts';
import { forgetKeys, planDestroy } from './provision-destroy.ts';
import { guestSteps } from './provision-guests.ts';
import { planImport, refuseOutside } from './provision-import.ts';
import { foreignChanges, otherLabs, shrinking, strangers, undestroyable, vmStateOf } from './provision-problems.ts';
import { quorumNotes } from './provision-quorum.ts';
import { shortages } from './provision-shortages.ts';
import { applySteps, looksAtVms, type ProvisionContext } from './provision-terraform.ts';
import { folderNotes, folderSteps } from './terraform-folder.ts';
import type { VmChange } from './terraform-json.ts';
import { STATE_LOCK, terraformTrouble } from './terraform-trouble.ts';
import { trustProblems } from './trust.ts';

/**
 * Leases → Terraform's folder → VMs → the guests in them. What Terraform would do was asked while looking, where
 * that was possible; otherwise it is asked between, and nothing that destroys passes then.
 * @throws UsageError for an --import that cannot be
 */
export function planProvision(lab: Lab, seen: ProvisionSeen, context: ProvisionContext): Plan {
  const { terraform } = seen;
  const { imports = [], destroy } = context;
  if (destroy && imports.length > 0) throw new UsageError('--destroy and --import are two different runs');
  refuseOutside(imports, context.limit);
  if (context.limit?.length === 0) return { steps: [], notes: [{ level: 'info', text: '--limit names no VM' }] };
  if (!seen.vms.ok)
    return blocked(
      `Proxmox cannot be asked: ${seen.vms.reason}`,
      seen.vms.fix ?? 'npx tsx scripts/check.ts --preflight',
      'Proxmox',
    );
  // What is destroyed needs no key; Terraform wants its variables all the same.
  const variables = seen.variables ?? (destroy ? terraform.files[context.variables] : undefined);
  if (variables === undefined) {
    const { publicKeyFile, privateKeyFile } = seen.sources;
    return blocked(
      `${publicKeyFile} is missing: its key goes into the VMs`,
      `ssh-keygen -t ed25519 -f ${privateKeyFile}, or set ssh.key in homelab.yaml`,
    );
  }
  if (terraform.problem)
    return { steps: [], notes: [{ level: 'blocker', text: terraform.problem, fix: terraform.fix }] };
  const others = otherLabs(lab, terraform);
  if (others.length > 0) return { steps: [], notes: others };
  const told: Plan = {
    steps: [],
    notes: [...folderNotes(lab, seen, context, variables), ...trustProblems(seen.trust)],
  };
  if (destroy) return joinPlans(told, planDestroy(lab, seen, context, variables));
  if (imports.length > 0) return joinPlans(told, planImport(lab, seen, context, imports, variables));
  return joinPlans(told, planVms(lab, seen, context, seen.vms.value, variables));
}

function planVms(
  lab: Lab,
  seen: ProvisionSeen,
  context: ProvisionContext,
  vms: readonly VmSeen[],
  variables: string,
): Plan {
  const { config } = lab;
  const { state } = seen.terraform;
  const nodes = config.k3s.nodes.filter(({ name }) => !context.limit || context.limit.includes(name));
  const states = new Map(nodes.map((node) => [node, vmStateOf(config.name, node, vms, state)]));
  // VMs that homelab.yaml no longer has; with --limit they are left alone.
  const orphans = context.limit ? [] : state.filter((vm) => !nodes.some(({ name }) => name === vm.name));
  const made = nodes.filter((node) => states.get(node)?.is === 'absent');
  const notes = [
    ...strangers(lab, vms, states),
    ...undestroyable(lab, orphans, vms),
    ...foreignChanges(lab, seen),
    ...shrinking(states, seen),
    ...shortages(config, seen, made),
    ...remarks(seen, context),
  ];
  if (seen.changes && !seen.changes.ok) {
    const { cause, fix } = terraformTrouble(seen.changes.reason) ?? {};
    notes.push({
      level: 'blocker',
      text: `terraform plan failed:\n${seen.changes.reason}${cause ? `\nprobable cause: ${cause}` : ''}`,
      fix,
      waitsFor: STATE_LOCK.test(seen.changes.reason) ? 'another run' : undefined,
    });
  }

  const folder = folderSteps(lab, seen, context, variables);
  const steps = [...leaseSteps(lab, folder), ...folder];
  const changes = seen.changes?.ok ? seen.changes.value : undefined;
  if (changes?.some(({ action }) => action === 'replace' || action === 'delete'))
    notes.push(...lossNotes(config.backup, seen.losses));
  notes.push(...quorumNotes(lab, changes ?? [], seen.losses));
  const applying = changes === undefined || changes.length > 0;
  if (applying) notes.unshift(...privilegeNotes(config, seen.granted));
  if (applying)
    steps.push(
      ...applySteps(
        lab,
        seen,
        context,
        states,
        changes,
        steps.map(({ id }) => id),
      ),
    );
  const applied = steps.some(({ id }) => id === 'terraform/apply');
  const deleted = (changes ?? []).filter(({ action }) => action === 'delete').map(({ name }) => name);
  steps.push(...forgetKeys(lab, deleted, ['terraform/apply']));
  for (const node of nodes) {
    const touched = changes ? changes.find(({ name }) => name === node.name)?.action : 'unknown';
    steps.push(
      ...guestSteps(
        lab,
        node,
        seen.guests[node.name],
        touched === 'delete' ? undefined : touched,
        applied ? ['terraform/apply'] : [],
        { script: seen.sources.growRoot, grows: changes?.some(growsDiskOf(node)) === true },
      ),
    );
  }
  return { steps, notes };
}

/** Whether a change is one of a node's disk. */
function growsDiskOf({ name }: { name: string }): (change: VmChange) => boolean {
  return (change) => change.name === name && change.differences.some((text) => /^disk\b/.test(text));
}

/**
 * New leases are on disk before anything uses them: a run that stops later keeps them. But not before Terraform has
 * its provider: without it nothing could come of them.
 */
function leaseSteps({ newLeases }: Lab, folder: readonly Step[]): Step[] {
  if (newLeases.length === 0) return [];
  const leases = newLeases.map(({ name, address }) => `${name} ${address}`);
  return [
    {
      id: 'leases',
      title: `lease ${leases.join(', ')}`,
      why: 'no lease yet',
      after: folder.map(({ id }) => id).filter((id) => id === 'terraform/init'),
      action: { kind: 'operation', name: 'lease', args: {}, deadline: 30 },
    },
  ];
}

function remarks(seen: ProvisionSeen, { limit }: ProvisionContext): Note[] {
  const notes: Note[] = seen.taken.map(({ lease, address, by }) => ({
    level: 'blocker',
    text: `${address} would be the address of ${lease}, and is used by ${by}`,
    fix: 'name it in network.hosts of homelab.yaml, or give that machine another address',
  }));
  if (seen.unasked)
    notes.push({
      level: 'warning',
      text: `whether the new addresses are free was not asked of the network: no Proxmox node answers by SSH (${seen.unasked})`,
      fix: 'see that ssh.key is authorised there, and that its host key is known',
    });
  if (seen.silentAgents.length > 0)
    notes.push({
      level: 'warning',
      text: `the guest agent of ${seen.silentAgents.join(', ')} does not answer${looksAtVms(seen, limit) ? '' : ': Terraform was asked without looking at the VMs'}`,
      fix: 'is qemu-guest-agent running in it?',
    });
  return notes;
}

function blocked(text: string, fix: string, waitsFor?: Note['waitsFor']): Plan {
  return { steps: [], notes: [{ level: 'blocker', text, fix, waitsFor }] };
}
