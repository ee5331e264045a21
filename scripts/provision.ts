import { lazily } from '../lib/lazy.ts';
import { type Args, defineScript, gathered } from '../lib/main.ts';
import type { ProvisionSeen } from '../lib/observe/provision.ts';

type ProvisionArgs = Args & { destroy: boolean; import: string[] };

export default defineScript(import.meta.url, {
  name: 'provision',
  summary: 'Leases addresses, and makes the VMs of homelab.yaml with Terraform',
  description:
    'Terraform keeps the state in .state/<lab>/terraform/. VMs that carry the mark of this lab are imported where it\n' +
    'does not know them; any other VM is taken over only by --import. What would be replaced or destroyed is listed\n' +
    'with what lies only there, and needs the names of those VMs, typed or given with --confirm; --destroy needs the\n' +
    "lab's name, and --destroy --limit X both, the lab's and X's.",
  options: [
    {
      flags: '--destroy',
      description: "destroy the VMs of Terraform's state, or those of them that --limit names; leases stay",
      default: false,
    },
    {
      flags: '--import <names>',
      description: 'take over VMs that are on Proxmox already, at the vmid and node of homelab.yaml; changes none',
      default: [],
      parse: (text, before) => {
        // An empty variable must not make it a run that changes things.
        if (gathered(text, []).length === 0) throw new Error('It names no VM.');
        return gathered(text, before);
      },
    },
  ],
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  ...lazily<ProvisionSeen, ProvisionArgs>({
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
          destroy: args.destroy,
          imports: args.import,
        });
    },
    operations: async () => (await import('../lib/operations/provision.ts')).provisionOperations,
    explain: async () => (await import('../lib/plan/terraform-trouble.ts')).terraformTrouble,
    verify: async () => {
      const { vmsInLimit } = await import('../lib/observe/provision.ts');
      const { verifyProvision } = await import('../lib/verify/provision.ts');
      const { verifyDestroyed, verifyImported } = await import('../lib/verify/provision-destroyed.ts');
      return (lab, ports, args, _context, seen, applied) => {
        const limit = vmsInLimit(lab.config, args);
        if (args.destroy) return verifyDestroyed(lab, ports, limit, seen);
        if (args.import.length > 0) return verifyImported(lab, ports, args.import);
        return verifyProvision(lab, ports, limit, applied.length === 0 ? seen : undefined);
      };
    },
  }),
});
