import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { FilesReader } from '../ports/types.ts';
import { type HashedFile, type Manifest, type ProofReport, parseManifest, parseReport } from './manifest.ts';
import { timeOfSet } from './names.ts';

/**
 * What lies on the target:
 *
 *     <server>/<system_identifier>/sets/<UTC>-<run>/{<db>.dump,globals.sql,manifest.json,SHA256SUMS,verify.json}
 *                                 /.incoming/<run>/     what is not finished; never counts
 *                                 /LATEST               the newest proven set
 */

/** One published set. `proven`: it was restored and compared, and says so in a report that fits its manifest. */
export type BackupSet = {
  name: string;
  server: string;
  lineage: string;
  folder: string;
  /** Milliseconds since 1970. */
  time: number;
  state: 'proven' | 'unproven' | 'damaged';
  pinned: boolean;
  bytes: number;
  databases: string[];
  manifest?: Manifest;
  report?: ProofReport;
  /** Why it is not proven. */
  problem?: string;
};

/** The folder of one server's one lineage. */
export function lineageFolder(root: string, server: string, systemIdentifier: string): string {
  return join(root, server, systemIdentifier);
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** A server's sets of all lineages, newest first. What is no set of ours is left out, and so never touched. */
export async function readSets(files: FilesReader, root: string, server: string): Promise<BackupSet[]> {
  const lineages = (await files.list(join(root, server))).filter((name) => /^\d+$/.test(name));
  const sets = await Promise.all(lineages.map((lineage) => readLineage(files, root, server, lineage)));
  return sets.flat().sort((a, b) => b.time - a.time || (a.name < b.name ? 1 : -1));
}

export async function readLineage(
  files: FilesReader,
  root: string,
  server: string,
  lineage: string,
): Promise<BackupSet[]> {
  const folder = join(lineageFolder(root, server, lineage), 'sets');
  const names = (await files.list(folder)).filter((name) => timeOfSet(name) !== undefined);
  const sets: BackupSet[] = [];
  // A few at a time: a target with thousands of sets must not open thousands of files at once.
  for (let i = 0; i < names.length; i += 16)
    sets.push(
      ...(await Promise.all(
        names.slice(i, i + 16).map((name) => readSet(files, { server, lineage, name, folder: join(folder, name) })),
      )),
    );
  return sets;
}

type SetPlace = Pick<BackupSet, 'server' | 'lineage' | 'name' | 'folder'>;

async function readSet(files: FilesReader, place: SetPlace): Promise<BackupSet> {
  const [manifestText, proof, pinned] = await Promise.all([
    files.text(join(place.folder, 'manifest.json')),
    files.text(join(place.folder, 'verify.json')),
    files.exists(join(place.folder, 'PINNED')),
  ]);
  const set = { ...place, time: timeOfSet(place.name) ?? 0, pinned, bytes: 0, databases: [] };
  if (manifestText === undefined) return { ...set, state: 'damaged', problem: 'manifest.json is missing' };
  const manifest = parseManifest(manifestText);
  if ('damaged' in manifest) return { ...set, state: 'damaged', problem: `manifest.json: ${manifest.damaged}` };
  const bytes = filesOf(manifest).reduce((sum, file) => sum + file.bytes, 0);
  const known = { ...set, manifest, bytes, databases: Object.keys(manifest.databases) };
  if (manifest.system_identifier !== place.lineage || manifest.server !== place.server)
    return {
      ...known,
      state: 'damaged',
      problem: `manifest.json is of ${manifest.server}/${manifest.system_identifier}`,
    };
  if (proof === undefined) return { ...known, state: 'unproven', problem: 'it was never restored' };
  const report = parseReport(proof, sha256);
  if ('damaged' in report) return { ...known, state: 'damaged', problem: `verify.json: ${report.damaged}` };
  if (report.set !== place.name || report.manifest_sha256 !== sha256(manifestText))
    return { ...known, report, state: 'damaged', problem: 'verify.json is the proof of something else' };
  if (!report.ok) return { ...known, report, state: 'unproven', problem: report.problems[0] ?? 'its proof failed' };
  return { ...known, report, state: 'proven' };
}

/** The dumps and the globals. */
export function filesOf(manifest: Manifest): HashedFile[] {
  return [
    ...Object.values(manifest.databases).map(({ file, bytes, sha256 }) => ({ file, bytes, sha256 })),
    manifest.globals,
  ];
}
