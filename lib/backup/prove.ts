import { join } from 'node:path';
import { HomelabError, messageOf } from '../errors.ts';
import type { Exec } from '../ports/types.ts';
import { type Installation, majorOf, proversFor } from './clients.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { NEVER_COMPARED, notCompared } from './content.ts';
import { missingExtensions, settingsFor } from './extensions.ts';
import { type Manifest, type ProofReport, sumsText } from './manifest.ts';
import type { Nas } from './nas.ts';
import { hashFromDisk } from './pour.ts';
import { restorer } from './prove-restore.ts';
import { makeScratch } from './scratch.ts';
import { filesOf, sha256, summaryOf } from './sets.ts';
import { UNCOMPUTED } from './uncomputed.ts';

export type ProofContext = { exec: Exec; nas: Nas; installations: readonly Installation[]; deadline: number };

/**
 * Proves a published set: hashes every file, restores roles and databases from the target's bytes into a
 * throw-away server, and compares every table with what the snapshot held.
 * @returns what was found, good or bad; throws only where nothing can be said about the set
 */
export async function proveSet(
  { exec, nas, installations, deadline }: ProofContext,
  set: { name: string; folder: string; manifest: Manifest },
): Promise<ProofReport> {
  const began = performance.now();
  const { manifest, folder } = set;
  const tools = proversFor(majorOf(manifest.versions.client), installations);
  if (!tools) throw noProver(majorOf(manifest.versions.server));
  const contents = Object.values(manifest.databases);
  const sameVersion = tools.major === majorOf(manifest.versions.server);
  const uncomputed: string[] = [];
  const report = (problems: string[], differing: string[]): ProofReport => ({
    format: 1,
    set: set.name,
    ok: problems.length === 0,
    checked: new Date().toISOString(),
    seconds: Math.round(performance.now() - began) / 1000,
    server_version: tools.version,
    manifest_sha256: '',
    databases: contents.length,
    tables: contents.reduce((sum, { tables }) => sum + Object.keys(tables).length, 0),
    rows: contents.flatMap(({ tables }) => Object.values(tables)).reduce((sum, { rows }) => sum + rows, 0),
    problems,
    differences: differing,
    of: summaryOf(manifest),
    not_compared: [
      ...NEVER_COMPARED,
      ...Object.entries(manifest.databases).flatMap(([name, one]) => notCompared(name, one, sameVersion)),
      ...uncomputed.map((name) => `${JSON.stringify(name)}: ${UNCOMPUTED}`),
    ],
  });
  const { sha256: manifestSha256 } = await nas.measure(join(folder, 'manifest.json'));
  const damaged = await damagedFiles(exec, nas, folder, manifest);
  if (damaged.length > 0) return { ...report(damaged, []), manifest_sha256: manifestSha256 };

  const differing = sameVersion ? [] : [`restored into PostgreSQL ${tools.version}`];
  const scratch = makeScratch();
  let cluster: Cluster | undefined;
  try {
    cluster = await startForProof(exec, tools, scratch.path, manifest);
    const restore = await restorer(exec, nas, tools, cluster, manifest, folder, deadline);
    const available = await restore.extensions();
    const problems = await restore.globals();
    for (const [name, database] of Object.entries(manifest.databases)) {
      const missing = missingExtensions(name, database, available, tools.major);
      problems.push(...(missing.length > 0 ? missing : await restore.database(name, database, differing, uncomputed)));
    }
    return { ...report(problems, differing), manifest_sha256: manifestSha256 };
  } finally {
    await cluster?.stop();
    scratch.remove();
  }
}

/** A server of the set's, with what its extensions ask for. */
async function startForProof(exec: Exec, tools: Installation, folder: string, manifest: Manifest): Promise<Cluster> {
  const options = { folder, superuser: manifest.bootstrap_role };
  const settings = settingsFor(manifest);
  try {
    return await startCluster(exec, tools, { ...options, settings: { ...ALONE, ...settings } });
  } catch (error) {
    // Such an extension is not here; it is named by itself.
    if (!(error instanceof HomelabError && /could not access file/.test(error.output ?? ''))) throw error;
    return startCluster(exec, tools, { ...options, settings: ALONE });
  }
}

/**
 * Restored subscriptions are disabled; should one be enabled all the same, nobody connects. And nobody tidies tables that
 * are read once.
 */
const ALONE = { max_logical_replication_workers: '0', autovacuum: 'off' };

/**
 * Files that are missing, short or flipped: each compared with the manifest, and the manifest with SHA256SUMS. Read from
 * the target, not from what this machine's memory still has of writing it; what is restored next is what was read.
 * @param only databases; the dumps of others are left out
 */
export async function damagedFiles(
  exec: Exec,
  nas: Nas,
  folder: string,
  manifest: Manifest,
  only?: readonly string[],
): Promise<string[]> {
  const problems: string[] = [];
  const left = Object.entries(manifest.databases).flatMap(([name, { file, parts }]) =>
    only?.includes(name) === false ? (parts?.map((part) => part.file) ?? [file]) : [],
  );
  for (const { file, sha256: expected } of filesOf(manifest).filter((one) => !left.includes(one.file))) {
    const found = await hashOrReason(exec, nas, join(folder, file));
    if (found !== expected)
      problems.push(`${file}: ${found.length === 64 ? 'its SHA-256 is not the manifest’s' : found}`);
  }
  const text = (await nas.text(join(folder, 'manifest.json'))) ?? '';
  const own = { file: 'manifest.json', bytes: Buffer.byteLength(text), sha256: sha256(text) };
  const sums = await nas.text(join(folder, 'SHA256SUMS'));
  if (sums !== sumsText([...filesOf(manifest), own])) problems.push('SHA256SUMS does not fit the manifest');
  return problems;
}

function noProver(major: number): HomelabError {
  return new HomelabError(`no PostgreSQL server of version ${major} or newer on this machine: nothing can be proven`, {
    fix: `apt install postgresql-${major} (macOS: brew install postgresql@${major})`,
  });
}

async function hashOrReason(exec: Exec, nas: Nas, path: string): Promise<string> {
  return hashFromDisk(exec, nas, path).catch((error: NodeJS.ErrnoException) =>
    error.code === 'ENOENT' ? 'it is missing' : messageOf(error),
  );
}
