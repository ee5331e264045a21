import { defineScript } from '../lib/main.ts';
import { isoName, observeTemplate, packerFiles } from '../lib/observe/template.ts';
import { planTemplate } from '../lib/plan/template.ts';
import { verifyTemplate } from '../lib/verify/template.ts';

export default defineScript(import.meta.url, {
  name: 'build-template',
  summary: 'Builds the Ubuntu template of the VMs with Packer, and puts one on each Proxmox node',
  description:
    'A hash of everything that goes in (ISO, installation answers, HCL, settings) stands in the notes of the template;\n' +
    'a second run does nothing, and --check says what made it stale.',
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  optionalSecrets: () => ['PROXMOX_PASSWORD'],
  observe: observeTemplate,
  plan: (lab, seen) => planTemplate(lab, seen, { ...packerFiles(lab), isoName: isoName(lab.config.template.iso.url) }),
  verify: (lab, ports, _args, context) => verifyTemplate(lab, ports, context),
});
