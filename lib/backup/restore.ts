import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { HomelabError, messageOf } from '../errors.ts';
import { lastLines } from '../ports/exec.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import { dumpersFor, type Installation, majorOf, restoreJobs } from './clients.ts';
import { connectServer, type DatabaseAddress, inSession, programConnection, programEnvironment } from './connect.ts';
import { contentOf, differences } from './content.ts';
import { databaseStatements, statementsFor } from './globals.ts';
import { takeServerLock } from './lock.ts';
import type { DumpedDatabase, Manifest } from './manifest.ts';
import { quoteIdent, quoteLiteral } from './names.ts';
import { makeScratch } from './scratch.ts';
import { serverFacts } from './server-facts.ts';

/** Restoring into a real server. Nothing here drops or overwrites: what exists is renamed at the most. */

export type RestoreContext = {
  exec: Exec;
  installations: readonly Installation[];
  address: DatabaseAddress;
  /** The set's folder and manifest. */
  folder: string;
  manifest: Manifest;
  deadline: number;
};

/** Makes the database `into`, with the roles that the server lacks, and fills it. Stops at the first error. */
export async function restoreDatabase(context: RestoreContext, database: string, into: string): Promise<void> {
  const { address, manifest, folder, installations } = context;
  const dumped = contentIn(manifest, database);
  const tools = dumpersFor(majorOf(manifest.versions.client), installations);
  if (!tools)
    throw new HomelabError(
      `${dumped.file} was written by pg_dump ${manifest.versions.client}; no pg_restore here is as new`,
      {
        fix: `apt install postgresql-client-${majorOf(manifest.versions.client)}`,
      },
    );
  const { client } = await connectServer(address);
  const scratch = makeScratch();
  try {
    await takeServerLock(client, address.name);
    const env = programEnvironment(address, scratch.path);
    const run = (args: string[]): Promise<Outcome> =>
      context.exec.run([join(tools.folder, 'pg_restore'), '--no-password', ...args], {
        env: { ...env, LC_ALL: 'C', PGOPTIONS: '-c default_transaction_read_only=off' },
        deadline: context.deadline,
      });
    const { roles } = await serverFacts(client);
    const globals = await readFile(join(folder, manifest.globals.file), 'utf8');
    const missing = manifest.roles.filter((role) => !roles.includes(role));
    for (const statement of statementsFor(globals, missing)) await client.query(statement);
    await client.query(createDatabase(into, dumped));
    await succeed(run, `restoring ${JSON.stringify(into)}`, [
      ...['--exit-on-error', '--no-tablespaces', ...restoreJobs(dumped.bytes)],
      ...[`--dbname=${programConnection(address, into)}`, join(folder, dumped.file)],
    ]);
    const sql = join(scratch.path, 'database.sql');
    await succeed(run, 'reading the settings of the database', [
      ...['--create', '--use-list=/dev/null', `--file=${sql}`, join(folder, dumped.file)],
    ]);
    for (const statement of databaseStatements(await readFile(sql, 'utf8'), database, into))
      await client.query(statement);
  } finally {
    await client.end().catch(() => {});
    scratch.remove();
  }
}

/** @throws HomelabError with every table that is not as it was dumped; the database stays, to be looked at */
export async function compareDatabase(context: RestoreContext, database: string, into: string): Promise<void> {
  const found = await inSession(context.address, into, contentOf);
  const problems = differences(database, contentIn(context.manifest, database), found);
  if (problems.length > 0)
    throw new HomelabError(`${JSON.stringify(into)} is not what was dumped; it was not put in place`, {
      output: problems.join('\n'),
    });
}

/**
 * Gives `into` the name `database`, and what has it so far the name `before`: both or neither. Sessions on
 * either are ended; they cannot be renamed otherwise.
 */
export async function swapDatabases(
  { address }: Pick<RestoreContext, 'address'>,
  {
    database,
    into,
    before,
    systemIdentifier,
  }: { database: string; into: string; before: string; systemIdentifier: string },
): Promise<void> {
  const { client } = await connectServer(address);
  try {
    await takeServerLock(client, address.name);
    const facts = await serverFacts(client);
    if (facts.systemIdentifier !== systemIdentifier)
      throw new HomelabError(
        `${address.name} is another server now: its system identifier is ${facts.systemIdentifier}`,
      );
    const exists = facts.databases.some(({ name }) => name === database);
    const renames = [...(exists ? [rename(database, before)] : []), rename(into, database)];
    for (let attempt = 1; ; attempt++) {
      try {
        return await transaction(client, [database, into], renames);
      } catch (error) {
        // Somebody connected again between the end of the sessions and the rename.
        if (attempt >= SWAP_ATTEMPTS || !/accessed by other users/.test(messageOf(error)))
          throw new HomelabError(`exchanging the names: ${messageOf(error)}; nothing was renamed`, {
            fix: `stop what uses ${database}, then rename by hand, in one transaction: ${renames.join('; ')}`,
          });
      }
    }
  } finally {
    await client.end().catch(() => {});
  }
}

const SWAP_ATTEMPTS = 10;

async function transaction(client: Client, databases: string[], statements: string[]): Promise<void> {
  await client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY ($1)', [databases]);
  await client.query('BEGIN');
  try {
    for (const statement of statements) await client.query(statement);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

function rename(from: string, to: string): string {
  return `ALTER DATABASE ${quoteIdent(from)} RENAME TO ${quoteIdent(to)}`;
}

function createDatabase(name: string, { encoding, collate, ctype, provider, locale, owner }: DumpedDatabase): string {
  const option = (key: string, value: string | null): string =>
    value === null ? '' : ` ${key} ${quoteLiteral(value)}`;
  const providers: Record<string, string> = { i: ' LOCALE_PROVIDER icu', b: ' LOCALE_PROVIDER builtin' };
  const localeKey = provider === 'b' ? 'BUILTIN_LOCALE' : 'ICU_LOCALE';
  return (
    `CREATE DATABASE ${quoteIdent(name)} OWNER ${quoteIdent(owner)} TEMPLATE template0${option('ENCODING', encoding)}` +
    `${option('LC_COLLATE', collate)}${option('LC_CTYPE', ctype)}${providers[provider] ?? ''}${provider === 'c' ? '' : option(localeKey, locale)}`
  );
}

function contentIn(manifest: Manifest, database: string): DumpedDatabase {
  const dumped = Object.hasOwn(manifest.databases, database) ? manifest.databases[database] : undefined;
  if (!dumped) throw new HomelabError(`the set has no database ${JSON.stringify(database)}`);
  return dumped;
}

async function succeed(run: (args: string[]) => Promise<Outcome>, what: string, args: string[]): Promise<void> {
  const { code, stdout, stderr } = await run(args);
  if (code !== 0)
    throw new HomelabError(`${what}: pg_restore ended with exit code ${code}`, { output: lastLines(stderr || stdout) });
}
