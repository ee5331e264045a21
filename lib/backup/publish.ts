import { dirname, join } from 'node:path';
import { newestProven } from '../plan/backup-newest.ts';
import { type HashedFile, type Manifest, manifestText, type ProofReport, reportText, sumsText } from './manifest.ts';
import type { Nas } from './nas.ts';
import { type BackupSet, filesOf, lineageFolder, readLineage, sha256 } from './sets.ts';

/** What is written into the folder of one lineage, in the order in which nothing half-done can look done. */

const INCOMING = '.incoming';

/** A folder for a run's files. What earlier runs left unfinished goes; only the holder of the server's lock calls this. */
export async function openIncoming(
  nas: Nas,
  root: string,
  { server, lineage }: Pick<BackupSet, 'server' | 'lineage'>,
  runId: string,
): Promise<string> {
  const folder = lineageFolder(root, server, lineage);
  const incoming = join(folder, INCOMING);
  // One by one, below the target: where that has gone away meanwhile, nothing is made on the local disk.
  for (const path of [dirname(folder), folder, join(folder, 'sets'), incoming]) await nas.makeFolder(path);
  for (const name of await nas.list(incoming)) await sweep(nas, join(incoming, name));
  const own = join(incoming, runId);
  await nas.makeFolder(own);
  return own;
}

/** Writes the manifest and the sums, and renames the folder to its final name: a set is there whole, or not at all. */
export async function publishSet(
  nas: Nas,
  lineage: string,
  incoming: string,
  name: string,
  manifest: Manifest,
): Promise<string> {
  const text = manifestText(manifest);
  await nas.create(join(incoming, 'manifest.json'), text);
  const own: HashedFile = { file: 'manifest.json', bytes: Buffer.byteLength(text), sha256: sha256(text) };
  await nas.create(join(incoming, 'SHA256SUMS'), sumsText([...filesOf(manifest), own]));
  await nas.settleFolder(incoming);
  const sets = join(lineage, 'sets');
  const folder = join(sets, name);
  await move(nas, incoming, folder);
  await nas.settleFolder(sets);
  await nas.settleFolder(join(lineage, INCOMING));
  return folder;
}

/** Records what a proof found, beside the set that it is about. */
export async function writeReport(nas: Nas, folder: string, report: ProofReport): Promise<void> {
  // Written outside of the set first: a run that is killed meanwhile leaves nothing in it.
  const incoming = join(dirname(dirname(folder)), INCOMING);
  await nas.makeFolder(incoming);
  await nas.replace(join(folder, 'verify.json'), reportText(report, sha256), incoming);
}

/** LATEST names the newest proven set; without one it stays as it is. */
export async function pointLatest(
  nas: Nas,
  root: string,
  { server, lineage }: Pick<BackupSet, 'server' | 'lineage'>,
  now: number,
): Promise<void> {
  const newest = newestProven(await readLineage(nas, root, server, lineage), undefined, now);
  const folder = lineageFolder(root, server, lineage);
  const file = join(folder, 'LATEST');
  if (newest && (await nas.text(file))?.trim() !== newest.name)
    await nas.replace(file, `${newest.name}\n`, join(folder, INCOMING));
}

/** Out of sight first, in one rename: a deletion that is cut short leaves no half set among the sets. */
export async function removeSet(nas: Nas, lineage: string, set: Pick<BackupSet, 'name' | 'folder'>): Promise<void> {
  const aside = join(lineage, INCOMING, `removed-${set.name}`);
  await nas.makeFolder(join(lineage, INCOMING));
  await move(nas, set.folder, aside);
  await nas.settleFolder(join(lineage, 'sets'));
  await sweep(nas, aside);
}

/** Over NFS a rename that succeeded may be reported as failed, when the answer was lost: looked at again. */
export async function move(nas: Nas, from: string, to: string): Promise<void> {
  try {
    await nas.rename(from, to);
  } catch (error) {
    const [there, left] = await Promise.all([to, from].map((path) => nas.exists(path).catch(() => undefined)));
    if (there !== true || left !== false) throw error;
  }
}

/** A file that a program of a killed run still has open cannot be removed over NFS; a later run does. */
async function sweep(nas: Nas, path: string): Promise<void> {
  await nas.remove(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EBUSY') throw error;
  });
}
