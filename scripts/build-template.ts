import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';

export default defineScript(import.meta.url, {
  name: 'build-template',
  summary: 'Builds the Ubuntu template of the VMs with Packer, and puts one on each Proxmox node',
  description:
    'A hash of everything that goes in (ISO, installation answers, HCL, settings) stands in the notes of the template;\n' +
    'a second run does nothing, and --check says what made it stale.',
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  optionalSecrets: () => ['PROXMOX_PASSWORD'],
  ...lazily({
    observe: async () => (await import('../lib/observe/template.ts')).observeTemplate,
    plan: async () => {
      const { isoName, packerFiles } = await import('../lib/observe/template.ts');
      const { planTemplate } = await import('../lib/plan/template.ts');
      return (lab, seen) =>
        planTemplate(lab, seen, { ...packerFiles(lab), isoName: isoName(lab.config.template.iso.url) });
    },
    verify: async () => {
      const { verifyTemplate } = await import('../lib/verify/template.ts');
      return (lab, ports, _args, context) => verifyTemplate(lab, ports, context);
    },
  }),
});
