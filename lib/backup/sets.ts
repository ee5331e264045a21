import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { FilesReader } from '../ports/types.ts';
import { type EncryptedContent, readEncryptedSet } from './encrypted.ts';
import { type HashedFile, type Manifest, type ProofReport, parseManifest, parseReport } from './manifest.ts';
import { timeOfSet } from './names.ts';
import type { Nas, Peek } from './nas.ts';

/**
 * What lies on the target:
 *
 *     <server>/<system_identifier>/sets/<UTC>-<run>/{<db>.dump,globals.sql,manifest.json,SHA256SUMS,verify.json}
 *                                 /.incoming/<run>/     what is not finished; never counts
 *                                 /LATEST               the newest proven set
 *                                 /RETIRED              an owner's: nobody needs to be told of this lineage
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
  /** Its lineage's folder says that nobody needs to be told of it any more. */
  retired?: true;
  bytes: number;
  databases: string[];
  /** Of the newest ones of a lineage, and of those that are read one by one; not of an encrypted set (encrypted.ts). */
  manifest?: Manifest;
  encrypted?: EncryptedContent;
  /** Plain files of an encrypted set that were not deleted yet. */
  leftovers?: string[];
  report?: ProofReport;
  /** The manifest is another set's, or another lineage's. */
  manifestOfAnother?: boolean;
  /** Why it is not proven. */
  problem?: string;
};

/** The NAS, or files of this machine. */
export type SetsReader = FilesReader & Partial<Pick<Nas, 'peek'>>;

/** The folder of one server's one lineage. */
export function lineageFolder(root: string, server: string, systemIdentifier: string): string {
  return join(root, server, systemIdentifier);
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** A server's sets of all lineages, newest first. What is no set of ours is left out, and so never touched. */
export async function readSets(files: SetsReader, root: string, server: string): Promise<BackupSet[]> {
  const lineages = (await files.list(join(root, server))).filter((name) => /^\d+$/.test(name));
  const sets = await Promise.all(lineages.map((lineage) => readLineage(files, root, server, lineage)));
  return sets.flat().sort(newestFirst);
}

/** One lineage's sets, newest first. */
export async function readLineage(
  files: SetsReader,
  root: string,
  server: string,
  lineage: string,
): Promise<BackupSet[]> {
  const folder = join(lineageFolder(root, server, lineage), 'sets');
  const retired = await files.exists(join(lineageFolder(root, server, lineage), 'RETIRED'));
  const names = (await files.list(folder)).filter((name) => timeOfSet(name) !== undefined).reverse();
  const sets: BackupSet[] = [];
  // A few at a time: a target with thousands of sets must not open thousands of files at once.
  for (let i = 0; i < names.length; i += SIDE_BY_SIDE)
    sets.push(
      ...(await Promise.all(
        names
          .slice(i, i + SIDE_BY_SIDE)
          .map((name, j) =>
            readSet(files, { server, lineage, name, folder: join(folder, name) }, i + j < WITH_MANIFEST),
          ),
      )),
    );
  sets.sort(newestFirst);
  // The proven ones that others are compared with, however many that failed are newer.
  const proven = sets.filter(({ state }) => state === 'proven').slice(0, 2);
  const whole = await Promise.all(proven.map((set) => (set.manifest ? set : readSet(files, set, true))));
  const all = sets.map((set) => whole.find(({ name }) => name === set.name) ?? set);
  return retired ? all.map((set) => ({ ...set, retired })) : all;
}

/** One set, with its manifest; undefined when it is not there. */
export async function readOneSet(
  files: SetsReader,
  root: string,
  server: string,
  lineage: string,
  name: string,
): Promise<BackupSet | undefined> {
  const folder = join(lineageFolder(root, server, lineage), 'sets', name);
  if (timeOfSet(name) === undefined || !(await files.exists(folder))) return undefined;
  return readSet(files, { server, lineage, name, folder }, true);
}

const SIDE_BY_SIDE = 32;
/** So many of the newest sets of a lineage carry their manifests: those of thousands would fill the memory. */
const WITH_MANIFEST = 50;

function newestFirst(a: BackupSet, b: BackupSet): number {
  return b.time - a.time || (a.name < b.name ? 1 : -1);
}

type SetPlace = Pick<BackupSet, 'server' | 'lineage' | 'name' | 'folder'>;

async function readSet(files: SetsReader, place: SetPlace, withManifest: boolean): Promise<BackupSet> {
  const manifestFile = join(place.folder, 'manifest.json');
  const { hash, proof, pinned } = files.peek ? await files.peek(place.folder) : await peek(files, place.folder);
  const set = { ...place, time: timeOfSet(place.name) ?? 0, pinned, bytes: 0, databases: [] };
  if (hash === undefined) return readEncryptedSet(files, set, proof, sha256);
  const report = proof === undefined ? undefined : parseReport(proof, sha256);
  // What a proof was of is as it was then, and need not be looked through once more.
  const proven = report && !('damaged' in report) && report.manifest_sha256 === hash ? report.of : undefined;
  const manifest = proven && !withManifest ? undefined : parseManifest((await files.text(manifestFile)) ?? '');
  if (manifest && 'damaged' in manifest)
    return { ...set, state: 'damaged', problem: `manifest.json: ${manifest.damaged}` };
  const summary = manifest ? summaryOf(manifest) : proven;
  if (!summary) throw new Error('a set has a manifest, or the summary of it');
  const { bytes, databases } = summary;
  const known = { ...set, bytes, databases, ...(withManifest && { manifest }) };
  if (summary.system_identifier !== place.lineage || summary.server !== place.server)
    return {
      ...known,
      state: 'damaged',
      manifestOfAnother: true,
      problem: `manifest.json is of ${summary.server}/${summary.system_identifier}`,
    };
  if (report === undefined) return { ...known, state: 'unproven', problem: 'it was never restored' };
  if ('damaged' in report) return { ...known, state: 'damaged', problem: `verify.json: ${report.damaged}` };
  if (report.set !== place.name)
    return { ...known, report, state: 'damaged', problem: `verify.json is the proof of ${report.set}` };
  if (report.manifest_sha256 !== hash)
    return { ...known, report, state: 'damaged', problem: 'manifest.json is not as it was when the set was proven' };
  if (!report.ok) return { ...known, report, state: 'unproven', problem: report.problems[0] ?? 'its proof failed' };
  return { ...known, report, state: 'proven' };
}

async function peek(files: FilesReader, folder: string): Promise<Peek> {
  const [hash, proof, pinned] = await Promise.all([
    files.sha256(join(folder, 'manifest.json')),
    files.text(join(folder, 'verify.json')),
    files.exists(join(folder, 'PINNED')),
  ]);
  return { hash, proof, pinned };
}

/** What a list says of a set. */
export function summaryOf(manifest: Manifest): NonNullable<ProofReport['of']> {
  const bytes = filesOf(manifest).reduce((sum, file) => sum + file.bytes, 0);
  const { server, system_identifier } = manifest;
  return { server, system_identifier, bytes, databases: Object.keys(manifest.databases) };
}

/** The dumps (of one that is a folder, each file in it) and the globals. */
export function filesOf(manifest: Manifest): HashedFile[] {
  const dumps = Object.values(manifest.databases).flatMap(
    ({ file, bytes, sha256, parts }) => parts ?? [{ file, bytes, sha256 }],
  );
  return [...dumps, manifest.globals];
}
