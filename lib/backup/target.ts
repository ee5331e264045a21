import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { Backup } from '../config/schema.ts';
import { within } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { findExport } from '../lookup.ts';
import type { Endpoints } from '../ports/endpoints.ts';
import { writeAtomically } from '../ports/files.ts';
import type { FilesReader } from '../ports/types.ts';

/** Who owns a target: a file `.target.json` in it. An unmounted path has none, and another lab's has another id. */
export type Sentinel = { id: string; lab: string; created: string };

export type TargetState =
  /** Without a sentinel it is new: empty, and no run of this lab has seen another one. */
  { ok: true; root: string; sentinel?: Sentinel; freeBytes: number } | { ok: false; reason: string; fix: string };

export type TargetPlace = {
  /** What must be mounted: "10.20.11.10:/volume1/k3s-backups", and other spellings of the same. */
  sources: string[];
  /** The mount point on this machine. */
  folder?: string;
  /** Where the sets are. */
  root: string;
  requireNfs: boolean;
  lab: string;
  exportRef: string;
  /** Where this machine remembers the target's id. */
  memory: string;
};

/** What a NAS or a desktop puts into every folder by itself. */
const NAS_OWN = /^(@eaDir|#recycle|#snapshot|\.snapshot|lost\+found|\.DS_Store)$/;

/** A NAS that does not answer blocks every call on its mount. */
const NAS_SECONDS = 30;

/** Where homelab.yaml says that backups go; in a rehearsal the folder that stands for the export. */
export function targetPlace(lab: Lab, backup: Backup, endpoints: Endpoints): TargetPlace {
  const { nas, export: found } = findExport(lab.config, backup.target.export);
  const sources = [nas.address, nas.name, `${nas.name}.${lab.config.search_domain}`].map((h) => `${h}:${found.path}`);
  const folder = endpoints.rehearsal ? endpoints.mount(sources[0] ?? '') : found.mount;
  return {
    sources,
    folder,
    root: join(folder ?? '/', backup.target.path),
    requireNfs: backup.target.require_nfs && !endpoints.rehearsal,
    lab: lab.config.name,
    exportRef: backup.target.export,
    memory: join(lab.paths.state, 'backup-target.json'),
  };
}

/** Looks whether the target is what it should be. Changes nothing. */
export async function lookAtTarget(files: FilesReader, place: TargetPlace): Promise<TargetState> {
  try {
    return await within(NAS_SECONDS, `looking at ${place.folder}`, () => look(files, place));
  } catch (error) {
    return no(
      `the backup target ${place.folder}: ${messageOf(error)}`,
      'see whether the NAS answers; then mount it anew',
    );
  }
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
export async function markTarget(place: TargetPlace, id: string, known?: Sentinel): Promise<void> {
  const sentinel: Sentinel = known ?? { id, lab: place.lab, created: new Date().toISOString() };
  if (!known) await writeAtomically(join(place.root, '.target.json'), `${JSON.stringify(sentinel, null, 1)}\n`, 0o600);
  await writeAtomically(place.memory, `${JSON.stringify({ id: sentinel.id, root: place.root })}\n`, 0o600);
}

/** Whether this machine remembers a target. */
export async function rememberedTarget(files: FilesReader, place: TargetPlace): Promise<string | undefined> {
  return fieldOf(await files.text(place.memory), 'id');
}

async function look(files: FilesReader, place: TargetPlace): Promise<TargetState> {
  const { folder, root, sources, exportRef } = place;
  if (!folder)
    return no(
      `homelab.yaml does not say where ${exportRef} is mounted on this machine`,
      `mount ${sources[0]} and add \`mount: /path\` to the export ${exportRef}`,
    );
  if (!(await files.exists(folder))) return no(`${folder} is not there`, `make it and mount ${sources[0]} on it`);
  if (place.requireNfs) {
    const mount = await files.mountOf(folder);
    const seen = mount ? `${mount.source} (${mount.type})` : 'nothing';
    if (!mount || !/^nfs4?$/.test(mount.type) || !sources.includes(mount.source))
      return no(
        `${folder} is not the NAS: ${seen} is mounted there, not ${sources[0]}`,
        `mount ${sources[0]} on ${folder} (or, for a target that is no NFS mount, set backup.target.require_nfs: false)`,
      );
  }
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  const text = await files.text(join(root, '.target.json'));
  const remembered = await rememberedTarget(files, place);
  if (text !== undefined) return known(text, place, remembered, freeBytes);
  const names = (await files.list(root)).filter((name) => !NAS_OWN.test(name));
  if (names.length > 0)
    return no(
      `${root} is not empty, and has no .target.json: it is not (or no longer) a target of backup-postgres`,
      'choose an empty backup.target.path, or put the .target.json back',
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
  if (id === undefined || lab === undefined) return no(`${file} is damaged`, 'put it back from another copy');
  if (lab !== place.lab)
    return no(`${place.root} belongs to the lab ${lab}, not to ${place.lab}`, 'choose another backup.target.path');
  if (remembered !== undefined && remembered !== id)
    return no(
      `${file} has the id ${id}; this lab's backups went to a target with the id ${remembered}`,
      `mount the right one; when the new target is meant, delete ${place.memory}`,
    );
  return { ok: true, root: place.root, sentinel: { id, lab, created: fieldOf(text, 'created') ?? '' }, freeBytes };
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
