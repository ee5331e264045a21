import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';

export default defineScript(import.meta.url, {
  name: 'build-template',
  summary: 'Builds the Ubuntu template of the VMs with Packer, and puts one on each Proxmox node',
  description:
    'A hash of everything that goes in (ISO, installation answers, HCL, settings) stands in the notes of the template;\n' +
    'a second run does nothing, and --check says what made it stale. A rebuild takes the next free VMIDs and leaves the\n' +
    'old templates as they are; --prune removes those that no VM links to, after the new ones are there.',
  options: [
    { flags: '--prune', description: 'also remove old templates of this lab that no VM links to', default: false },
  ],
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  optionalSecrets: () => ['PROXMOX_PASSWORD'],
  ...lazily({
    observe: async () => (await import('../lib/observe/template.ts')).observeTemplate,
    plan: async () => {
      const { isoName, packerFiles } = await import('../lib/observe/template.ts');
      const { planTemplate } = await import('../lib/plan/template.ts');
      return (lab, seen, args) => {
        const paths = { ...packerFiles(lab), isoName: isoName(lab.config.template.iso) };
        return planTemplate(lab, seen, paths, args.prune === true);
      };
    },
    explain: async () => (await import('../lib/plan/template-trouble.ts')).templateTrouble,
    verify: async () => {
      const { verifyTemplate } = await import('../lib/verify/template.ts');
      return (lab, ports, _args, context) => verifyTemplate(lab, ports, context);
    },
  }),
});
