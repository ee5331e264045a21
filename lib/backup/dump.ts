import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { HomelabError } from '../errors.ts';
import { lastLines } from '../ports/exec.ts';
import { hashFile } from '../ports/files.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import type { Installation } from './clients.ts';
import { connect, type DatabaseAddress, programConnection } from './connect.ts';
import { contentOf } from './content.ts';
import { settleFile } from './durable.ts';
import type { DumpedDatabase, HashedFile } from './manifest.ts';
import { dumpFileOf } from './names.ts';

export type DumpContext = {
  exec: Exec;
  tools: Installation;
  address: DatabaseAddress;
  /** With PGPASSFILE; see connect.ts. */
  env: Record<string, string>;
  /** Where the files go. */
  folder: string;
  /** Seconds for each program. */
  deadline: number;
};

/** A table that is locked for longer than this fails the dump instead of hanging it. */
const LOCK_WAIT = '300s';

/**
 * Dumps one database and counts it in the same snapshot, so that a restore can be compared with it whatever
 * was written meanwhile. The file is on disk, hashed and read through when this returns.
 */
export async function dumpDatabase(context: DumpContext, database: string): Promise<DumpedDatabase> {
  const file = dumpFileOf(database);
  const path = join(context.folder, file);
  const session = await connect(context.address, database);
  try {
    await session.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    const snapshot = await session.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
    const dumping = dump(context, database, path, String(snapshot.rows[0]?.id));
    const described = (async () => ({ ...(await propertiesOf(session)), ...(await contentOf(session)) }))();
    // Both are waited for before either's failure is told: no program may go on writing into the folder.
    const [dumped, facts] = await Promise.allSettled([dumping, described]);
    if (dumped.status === 'rejected') throw dumped.reason;
    if (facts.status === 'rejected')
      throw new HomelabError(`counting ${JSON.stringify(database)}: ${String(facts.reason)}`);
    const finished = await finish(context, file, path);
    return { ...finished, ...facts.value };
  } finally {
    await session.end().catch(() => {});
  }
}

/** Roles, memberships and tablespaces, with the roles' password hashes. */
export async function dumpGlobals(context: DumpContext, database: string): Promise<HashedFile> {
  const file = 'globals.sql';
  const path = join(context.folder, file);
  await program(
    context,
    'pg_dumpall',
    [
      '--globals-only',
      '--no-password',
      `--lock-wait-timeout=${LOCK_WAIT}`,
      `--file=${path}`,
      `--dbname=${programConnection(context.address, database)}`,
    ],
    'the roles',
  );
  await settleFile(path);
  return { file, ...(await measured(path)) };
}

async function dump(context: DumpContext, database: string, path: string, snapshot: string): Promise<void> {
  const args = [
    '--format=custom',
    '--no-password',
    `--lock-wait-timeout=${LOCK_WAIT}`,
    `--snapshot=${snapshot}`,
    context.tools.major >= 16 ? '--compress=zstd:3' : '--compress=1',
    // A file and not a pipe: through a pipe pg_dump's failures, and the disk's, are lost.
    `--file=${path}`,
    `--dbname=${programConnection(context.address, database)}`,
  ];
  await program(context, 'pg_dump', args, `database ${JSON.stringify(database)}`);
}

/** On disk; hashed from what was read back; and read through, which is the only check that finds a short file. */
async function finish(context: DumpContext, file: string, path: string): Promise<HashedFile> {
  await settleFile(path);
  const hashed = await measured(path);
  await program(context, 'pg_restore', ['--file=/dev/null', path], `reading ${file} through`);
  return { file, ...hashed };
}

async function measured(path: string): Promise<{ bytes: number; sha256: string }> {
  return { bytes: (await stat(path)).size, sha256: await hashFile(path) };
}

async function program({ exec, tools, env, deadline }: DumpContext, name: string, args: string[], what: string) {
  const outcome = await exec.run([join(tools.folder, name), ...args], { env: { ...env, LC_ALL: 'C' }, deadline });
  if (outcome.code !== 0) throw failed(name, what, outcome);
}

function failed(name: string, what: string, { code, stdout, stderr }: Outcome): HomelabError {
  const output = lastLines(stderr || stdout);
  const full = /no space left|disk quota/i.test(output);
  const locked = /lock timeout|canceling statement due to lock/i.test(output);
  return new HomelabError(`${what}: ${name} ended with exit code ${code}`, {
    output,
    cause: full ? 'the target is full' : locked ? `a table was locked for longer than ${LOCK_WAIT}` : undefined,
    fix: full ? 'make room on the NAS, or lower backup.keep' : undefined,
  });
}

type Properties = Omit<DumpedDatabase, keyof HashedFile | 'tables' | 'large_objects'>;

async function propertiesOf(client: Client): Promise<Properties> {
  const { rows } = await client.query<{
    database: Record<string, string | null>;
    owner: string;
    encoding: string;
    settings: string[];
    extensions: Record<string, string> | null;
  }>(`SELECT to_jsonb(d) AS database, pg_get_userbyid(d.datdba) AS owner, pg_encoding_to_char(d.encoding) AS encoding,
       ARRAY(SELECT DISTINCT split_part(s, '=', 1) FROM pg_db_role_setting r, unnest(r.setconfig) s
              WHERE r.setdatabase = d.oid ORDER BY 1) AS settings,
       (SELECT jsonb_object_agg(extname, extversion) FROM pg_extension) AS extensions
     FROM pg_database d WHERE d.datname = current_database()`);
  const [row] = rows;
  if (!row) throw new Error('pg_database does not hold the current database');
  const { database } = row;
  return {
    owner: row.owner,
    encoding: row.encoding,
    collate: database.datcollate ?? null,
    ctype: database.datctype ?? null,
    provider: database.datlocprovider ?? 'c',
    // Its column was renamed in PostgreSQL 17.
    locale: database.datlocale ?? database.daticulocale ?? null,
    settings: row.settings,
    extensions: row.extensions ?? {},
  };
}
