import type { K3sNode } from '../config/schema.ts';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { VmSeen } from '../observe/vms.ts';
import type { Note, Plan } from '../step.ts';
import { suggestion } from '../suggest.ts';
import { inTheWay, unfit, type VmState, vmStateOf } from './provision-problems.ts';
import { COMMON, importStep, type ProvisionContext, terraformIn } from './provision-terraform.ts';
import { folderSteps } from './terraform-folder.ts';
import { addressIn } from './terraform-json.ts';

/**
 * Takes VMs that this lab did not make into Terraform's state, and says what Terraform would change in them. The VMs
 * themselves are not touched: that is for the next run, which shows it and asks.
 * @throws UsageError for a name under which there is nothing to take over
 */
export function planImport(
  lab: Lab,
  seen: ProvisionSeen,
  context: ProvisionContext,
  names: readonly string[],
  variables: string,
): Plan {
  const vms = seen.vms.ok ? seen.vms.value : [];
  const nodes = [...new Set(names)].map((name) => nodeOf(lab, name));
  const states = nodes.map((node) => ({ node, found: vmStateOf(lab.config.name, node, vms, seen.terraform.state) }));
  const wrong = states.flatMap(({ node, found }) => refusal(node, found) ?? []);
  if (wrong.length > 0) throw new UsageError(wrong.join('\n'));
  const notes = states.flatMap(({ node, found }): Note[] =>
    'vm' in found && found.is !== 'lost' && found.is !== 'stranger' ? inTheWay(lab, node, found) : [],
  );

  const before = folderSteps({ ...lab, newLeases: [] }, seen, context, variables);
  const terraform = terraformIn(lab, seen, context);
  const why = '--import names it';
  const imports = nodes.map((node) =>
    importStep(
      terraform,
      node,
      why,
      before.map(({ id }) => id),
    ),
  );
  const file = 'import.tfplan';
  const plan = terraform({
    id: 'plan',
    title: 'terraform plan',
    why: 'what would be changed in it is to be seen first',
    after: [...before, ...imports].map(({ id }) => id),
    argv: ['plan', ...COMMON, `-out=${file}`, ...nodes.map(({ name }) => `-target=${addressIn(name)}`)],
    minutes: 15,
  });
  return {
    steps: [
      ...before,
      ...imports,
      plan,
      {
        id: 'terraform/would-change',
        title: 'say what the next run would change',
        why: 'nothing is changed by an import',
        after: [plan.id],
        action: {
          kind: 'operation',
          name: 'wouldChange',
          args: { folder: seen.terraform.folder, file },
          deadline: 120,
        },
      },
    ],
    notes,
  };
}

/** @throws UsageError for an --import of a VM that --limit leaves out: it would be taken over by half */
export function refuseOutside(names: readonly string[], limit: readonly string[] | undefined): void {
  const outside = names.filter((name) => limit && !limit.includes(name));
  if (outside.length > 0)
    throw new UsageError(`--import ${outside.join(',')}: --limit leaves it out`, {
      fix: 'leave --limit away: --import is about the VMs that it names, and no others',
    });
}

function nodeOf({ config }: Lab, name: string): K3sNode {
  const node = config.k3s.nodes.find((one) => one.name === name);
  if (node) return node;
  const known = config.k3s.nodes.map((one) => one.name);
  throw new UsageError(`--import ${name}: homelab.yaml has no such K3s node; ${suggestion(name, known)}`);
}

/** Why there is nothing to take over, as a person reads it. */
function refusal({ name, vmid, node }: K3sNode, found: VmState): string | undefined {
  const asked = `--import ${name}: `;
  const at = (vm: VmSeen): string => `VM ${vmid} ("${vm.name}") on ${vm.node}`;
  switch (found.is) {
    case 'absent':
      return `${asked}there is no VM ${vmid} on Proxmox; provision makes it, or correct its vmid in homelab.yaml`;
    case 'managed':
      return `${asked}VM ${vmid} is in Terraform's state already; run provision without --import`;
    case 'elsewhere':
      return `${asked}${at(found.vm)}: homelab.yaml says ${node}; migrate it, or correct homelab.yaml`;
    case 'stranger': {
      const why = unfit({ node }, found.vm);
      return why && `${asked}${at(found.vm)} ${why}; choose another vmid in homelab.yaml`;
    }
    default:
      return undefined;
  }
}
