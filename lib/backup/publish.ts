import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { HomelabError, messageOf } from '../errors.ts';
import { writeAtomically } from '../ports/files.ts';
import type { FilesReader } from '../ports/types.ts';
import { settleFolder, writeSettled } from './durable.ts';
import { type HashedFile, type Manifest, manifestText, type ProofReport, reportText, sumsText } from './manifest.ts';
import { type BackupSet, filesOf, readLineage, sha256 } from './sets.ts';

/** What is written into the folder of one lineage, in the order in which nothing half-done can look done. */

const INCOMING = '.incoming';

/** A folder for a run's files. What earlier runs left unfinished goes; only the holder of the server's lock calls this. */
export async function openIncoming(lineage: string, runId: string): Promise<string> {
  const incoming = join(lineage, INCOMING);
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  await mkdir(join(lineage, 'sets'), { recursive: true, mode: 0o700 });
  for (const name of await readdir(incoming)) await rm(join(incoming, name), { recursive: true, force: true });
  const folder = join(incoming, runId);
  await mkdir(folder, { mode: 0o700 });
  return folder;
}

/** Writes the manifest and the sums, and renames the folder to its final name: a set is there whole, or not at all. */
export async function publishSet(lineage: string, incoming: string, name: string, manifest: Manifest): Promise<string> {
  const text = manifestText(manifest);
  await writeSettled(join(incoming, 'manifest.json'), text);
  const own: HashedFile = { file: 'manifest.json', bytes: Buffer.byteLength(text), sha256: sha256(text) };
  await writeSettled(join(incoming, 'SHA256SUMS'), sumsText([...filesOf(manifest), own]));
  await settleFolder(incoming);
  const sets = join(lineage, 'sets');
  const folder = join(sets, name);
  try {
    await rename(incoming, folder);
  } catch (error) {
    // Over NFS a rename that succeeded may be reported as failed, when the answer was lost.
    if (!(await isThere(folder)) || (await isThere(incoming)))
      throw new HomelabError(`publishing ${folder}: ${messageOf(error)}`);
  }
  await settleFolder(sets);
  await settleFolder(join(lineage, INCOMING));
  return folder;
}

/** Records what a proof found, beside the set that it is about. */
export async function writeReport(folder: string, report: ProofReport): Promise<void> {
  await writeAtomically(join(folder, 'verify.json'), reportText(report, sha256), 0o600);
}

/** LATEST names the newest proven set; without one it stays as it is. */
export async function pointLatest(files: FilesReader, root: string, set: Pick<BackupSet, 'server' | 'lineage'>) {
  const sets = await readLineage(files, root, set.server, set.lineage);
  const newest = sets.filter(({ state }) => state === 'proven').sort((a, b) => b.time - a.time)[0];
  const file = join(root, set.server, set.lineage, 'LATEST');
  if (newest && (await files.text(file))?.trim() !== newest.name)
    await writeAtomically(file, `${newest.name}\n`, 0o600);
}

/** Out of sight first, in one rename: a deletion that is cut short leaves no half set among the sets. */
export async function removeSet(lineage: string, set: Pick<BackupSet, 'name' | 'folder'>): Promise<void> {
  const aside = join(lineage, INCOMING, `removed-${set.name}`);
  await mkdir(join(lineage, INCOMING), { recursive: true, mode: 0o700 });
  await rename(set.folder, aside);
  await settleFolder(join(lineage, 'sets'));
  await rm(aside, { recursive: true, force: true });
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
