import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import type { Args, RunContext } from '../main.ts';
import { expandPath, TOOLKIT } from '../paths.ts';
import { isShared, placeTemplates } from '../plan/template-placement.ts';
import { NothingListens } from '../ports/endpoints.ts';
import type { Answer, FilesReader, Readers } from '../ports/types.ts';
import { apiAddress } from './api.ts';
import { endOfLeftover } from './leftovers.ts';
import { readTool, type ToolSeen } from './tools.ts';
import { readStorages, type StorageSeen, settledVms, type VmSeen } from './vms.ts';

/** What the template is made from, as it is on this machine. */
export type TemplateSources = {
  /** The administrator's public key; undefined when there is no such file. */
  publicKey?: string;
  publicKeyFile: string;
  privateKeyFile: string;
  /** templates/autoinstall/user-data.yaml */
  userData: string;
  /** Packer's folder, and its files by name. */
  hclFolder: string;
  hcl: Record<string, string>;
};

export type TemplateSeen = {
  sources: TemplateSources;
  /** https://HOST:PORT of the API, as Packer dials it. */
  api: string;
  vms: Answer<VmSeen[]>;
  storages: Record<string, Answer<StorageSeen[]>>;
  /** Whether the ISO lies on its storage, or why that is not known. */
  iso: Answer<boolean>;
  packer: ToolSeen;
  /** Generated files as they are, by path. */
  generated: Record<string, string | undefined>;
  /** Where a rehearsal reaches the VM that is being built. */
  ssh?: { host: string; port: number };
  /** A password is set beside the token: Packer before 1.7 knows no tokens. */
  withPassword: boolean;
};

/** Packer and its sources on this machine; the ISO, the storages and the templates on Proxmox. */
export async function observeTemplate(
  lab: Lab,
  readers: Readers,
  args: Args,
  context: RunContext,
): Promise<TemplateSeen> {
  const { config } = lab;
  const { pve } = readers;
  const wait = !args.dryRun && !args.check;
  if (wait) await endOfLeftover('packer', `-var-file=${packerFiles(lab).variables}`, readers, context);
  const [sources, storages, iso, packer, generated, api] = await Promise.all([
    readSources(lab, readers.files, context),
    readStorages(
      pve,
      config.proxmox.nodes.map(({ name }) => name),
    ),
    readIso(lab, readers),
    readTool('packer', readers.exec),
    readGenerated(lab, readers.files),
    apiAddress(lab, readers, context, config.template.build_node),
  ]);
  const placement = placeTemplates(config, isShared(storages[config.template.build_node], config.template.storage));
  const vmids = new Set(placement.all.map(({ vmid }) => vmid));
  const vms = await settledVms(pve, readers.clock, ({ vmid }) => vmids.has(vmid), { wait, say: context.say });
  return {
    ...{ sources, storages, iso, packer, generated, vms },
    api,
    ssh: context.endpoints.rehearsal ? rehearsalSsh(context) : undefined,
    withPassword: context.secrets.get('PROXMOX_PASSWORD') !== undefined,
  };
}

/** Also read by provision, which must know the wanted hash. */
export async function readSources(lab: Lab, files: FilesReader, { settings }: RunContext): Promise<TemplateSources> {
  const hclFolder = settings.HOMELAB_PACKER_DIR
    ? expandPath(settings.HOMELAB_PACKER_DIR, lab.paths.root)
    : join(TOOLKIT, 'packer');
  const names = (await files.list(hclFolder)).filter((name) => !name.startsWith('.'));
  const privateKeyFile = expandPath(lab.config.ssh.key, lab.paths.root);
  const publicKeyFile = `${privateKeyFile}.pub`;
  const [publicKey, userData, ...texts] = await Promise.all([
    files.text(publicKeyFile),
    files.text(join(TOOLKIT, 'templates/autoinstall/user-data.yaml')),
    ...names.map((name) => files.text(join(hclFolder, name))),
  ]);
  const hcl = Object.fromEntries(names.map((name, i) => [name, texts[i] ?? '']));
  return { publicKey, publicKeyFile, privateKeyFile, userData: userData ?? '', hclFolder, hcl };
}

/** Where the generated files of Packer are. */
export function packerFiles({ paths }: Lab): { folder: string; variables: string; userData: string } {
  const folder = join(paths.state, 'packer');
  return { folder, variables: join(folder, 'template.pkrvars.json'), userData: join(folder, 'user-data') };
}

async function readIso({ config }: Lab, { pve }: Readers): Promise<Answer<boolean>> {
  const { iso, build_node } = config.template;
  const answer = await pve.get<{ volid: string }[]>(`/nodes/${build_node}/storage/${iso.storage}/content`, {
    content: 'iso',
  });
  if (!answer.ok) return { ok: false, reason: answer.reason };
  const wanted = `${iso.storage}:iso/${isoName(iso.url)}`;
  return { ok: true, value: answer.value.some(({ volid }) => volid === wanted) };
}

/** The file name of an ISO on its storage. */
export function isoName(url: string): string {
  return decodeURIComponent(new URL(url).pathname.split('/').at(-1) ?? '');
}

async function readGenerated(lab: Lab, files: FilesReader): Promise<Record<string, string | undefined>> {
  const { variables, userData } = packerFiles(lab);
  const texts = await Promise.all([files.text(variables), files.text(userData)]);
  return { [variables]: texts[0], [userData]: texts[1] };
}

/** In a rehearsal the VM that is built has no address yet; the lab keeps one place for it. */
function rehearsalSsh({ endpoints }: RunContext): { host: string; port: number } | undefined {
  try {
    return endpoints.dial('template-build', 22);
  } catch (error) {
    if (error instanceof NothingListens) return undefined;
    throw error;
  }
}
