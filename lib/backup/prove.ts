import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HomelabError, messageOf } from '../errors.ts';
import { hashFile } from '../ports/files.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import { type Installation, majorOf, proversFor, restoreJobs } from './clients.ts';
import { type Cluster, spaceFix, startCluster } from './cluster.ts';
import { type DatabaseAddress, inSession, programConnection } from './connect.ts';
import { contentOf, differences } from './content.ts';
import { withoutTablespaces } from './globals.ts';
import { type DumpedDatabase, type Manifest, type ProofReport, sumsText } from './manifest.ts';
import { quoteIdent, quoteLiteral } from './names.ts';
import { makeScratch } from './scratch.ts';
import { filesOf, sha256 } from './sets.ts';

export type ProofContext = { exec: Exec; installations: readonly Installation[]; deadline: number };

/**
 * Proves a published set: hashes every file, restores roles and databases from the target's bytes into a
 * throw-away server, and compares every table with what the snapshot held.
 * @returns what was found, good or bad; throws only where nothing can be said about the set
 */
export async function proveSet(
  { exec, installations, deadline }: ProofContext,
  set: { name: string; folder: string; manifest: Manifest },
): Promise<ProofReport> {
  const began = performance.now();
  const { manifest, folder } = set;
  const tools = proversFor(majorOf(manifest.versions.client), installations);
  if (!tools) throw noProver(majorOf(manifest.versions.server));
  const contents = Object.values(manifest.databases);
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
  });
  const manifestSha256 = await hashFile(join(folder, 'manifest.json'));
  const damaged = await damagedFiles(folder, manifest);
  if (damaged.length > 0) return { ...report(damaged, []), manifest_sha256: manifestSha256 };

  const differing =
    tools.major === majorOf(manifest.versions.server) ? [] : [`restored into PostgreSQL ${tools.version}`];
  const scratch = makeScratch();
  let cluster: Cluster | undefined;
  try {
    cluster = await startCluster(exec, tools, { folder: scratch.path, superuser: manifest.bootstrap_role });
    const restore = await restorer(exec, tools, cluster, manifest, folder, deadline);
    const problems = await restore.globals();
    for (const [name, database] of Object.entries(manifest.databases))
      problems.push(...(await restore.database(name, database, differing)));
    return { ...report(problems, differing), manifest_sha256: manifestSha256 };
  } finally {
    await cluster?.stop();
    scratch.remove();
  }
}

/** Files that are missing, short or flipped: each compared with the manifest, and the manifest with SHA256SUMS. */
export async function damagedFiles(folder: string, manifest: Manifest): Promise<string[]> {
  const problems: string[] = [];
  for (const { file, sha256: expected } of filesOf(manifest)) {
    const found = await hashOrReason(join(folder, file));
    if (found !== expected)
      problems.push(`${file}: ${found.length === 64 ? 'its SHA-256 is not the manifest’s' : found}`);
  }
  const text = await readFile(join(folder, 'manifest.json'), 'utf8');
  const own = { file: 'manifest.json', bytes: Buffer.byteLength(text), sha256: sha256(text) };
  const sums = await readFile(join(folder, 'SHA256SUMS'), 'utf8').catch(messageOf);
  if (sums !== sumsText([...filesOf(manifest), own])) problems.push('SHA256SUMS does not fit the manifest');
  return problems;
}

function noProver(major: number): HomelabError {
  return new HomelabError(`no PostgreSQL server of version ${major} or newer on this machine: nothing can be proven`, {
    fix: `apt install postgresql-${major} (macOS: brew install postgresql@${major})`,
  });
}

async function hashOrReason(path: string): Promise<string> {
  return hashFile(path).catch((error: NodeJS.ErrnoException) =>
    error.code === 'ENOENT' ? 'it is missing' : messageOf(error),
  );
}

async function restorer(
  exec: Exec,
  tools: Installation,
  cluster: Cluster,
  manifest: Manifest,
  folder: string,
  deadline: number,
) {
  // A superuser of our own: the globals may well take LOGIN from the one that initdb made.
  const proof = `homelab_proof_${manifest.run}`;
  await inSession(cluster.address, 'template1', async (client) => {
    await client.query(`CREATE ROLE ${quoteIdent(proof)} SUPERUSER LOGIN`);
    // Our own, empty one: the dump brings its own `postgres`.
    await client.query('DROP DATABASE postgres');
  });
  const address: DatabaseAddress = { ...cluster.address, user: proof };
  const run = (name: string, args: string[]): Promise<Outcome> =>
    exec.run([join(tools.folder, name), ...args], {
      // A database may be set to be read-only; what a session asks for at its start wins.
      env: { LC_ALL: 'C', PGOPTIONS: '-c default_transaction_read_only=off' },
      deadline,
    });
  const restore = (args: string[], { file, bytes }: DumpedDatabase, into: string): Promise<Outcome> =>
    run('pg_restore', [
      ...['--exit-on-error', '--no-tablespaces', '--no-password', ...restoreJobs(bytes)],
      ...[...args, `--dbname=${programConnection(address, into)}`, join(folder, file)],
    ]);

  return {
    async globals(): Promise<string[]> {
      const scratch = makeScratch();
      try {
        const file = join(scratch.path, 'globals.sql');
        const text = await readFile(join(folder, manifest.globals.file), 'utf8');
        writeFileSync(file, withoutTablespaces(text, manifest.bootstrap_role), { mode: 0o600 });
        const outcome = await run('psql', [
          ...['--no-psqlrc', '--quiet', '--no-password', '--set=ON_ERROR_STOP=1', `--file=${file}`],
          `--dbname=${programConnection(address, 'template1')}`,
        ]);
        return outcome.code === 0 ? [] : [`the roles were not restored: ${explain(outcome)}`];
      } finally {
        scratch.remove();
      }
    },

    async database(name: string, dumped: DumpedDatabase, differing: string[]): Promise<string[]> {
      let outcome = await restore(['--create'], dumped, 'template1');
      if (outcome.code !== 0 && UNKNOWN_LOCALE.test(outcome.stderr)) {
        differing.push(
          `${JSON.stringify(name)} was restored with the locale C: this machine does not know ${dumped.collate}`,
        );
        await inSession(address, 'template1', async (client) => {
          await client.query(`DROP DATABASE IF EXISTS ${quoteIdent(name)}`);
          await client.query(
            `CREATE DATABASE ${quoteIdent(name)} TEMPLATE template0 ENCODING ${quoteLiteral(dumped.encoding)} LC_COLLATE 'C' LC_CTYPE 'C'`,
          );
        });
        outcome = await restore([], dumped, name);
      }
      if (outcome.code !== 0) return [`${JSON.stringify(name)} was not restored: ${explain(outcome)}`];
      return differences(name, dumped, await inSession(address, name, contentOf));
    },
  };
}

/** Locales have other names on other systems (en_US.utf8, en_US.UTF-8), and may not be installed. */
const UNKNOWN_LOCALE = /invalid (LC_COLLATE |LC_CTYPE )?locale name|could not create locale|could not open collator/i;

/** @throws HomelabError where it was this machine's disk and not the set */
function explain(outcome: Outcome): string {
  const lines = (outcome.stderr || outcome.stdout).trim().split('\n');
  const first = Math.max(
    lines.findIndex((line) => /\berror:/i.test(line)),
    0,
  );
  const output = lines.slice(first, first + 8).join('\n');
  const space = spaceFix(outcome.stderr);
  if (space.fix)
    throw new HomelabError('the throw-away server ran out of disk; the set was not judged', { ...space, output });
  return output;
}
