import type { Lab } from '../lab-context.ts';
import type { TemplateSeen, TemplateSources } from '../observe/template.ts';
import { renderAutoinstall } from '../render/autoinstall.ts';
import { renderPkrvars } from '../render/pkrvars.ts';
import type { Generated } from './generated.ts';
import { renderNotes, type TemplateStamp } from './template-hash.ts';
import { buildName, type PlacedTemplate } from './template-placement.ts';

/** Where build-template keeps Packer's generated files, and the file name of the ISO. */
export type TemplatePaths = { folder: string; variables: string; userData: string; isoName: string };

/** What is generated for Packer: the answers of the installation, and the variables. */
export function packerFiles(
  { config }: Lab,
  seen: TemplateSeen,
  paths: TemplatePaths,
  base: PlacedTemplate,
  wanted: TemplateStamp,
): Generated[] {
  const { template } = config;
  const storages = seen.storages[base.node];
  const storage = storages?.ok ? storages.value.find(({ name }) => name === template.storage) : undefined;
  const variables = renderPkrvars(config, {
    buildName: buildName(config),
    endpoint: `${seen.api}/api2/json`,
    vmid: base.vmid,
    description: renderNotes(wanted),
    isoFile: `${template.iso.storage}:iso/${paths.isoName}`,
    storageType: storage?.type ?? '',
    privateKeyFile: seen.sources.privateKeyFile,
    userDataFile: paths.userData,
    growRootFile: seen.sources.growRootFile,
    ssh: seen.ssh,
  });
  const file = (id: string, path: string, content: string): Generated => ({
    ...{ id, path, content, now: seen.generated[path] },
    host: base.node,
  });
  return [
    file('packer/user-data', paths.userData, renderUserData(config, seen.sources)),
    file('packer/variables', paths.variables, variables),
  ];
}

/** The answers of the installation, as the template's VM reads them. */
export function renderUserData({ template }: Lab['config'], sources: TemplateSources): string {
  const { timezone, user, name } = template;
  return renderAutoinstall(sources.userData, {
    hostname: name.replaceAll('.', '-'),
    timezone,
    user,
    publicKey: sources.publicKey ?? '',
  });
}
