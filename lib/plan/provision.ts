import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { Note, Plan, Step } from '../step.ts';
import { guestSteps } from './provision-guests.ts';
import { shortages, strangers, vmStateOf } from './provision-problems.ts';
import { applySteps, folderSteps, type ProvisionContext } from './provision-terraform.ts';

/**
 * Leases → Terraform's folder → VMs → the guests in them. What Terraform would do was asked while looking, where
 * that was possible; otherwise it is asked between, and nothing that destroys passes then.
 */
export function planProvision(lab: Lab, seen: ProvisionSeen, context: ProvisionContext): Plan {
  const { config } = lab;
  const { terraform, variables } = seen;
  if (context.limit?.length === 0) return { steps: [], notes: [{ level: 'info', text: '--limit names no VM' }] };
  if (!seen.vms.ok) return blocked(`the Proxmox API does not answer: ${seen.vms.reason}`, 'npx tsx scripts/check.ts');
  if (variables === undefined) {
    const { publicKeyFile, privateKeyFile } = seen.sources;
    return blocked(
      `${publicKeyFile} is missing: its key goes into the VMs`,
      `ssh-keygen -t ed25519 -f ${privateKeyFile}, or set ssh.key in homelab.yaml`,
    );
  }
  if (terraform.problem)
    return blocked(
      terraform.problem,
      'install Terraform 1.9 or newer: https://developer.hashicorp.com/terraform/install',
    );

  const vms = seen.vms.value;
  const managed = new Set(terraform.state.map(({ vmid }) => vmid));
  const nodes = config.k3s.nodes.filter(({ name }) => !context.limit || context.limit.includes(name));
  const states = new Map(nodes.map((node) => [node, vmStateOf(config.name, node, vms, managed)]));
  const made = nodes.filter((node) => states.get(node)?.is === 'absent');
  const notes = [...strangers(config, vms, states), ...shortages(config, seen, made), ...remarks(lab, seen)];
  if (seen.changes && !seen.changes.ok)
    notes.push({ level: 'blocker', text: `terraform plan failed:\n${seen.changes.reason}` });

  const steps = [...leaseSteps(lab), ...folderSteps(lab, seen, context, variables)];
  const changes = seen.changes?.ok ? seen.changes.value : undefined;
  const applying = changes === undefined || changes.length > 0;
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
  for (const node of nodes) {
    const touched = changes ? changes.find(({ name }) => name === node.name)?.action : 'unknown';
    steps.push(
      ...guestSteps(
        lab,
        node,
        seen.guests[node.name],
        touched === 'delete' ? undefined : touched,
        applied ? ['terraform/apply'] : [],
      ),
    );
  }
  return { steps, notes };
}

/** New leases are on disk before anything uses them: a run that stops later keeps them. */
function leaseSteps({ newLeases }: Lab): Step[] {
  if (newLeases.length === 0) return [];
  const leases = newLeases.map(({ name, address }) => `${name} ${address}`);
  return [
    {
      id: 'leases',
      title: `lease ${leases.join(', ')}`,
      why: 'no lease yet',
      action: { kind: 'operation', name: 'lease', args: {}, deadline: 30 },
    },
  ];
}

function remarks({ config }: Lab, seen: ProvisionSeen): Note[] {
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
      text: `the guest agent of ${seen.silentAgents.join(', ')} does not answer: Terraform was asked without looking at the VMs`,
      fix: 'is qemu-guest-agent running in it?',
    });
  if (!config.proxmox.ca_file && config.proxmox.nodes.some(({ fingerprint }) => fingerprint))
    notes.push({
      level: 'warning',
      text: 'Terraform cannot check a certificate by its fingerprint',
      fix: 'copy /etc/pve/pve-root-ca.pem beside homelab.yaml and set proxmox.ca_file',
    });
  return notes;
}

function blocked(text: string, fix: string): Plan {
  return { steps: [], notes: [{ level: 'blocker', text, fix }] };
}
