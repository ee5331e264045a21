import type { Explanation } from '../errors.ts';

const PLUGIN = 'github.com/hashicorp/proxmox';

/** The texts are those of Packer 1.11; the first that fits counts. */
const TROUBLES: { says: RegExp; cause: string; fix: string }[] = [
  {
    says: /Failed getting the "github\.com\/hashicorp\/proxmox" plugin|could not install any compatible version of plugin/,
    cause: `Packer could not fetch its plugin ${PLUGIN}; nothing was changed on Proxmox`,
    fix:
      'give this machine a way to github.com and api.github.com, or install a plugin that you fetched elsewhere: ' +
      `packer plugins install --path FILE ${PLUGIN}; then run it again`,
  },
  {
    says: /plugins are required, but not installed|is unknown by Packer|unknown source type "?proxmox-iso/,
    cause: `Packer's plugin ${PLUGIN} is not installed for the user who runs this`,
    fix: `packer plugins install ${PLUGIN}`,
  },
];

/** The probable cause of what Packer said when it failed, and what to do; undefined for what is not known here. */
export function packerTrouble(output: string): Pick<Explanation, 'cause' | 'fix'> | undefined {
  const plain = output.replaceAll(/\s+/g, ' ');
  const found = TROUBLES.find(({ says }) => says.test(plain));
  return found && { cause: found.cause, fix: found.fix };
}
