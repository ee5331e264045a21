import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import type { Args, RunContext } from '../main.ts';
import { expandPath, TOOLKIT } from '../paths.ts';
import type { GeneratedSeen } from '../plan/generated.ts';
import { placementOf } from '../plan/template.ts';
import { wantedStamp } from '../plan/template-build.ts';
import { lockedOf, mayBeTemplate } from '../plan/template-placement.ts';
import { CD_PROGRAMS } from '../plan/template-problems.ts';
import { GENERATED_CD } from '../plan/template-prune.ts';
import { NothingListens } from '../ports/endpoints.ts';
import type { Answer, FilesReader, Readers } from '../ports/types.ts';
import { type ApiSeen, readApi } from './api.ts';
import { readGenerated } from './generated.ts';
import { endOfLeftover } from './leftovers.ts';
import { neededPacker, readTool, type ToolSeen } from './tools.ts';
import { readStorages, type StorageSeen, settledVms, type VmSeen } from './vms.ts';

/** Grows a root file system to its disk: part of the template, and what provision runs. */
export const GROW_ROOT = join(TOOLKIT, 'templates/grow-root.sh');

/** What the template is made from, as it is on this machine. */
export type TemplateSources = {
  /** The administrator's public key; undefined when there is no such file. */
  publicKey?: string;
  publicKeyFile: string;
  privateKeyFile: string;
  /** templates/autoinstall/user-data.yaml */
  userData: string;
  /** templates/grow-root.sh, and where it is. */
  growRoot: string;
  growRootFile: string;
  /** Packer's folder, and its files by name. */
  hclFolder: string;
  hcl: Record<string, string>;
};

export type TemplateSeen = ApiSeen & {
  sources: TemplateSources;
  vms: Answer<VmSeen[]>;
  storages: Record<string, Answer<StorageSeen[]>>;
  /** Whether the ISO lies on its storage, or why that is not known. */
  iso: Answer<boolean>;
  /** CDs that Packer generated and that are there still, by volume id, on the same storage. */
  cds: string[];
  packer: ToolSeen;
  /** A program by which Packer can make a CD. */
  cdProgram?: string;
  /** Generated files as they are, by path. */
  generated: Record<string, string | undefined>;
  /** What is remembered of them, and the edited ones that were kept. */
  record: GeneratedSeen;
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
  const [sources, generated] = await Promise.all([
    readSources(lab, readers.files, context),
    readTexts(lab, readers.files),
  ]);
  const storages = await readStorages(
    pve,
    config.proxmox.nodes.map(({ name }) => name),
  );
  const held = (all: readonly VmSeen[]): VmSeen[] => {
    const wanted = wantedStamp(lab, sources);
    const placement = placementOf(lab, { storages, vms: { ok: true, value: [...all] }, wanted });
    return lockedOf(config, all, placement, wanted);
  };
  const [vms, isos, packer, record, api] = await Promise.all([
    // Linked clones are known by their disks.
    settledVms(pve, readers.clock, args.prune === true ? () => true : mayBeTemplate(config), {
      ...{ wait, say: context.say, held },
    }),
    readIsos(lab, readers),
    readTool('packer', readers.exec, { needed: neededPacker(context) }),
    readGenerated(lab, readers.files, packerFiles(lab).folder),
    readApi(lab, readers, context, config.template.build_node),
  ]);
  return {
    ...{ sources, storages, packer, generated, record, vms },
    ...isos,
    cdProgram: CD_PROGRAMS.find((program) => readers.exec.which(program)),
    ...api,
    ssh: context.endpoints.rehearsal ? rehearsalSsh(context) : undefined,
    withPassword: context.secrets.get('PROXMOX_PASSWORD') !== undefined,
  };
}

/** Also read by provision, which must know the wanted hash. */
export async function readSources(
  lab: Lab,
  files: FilesReader,
  { settings }: Pick<RunContext, 'settings'>,
): Promise<TemplateSources> {
  const hclFolder = settings.HOMELAB_PACKER_DIR
    ? expandPath(settings.HOMELAB_PACKER_DIR, lab.paths.root)
    : join(TOOLKIT, 'packer');
  const names = (await files.list(hclFolder)).filter((name) => !name.startsWith('.'));
  const privateKeyFile = expandPath(lab.config.ssh.key, lab.paths.root);
  const publicKeyFile = `${privateKeyFile}.pub`;
  const [publicKey, userData = '', growRoot = '', ...texts] = await Promise.all([
    files.text(publicKeyFile),
    files.text(join(TOOLKIT, 'templates/autoinstall/user-data.yaml')),
    files.text(GROW_ROOT),
    ...names.map((name) => files.text(join(hclFolder, name))),
  ]);
  const hcl = Object.fromEntries(names.map((name, i) => [name, texts[i] ?? '']));
  return { publicKey, publicKeyFile, privateKeyFile, userData, growRoot, growRootFile: GROW_ROOT, hclFolder, hcl };
}

/** Where the generated files of Packer are. */
export function packerFiles({ paths }: Lab): { folder: string; variables: string; userData: string } {
  const folder = join(paths.state, 'packer');
  return { folder, variables: join(folder, 'template.pkrvars.json'), userData: join(folder, 'user-data') };
}

/** Whether the ISO lies on its storage, and what CDs of interrupted builds lie beside it. */
async function readIsos({ config }: Lab, { pve }: Readers): Promise<Pick<TemplateSeen, 'iso' | 'cds'>> {
  const { iso, build_node } = config.template;
  const answer = await pve.get<{ volid: string }[]>(`/nodes/${build_node}/storage/${iso.storage}/content`, {
    content: 'iso',
  });
  if (!answer.ok) return { iso: { ok: false, reason: answer.reason }, cds: [] };
  const volumes = answer.value.map(({ volid }) => volid);
  const wanted = `${iso.storage}:iso/${isoName(iso)}`;
  return {
    iso: { ok: true, value: volumes.includes(wanted) },
    cds: volumes.filter((volume) => GENERATED_CD.test(volume)),
  };
}

/**
 * The file name of an ISO on its storage. Its checksum is part of it, so that a file of other bytes is never taken
 * for it by its name; what Proxmox would replace in a name is replaced already.
 */
export function isoName({ url, sha256 }: { url: string; sha256: string }): string {
  const file = decodeURIComponent(new URL(url).pathname.split('/').at(-1) ?? '');
  const [, stem = '', extension = '.iso'] = /^(.*?)(\.(?:iso|img))?$/is.exec(file) ?? [];
  return `${stem.replace(/[^-a-zA-Z0-9_.]/g, '_')}-${sha256.slice(0, 12)}${extension}`;
}

async function readTexts(lab: Lab, files: FilesReader): Promise<Record<string, string | undefined>> {
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
