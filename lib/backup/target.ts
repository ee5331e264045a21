import { join, relative } from 'node:path';
import type { Backup, Config, SecondTarget } from '../config/schema.ts';
import { HomelabError, messageOf, UsageError } from '../errors.ts';
import { findExport } from '../lookup.ts';
import type { Endpoints } from '../ports/endpoints.ts';
import { writeAtomically } from '../ports/files.ts';
import type { FilesReader } from '../ports/types.ts';
import { quote } from '../quote.ts';
import type { Nas } from './nas.ts';

/** Who owns a target: a file `.target.json` in it. An unmounted path has none, and another lab's has another id. */
export type Sentinel = { id: string; lab: string; created: string };

export type TargetState =
  /** Without a sentinel it is new: empty, and no run of this lab has seen another one. */
  { ok: true; root: string; sentinel?: Sentinel; freeBytes: number } | { ok: false; reason: string; fix: string };

/** Where backups go first, or where their copies go. */
export type Which = 'first' | 'second';

export type TargetPlace = {
  /** Its key in homelab.yaml. */
  key: 'backup.target' | 'backup.second_target';
  /** What must be mounted: "10.20.11.10:/volume1/k3s-backups", and other spellings of the same. */
  sources: string[];
  /** The mount point on this machine. */
  folder?: string;
  /** Where the sets are. */
  root: string;
  requireNfs: boolean;
  /** A disk of this machine: without it the folder would be one of the system's disk. */
  requireMount?: boolean;
  lab: string;
  /** "synology/k3s-backups", or the folder of a disk. */
  exportRef: string;
  /** Where this machine remembers the target's id. */
  memory: string;
};

/** What the engine knows of a lab: all of it on a machine, what its ConfigMap says in the cluster. */
export type BackupLab = {
  config: Pick<Config, 'name' | 'search_domain' | 'nas' | 'backup'>;
  paths: { state: string };
};

/** What a NAS or a desktop puts into every folder by itself, and what a run leaves that was killed while it made a target. */
const NOT_USED = /^(@eaDir|#recycle|#snapshot|\.snapshot|lost\+found|\.DS_Store|\.[0-9a-f]{12}\.tmp)$/;

/**
 * Where homelab.yaml says that backups, or their copies, go; in a rehearsal the folder that stands for it.
 * @throws UsageError when there is no second one
 */
export function targetPlace(lab: BackupLab, backup: Backup, endpoints: Endpoints, which: Which = 'first'): TargetPlace {
  const target = which === 'first' ? backup.target : secondTargetOf(backup);
  const { nas, export: found } = target.export ? findExport(lab.config, target.export) : {};
  const hosts = nas ? [nas.address, nas.name, `${nas.name}.${lab.config.search_domain}`] : [];
  const sources = hosts.map((host) => `${host}:${found?.path}`);
  const disk = 'folder' in target ? target.folder : undefined;
  const folder = endpoints.rehearsal ? endpoints.mount(sources[0] ?? disk ?? '') : (disk ?? found?.mount);
  return {
    key: which === 'first' ? 'backup.target' : 'backup.second_target',
    sources,
    folder,
    root: join(folder ?? '/', target.path),
    requireNfs: found !== undefined && target.require_nfs && !endpoints.rehearsal,
    requireMount: disk !== undefined && !endpoints.rehearsal,
    lab: lab.config.name,
    exportRef: target.export ?? disk ?? '',
    memory: join(lab.paths.state, which === 'first' ? 'backup-target.json' : 'backup-second-target.json'),
  };
}

function secondTargetOf({ second_target: second }: Backup): SecondTarget {
  if (second) return second;
  throw new UsageError('homelab.yaml has no backup.second_target', {
    fix: 'add it; the homelab.yaml of the toolkit shows its keys',
  });
}

/** Looks whether the target is what it should be. Changes nothing. */
export async function lookAtTarget(files: FilesReader, place: TargetPlace): Promise<TargetState> {
  try {
    return await look(files, place);
  } catch (error) {
    const fix = error instanceof HomelabError ? error.fix : undefined;
    return no(
      `the backup target ${place.folder}: ${messageOf(error)}`,
      fix ?? 'see whether the NAS answers; then mount it anew',
    );
  }
}

/** The same for the second target, which must be another one than the first. */
export async function lookAtSecond(files: FilesReader, place: TargetPlace, first: TargetState): Promise<TargetState> {
  const second = await lookAtTarget(files, place);
  if (!second.ok || !first.ok || !second.sentinel || second.sentinel.id !== first.sentinel?.id) return second;
  return no(
    `${place.root} has the id of the first target (${first.root}): it is the same folder, or a copy of it made by hand`,
    `choose an empty ${place.key}.path; the copies are made by backup-postgres run`,
  );
}

/** The same, for the moment before something is written. @throws HomelabError when it is not, or no longer, the target */
export async function requireTarget(
  files: FilesReader,
  place: TargetPlace,
): Promise<{ root: string; freeBytes: number }> {
  const state = await lookAtTarget(files, place);
  if (!state.ok) throw new HomelabError(state.reason, { fix: state.fix });
  if (!state.sentinel) throw new HomelabError(`${place.root} has no .target.json`, { fix: 'start the run again' });
  return state;
}

/** Makes a new target ours, and remembers it. @param known its sentinel, when it has one already */
export async function markTarget(nas: Nas, place: TargetPlace, id: string, known?: Sentinel): Promise<void> {
  const sentinel: Sentinel = known ?? { id, lab: place.lab, created: new Date().toISOString() };
  if (!known) {
    // One by one, below what is mounted: where that has gone away meanwhile, nothing is made on the local disk.
    let folder = place.folder ?? place.root;
    for (const name of relative(folder, place.root).split('/')) {
      folder = join(folder, name);
      await nas.makeFolder(folder);
    }
    await nas.replace(join(place.root, '.target.json'), `${JSON.stringify(sentinel, null, 1)}\n`);
  }
  await writeAtomically(place.memory, `${JSON.stringify({ id: sentinel.id, root: place.root })}\n`, 0o600);
}

/** Whether this machine remembers a target. */
export async function rememberedTarget(files: FilesReader, place: TargetPlace): Promise<string | undefined> {
  return fieldOf(await files.text(place.memory), 'id');
}

async function look(files: FilesReader, place: TargetPlace): Promise<TargetState> {
  const { folder, root, sources, exportRef, key } = place;
  if (!folder)
    return no(
      `homelab.yaml does not say where ${exportRef} is mounted on this machine`,
      `mount ${sources[0]} and add \`mount: /path\` to the export ${exportRef}`,
    );
  const source = sources[0] ?? 'the disk';
  if (!(await files.exists(folder))) return no(`${folder} is not there`, `make it and mount ${source} on it`);
  if (place.requireMount) {
    const [mount, real] = await Promise.all([files.mountOf(folder), files.realPath(folder)]);
    if (mount?.target !== real)
      return no(
        `${folder} is no mount point: what is written there would go to the disk of ${mount?.target ?? 'the system'}`,
        `attach the disk, and mount it on ${folder}`,
      );
  }
  if (place.requireNfs) {
    const mount = await files.mountOf(folder);
    const seen = mount ? `${mount.source} (${mount.type})` : 'nothing';
    if (!mount || !/^nfs4?$/.test(mount.type) || !sources.includes(mount.source))
      return no(
        `${folder} is not the NAS: ${seen} is mounted there, not ${sources[0]}`,
        `mount ${sources[0]} on ${folder} (or, for a target that is no NFS mount, set ${key}.require_nfs: false)`,
      );
  }
  const freeBytes = await files.freeBytes(folder);
  const text = await files.text(join(root, '.target.json'));
  const remembered = await rememberedTarget(files, place);
  if (text !== undefined) return known(text, place, remembered, freeBytes);
  const names = (await files.list(root)).filter((name) => !NOT_USED.test(name));
  if (names.length > 0)
    return no(
      `${root} is not empty, and has no .target.json: it is not (or no longer) a target of backup-postgres`,
      `choose an empty ${key}.path; or, where this lab's backups are in it: ${sentinelOf(place, remembered)}`,
    );
  if (remembered !== undefined)
    return no(
      `${root} is empty, but this lab's backups were there: another file system is mounted, or they were deleted`,
      `mount the right one; to start anew, delete ${place.memory}`,
    );
  return { ok: true, root, freeBytes };
}

function known(text: string, place: TargetPlace, remembered: string | undefined, freeBytes: number): TargetState {
  const file = join(place.root, '.target.json');
  const id = fieldOf(text, 'id');
  const lab = fieldOf(text, 'lab');
  if (id === undefined || lab === undefined)
    return no(`${file} is damaged`, `write it anew: ${sentinelOf(place, remembered)}`);
  if (lab !== place.lab)
    return no(
      `${place.root} belongs to the lab ${lab}, not to ${place.lab}`,
      `choose another ${place.key}.path; or, where it is the same lab under another name, write name: ${lab} into homelab.yaml`,
    );
  if (remembered !== undefined && remembered !== id)
    return no(
      `${file} has the id ${id}; this lab's backups went to a target with the id ${remembered}`,
      `mount the right one; when the new target is meant, delete ${place.memory}`,
    );
  return { ok: true, root: place.root, sentinel: { id, lab, created: fieldOf(text, 'created') ?? '' }, freeBytes };
}

/** The command that puts a lost sentinel back. Without the id that machines remember they refuse the target. */
function sentinelOf({ root, lab, memory }: TargetPlace, remembered: string | undefined): string {
  const write = `echo ${quote(JSON.stringify({ id: remembered ?? 'ID', lab }))} > ${quote(join(root, '.target.json'))}`;
  return remembered === undefined
    ? `${write} (ID: what ${memory} of a machine says that backs up to it; else any)`
    : write;
}

function fieldOf(text: string | undefined, name: string): string | undefined {
  try {
    const value: unknown = text === undefined ? undefined : JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    const field: unknown = Object.entries(value).find(([key]) => key === name)?.[1];
    return typeof field === 'string' ? field : undefined;
  } catch {
    return undefined;
  }
}

function no(reason: string, fix: string): TargetState {
  return { ok: false, reason, fix };
}
