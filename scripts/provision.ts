import { defineScript } from '../lib/main.ts';
import { observeProvision } from '../lib/observe/provision.ts';
import { differingSources, terraformEnvironment, VARIABLES } from '../lib/observe/terraform.ts';
import { planProvision } from '../lib/plan/provision.ts';
import { provisionOperations } from '../lib/provision-operations.ts';
import { verifyProvision } from '../lib/verify/provision.ts';

export default defineScript(import.meta.url, {
  name: 'provision',
  summary: 'Leases addresses, and makes the VMs of homelab.yaml with Terraform',
  description:
    'Terraform keeps the state in .state/<lab>/terraform/. A VM that is not in it is never adopted, but for one that\n' +
    'an interrupted run of this lab made. What would be destroyed is listed, and needs the name of the lab.',
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  observe: observeProvision,
  plan: (lab, seen, args) =>
    planProvision(lab, seen, {
      differing: differingSources(seen.terraform),
      variables: VARIABLES,
      environment: terraformEnvironment(lab),
      limit: vmsIn(lab.config.k3s.nodes, args.limit),
    }),
  operations: (lab) => provisionOperations(lab),
  verify: (lab, ports, args) => verifyProvision(lab, ports, vmsIn(lab.config.k3s.nodes, args.limit)),
});

/** The VMs among the names of --limit. */
function vmsIn(nodes: readonly { name: string }[], limit: unknown): string[] {
  return Array.isArray(limit) ? nodes.map(({ name }) => name).filter((name) => limit.includes(name)) : [];
}
