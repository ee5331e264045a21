import { join } from 'node:path';
import { HomelabError } from '../errors.ts';
import { lastLines } from '../ports/exec.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import type { Installation } from './clients.ts';
import { type DatabaseAddress, programConnection } from './connect.ts';
import { TableChanged } from './content.ts';
import { type DumpedDatabase, type HashedFile, sumsText } from './manifest.ts';
import type { Nas } from './nas.ts';
import { sha256 } from './sets.ts';

/** PostgreSQL's own programs, as a dump calls them, and what they say when they fail. */

export type DumpContext = {
  exec: Exec;
  nas: Nas;
  tools: Installation;
  /** Of the server. */
  major: number;
  address: DatabaseAddress;
  /** With PGPASSFILE; see connect.ts. */
  env: Record<string, string>;
  /** Where the files go. */
  folder: string;
  /** Seconds that a program may take from now on. */
  deadline: () => number;
  /** Aborted when nobody waits for the dump any more. */
  signal?: AbortSignal;
};

/** Seconds. */
export const LOCK_WAIT = 300;

/** Roles, memberships and tablespaces, with the roles' password hashes. */
export async function dumpGlobals(context: DumpContext, database: string): Promise<HashedFile> {
  const file = 'globals.sql';
  const path = join(context.folder, file);
  const outcome = await program(context, 'pg_dumpall', [
    '--globals-only',
    '--no-password',
    `--lock-wait-timeout=${LOCK_WAIT}s`,
    `--file=${path}`,
    `--dbname=${programConnection(context.address, database)}`,
  ]);
  if (outcome.code !== 0) throw failed('pg_dumpall', 'the roles', outcome, LOCK_WAIT);
  await context.nas.settleFile(path);
  // pg_dumpall ends with 0 also where the disk was full; its last words are there or they are not.
  if (!(await context.nas.text(path))?.includes('\n-- PostgreSQL database cluster dump complete\n'))
    throw new HomelabError(`the roles: ${file} is cut short, though pg_dumpall ended with exit code 0`, {
      cause: 'what it wrote did not reach the target, which may be full',
      fix: 'see how much room there is on the NAS',
    });
  return { file, ...(await context.nas.measure(path)) };
}

/**
 * pg_dump's --compress: zstd where what restores it knows it, which is pg_restore of this client's version at least, and
 * most likely that of the server's.
 */
export function compression(clientMajor: number, serverMajor: number): 'zstd:3' | '1' {
  return Math.min(clientMajor, serverMajor) >= 16 ? 'zstd:3' : '1';
}

type Dumping = { database: string; file: string; jobs: number; lockWait: number; snapshot: string };

/**
 * Writes a database as it is in that snapshot.
 * @throws TableChanged where somebody waits for a table, which parallel workers do not wait for
 */
export async function runDump(
  context: DumpContext,
  { database, file, jobs, lockWait, snapshot }: Dumping,
): Promise<void> {
  const run = (compress: string): Promise<Outcome> =>
    program(context, 'pg_dump', [
      ...(jobs > 1 ? ['--format=directory', `--jobs=${jobs}`] : ['--format=custom']),
      '--no-password',
      `--lock-wait-timeout=${lockWait}s`,
      `--snapshot=${snapshot}`,
      `--compress=${compress}`,
      // A file and not a pipe: through a pipe pg_dump's failures, and the disk's, are lost.
      `--file=${join(context.folder, file)}`,
      `--dbname=${programConnection(context.address, database)}`,
    ]);
  let outcome = await run(compression(context.tools.major, context.major));
  // A pg_dump that was built without zstd says so before it connects.
  if (outcome.code !== 0 && /does not support compression/i.test(outcome.stderr)) outcome = await run('1');
  const busy = BUSY.exec(outcome.stderr)?.[1];
  if (outcome.code !== 0 && busy) throw new TableChanged([busy]);
  if (outcome.code !== 0) throw failed('pg_dump', `database ${JSON.stringify(database)}`, outcome, lockWait);
}

type Finished = Pick<DumpedDatabase, 'file' | 'bytes' | 'sha256' | 'format' | 'parts'>;

/**
 * On disk; hashed from what was read back; and read through, which is the only check that finds a short file. Both
 * read what was just written, side by side.
 */
export async function finishDump(context: DumpContext, file: string, isFolder: boolean): Promise<Finished> {
  const path = join(context.folder, file);
  const parts = isFolder ? (await context.nas.list(path)).map((name) => join(file, name)) : [file];
  for (const part of parts) await context.nas.settleFile(join(context.folder, part));
  if (isFolder) await context.nas.settleFolder(path);
  const measuring = (async () => {
    const files: HashedFile[] = [];
    for (const part of parts) files.push({ file: part, ...(await context.nas.measure(join(context.folder, part))) });
    return files;
  })();
  const reading = program(context, 'pg_restore', ['--file=/dev/null', path]);
  const [measured, read] = await Promise.allSettled([measuring, reading]);
  if (measured.status === 'rejected') throw measured.reason;
  if (read.status === 'rejected') throw read.reason;
  if (read.value.code !== 0) throw failed('pg_restore', `reading ${file} through`, read.value, LOCK_WAIT);
  const [only] = measured.value;
  if (!isFolder && only) return { ...only, format: 'custom' };
  const bytes = measured.value.reduce((sum, part) => sum + part.bytes, 0);
  return { file, bytes, sha256: sha256(sumsText(measured.value)), format: 'directory', parts: measured.value };
}

function program(
  { exec, tools, env, deadline, signal }: DumpContext,
  name: 'pg_dump' | 'pg_dumpall' | 'pg_restore',
  args: string[],
): Promise<Outcome> {
  return exec.run([join(tools.folder, name), ...args], { env: { ...env, LC_ALL: 'C' }, deadline: deadline(), signal });
}

/** With several jobs pg_dump cannot wait for a table for which somebody waits who waits for pg_dump. */
const BUSY = /could not obtain lock on relation "(.+)"/;

/** pg_dump's own wait for a lock ends as a timeout of its LOCK TABLE. */
export const LOCKED = /lock timeout|statement timeout[\s\S]*LOCK TABLE/i;

function failed(name: string, what: string, { code, stdout, stderr }: Outcome, lockWait: number): HomelabError {
  const output = lastLines(stderr || stdout);
  const explained = `${what}: ${name} ended with exit code ${code}`;
  if (/no space left|disk quota/i.test(output))
    return new HomelabError(explained, {
      output,
      cause: 'the target is full',
      fix: 'make room on the NAS, or lower backup.keep',
    });
  if (LOCKED.test(output)) return new HomelabError(explained, { output, ...whereLocked(lockWait) });
  return new HomelabError(explained, { output });
}

/** The advice where a table stayed locked. */
export function whereLocked(seconds: number) {
  return {
    cause: `a table was locked for longer than ${seconds} s`,
    fix: 'see who holds it (pg_locks), or run when nobody does; lock_wait_seconds of the database says how long is waited',
  };
}
