import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';

export default defineScript(import.meta.url, {
  name: 'provision',
  summary: 'Leases addresses, and makes the VMs of homelab.yaml with Terraform',
  description:
    'Terraform keeps the state in .state/<lab>/terraform/. A VM that is not in it is never adopted, but for one that\n' +
    'an interrupted run of this lab made. What would be destroyed is listed, and needs the name of the lab.',
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  ...lazily({
    observe: async () => (await import('../lib/observe/provision.ts')).observeProvision,
    plan: async () => {
      const { differingSources, terraformEnvironment, VARIABLES } = await import('../lib/observe/terraform.ts');
      const { vmsInLimit } = await import('../lib/observe/provision.ts');
      const { planProvision } = await import('../lib/plan/provision.ts');
      return (lab, seen, args) =>
        planProvision(lab, seen, {
          differing: differingSources(seen.terraform),
          variables: VARIABLES,
          environment: terraformEnvironment(lab),
          limit: vmsInLimit(lab.config, args),
        });
    },
    operations: async () => (await import('../lib/operations/provision.ts')).provisionOperations,
    verify: async () => {
      const { vmsInLimit } = await import('../lib/observe/provision.ts');
      const { verifyProvision } = await import('../lib/verify/provision.ts');
      return (lab, ports, args) => verifyProvision(lab, ports, vmsInLimit(lab.config, args));
    },
  }),
});
