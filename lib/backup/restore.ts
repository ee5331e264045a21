import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { HomelabError, messageOf } from '../errors.ts';
import { lastLines } from '../ports/exec.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import { dumpersFor, type Installation, majorOf, restoreJobs } from './clients.ts';
import { connectServer, type DatabaseAddress, inSession, programConnection, programEnvironment } from './connect.ts';
import { contentOf, differences, sequencesOf } from './content.ts';
import { discreetOutput } from './discreet-output.ts';
import { databaseStatements, statementsFor, withoutGrantor } from './globals.ts';
import { takeServerLock } from './lock.ts';
import type { DumpedDatabase, Manifest } from './manifest.ts';
import { quoteIdent, quoteLiteral } from './names.ts';
import { makeScratch } from './scratch.ts';
import { serverFacts } from './server-facts.ts';
import { requireServer } from './swap.ts';
import { restoreDump, UNCOMPUTED } from './uncomputed.ts';

/** Restoring into a real server. Nothing here drops or overwrites: what exists is renamed at the most. */

export type RestoreContext = {
  exec: Exec;
  installations: readonly Installation[];
  address: DatabaseAddress;
  /** The set's folder and manifest. */
  folder: string;
  manifest: Manifest;
  /** Of the server into which it is restored. */
  systemIdentifier: string;
  major: number;
  deadline: number;
};

/** Makes the roles that the server lacks, with their memberships; those that exist are left alone. */
export async function restoreRoles(context: RestoreContext): Promise<void> {
  const { address, manifest, folder } = context;
  const { client } = await connectServer(address);
  try {
    await takeServerLock(client, address.name);
    const { roles, systemIdentifier } = await serverFacts(client);
    requireServer(address, systemIdentifier, context.systemIdentifier);
    const globals = await readFile(join(folder, manifest.globals.file), 'utf8');
    const missing = manifest.roles.filter((role) => !roles.includes(role));
    // All or none: of a role that is half made, the next run would take it for one that exists.
    await client.query('BEGIN');
    for (const statement of statementsFor(globals, missing)) await grantedAnyhow(client, statement);
    await client.query('COMMIT');
  } catch (error) {
    if (error instanceof HomelabError) throw error;
    throw new HomelabError(`making the roles: ${messageOf(error)}; none was made`);
  } finally {
    await client.end().catch(() => {});
  }
}

/** From 16 on a membership may be refused because of who granted it; then whoever restores grants it. */
async function grantedAnyhow(client: Client, statement: string): Promise<void> {
  await client.query('SAVEPOINT one');
  try {
    await client.query(statement);
  } catch (error) {
    const other = withoutGrantor(statement);
    if (other === statement) throw error;
    await client.query('ROLLBACK TO one');
    await client.query(other);
  }
  await client.query('RELEASE one');
}

/**
 * Makes the database `into` and fills it. Stops at the first error, and leaves what it made.
 * @returns what could not be restored here, in words
 */
export async function restoreDatabase(
  context: RestoreContext,
  database: string,
  into: string,
): Promise<string | undefined> {
  const { address, manifest, folder } = context;
  const dumped = contentIn(manifest, database);
  const tools = restorersFor(context);
  const { client } = await connectServer(address);
  const scratch = makeScratch();
  try {
    await takeServerLock(client, address.name);
    const facts = await serverFacts(client);
    requireServer(address, facts.systemIdentifier, context.systemIdentifier);
    const env = programEnvironment(address, scratch.path);
    const run = (args: string[]): Promise<Outcome> =>
      context.exec.run([join(tools.folder, 'pg_restore'), '--no-password', ...args], {
        env: { ...env, LC_ALL: 'C', PGOPTIONS: '-c default_transaction_read_only=off' },
        deadline: context.deadline,
      });
    await client.query(createDatabase(into, dumped));
    const dump = join(folder, dumped.file);
    const { outcome, uncomputed } = await restoreDump(dumped, dump, scratch.path, {
      list: run,
      fill: (args) =>
        run([
          ...['--no-tablespaces', ...restoreJobs(dumped), ...args],
          ...[`--dbname=${programConnection(address, into)}`, dump],
        ]),
    });
    succeeded(`restoring ${JSON.stringify(into)}`, outcome);
    const notes = uncomputed ? [UNCOMPUTED] : [];
    const sql = join(scratch.path, 'database.sql');
    const list = join(scratch.path, 'database.list');
    const listed = await run(['--create', '--list', dump]);
    succeeded('reading the list of the dump', listed);
    writeFileSync(
      list,
      listed.stdout
        .split('\n')
        .filter((line) => ABOUT_DATABASE.test(line))
        .join('\n'),
    );
    const reading = await run(['--create', `--use-list=${list}`, `--file=${sql}`, dump]);
    // pg_restore can restore such a name, but not write it down.
    if (/[\r\n]/.test(database)) notes.push('its settings and privileges were left out: its name has a line break');
    else {
      succeeded('reading the settings of the database', reading);
      for (const statement of databaseStatements(await readFile(sql, 'utf8'), database, into))
        await client.query(statement);
    }
    return notes.join('; ') || undefined;
  } finally {
    await client.end().catch(() => {});
    scratch.remove();
  }
}

/** @throws HomelabError with every table that is not as it was dumped; the database stays, to be looked at */
export async function compareDatabase(context: RestoreContext, database: string, into: string): Promise<void> {
  const { manifest, address } = context;
  const problems = await inSession(address, into, async (client) => {
    const { rows } = await client.query<{ version: string }>("SELECT current_setting('server_version') AS version");
    const sequences = await sequencesOf(client);
    const dumped = contentIn(manifest, database);
    return differences(database, dumped, await contentOf(client, dumped.row_hash), {
      sequences,
      sameVersion: majorOf(rows[0]?.version ?? '') === majorOf(manifest.versions.server),
    });
  });
  if (problems.length > 0)
    throw new HomelabError(`${JSON.stringify(into)} is not what was dumped; it was not put in place`, {
      output: problems.join('\n'),
    });
}

/** As new as the pg_dump that wrote the set, and as the server where there is such a one. */
function restorersFor({ manifest, installations, major }: RestoreContext): Installation {
  const written = majorOf(manifest.versions.client);
  const tools = dumpersFor(Math.max(written, major), installations) ?? dumpersFor(written, installations);
  if (tools) return tools;
  throw new HomelabError(`the set was written by pg_dump ${manifest.versions.client}; no pg_restore here is as new`, {
    fix: `apt install postgresql-client-${written}`,
  });
}

/** Entries of a dump about its database: settings, privileges, comment. */
const ABOUT_DATABASE = /^\d+; \d+ \d+ (DATABASE|DATABASE PROPERTIES|(ACL|COMMENT) - DATABASE) /;

/** A database like the one that was dumped: its encoding and its collation decide what can be in it, and in which order. */
export function createDatabase(name: string, dumped: DumpedDatabase): string {
  const { encoding, collate, ctype, provider, locale, icu_rules: rules = null, owner } = dumped;
  const option = (key: string, value: string | null): string =>
    value === null ? '' : ` ${key} ${quoteLiteral(value)}`;
  const providers: Record<string, string> = {
    i: ` LOCALE_PROVIDER icu${option('ICU_LOCALE', locale)}${option('ICU_RULES', rules)}`,
    b: ` LOCALE_PROVIDER builtin${option('BUILTIN_LOCALE', locale)}`,
  };
  return (
    `CREATE DATABASE ${quoteIdent(name)} OWNER ${quoteIdent(owner)} TEMPLATE template0${option('ENCODING', encoding)}` +
    `${option('LC_COLLATE', collate)}${option('LC_CTYPE', ctype)}${providers[provider] ?? ''}`
  );
}

function contentIn(manifest: Manifest, database: string): DumpedDatabase {
  const dumped = Object.hasOwn(manifest.databases, database) ? manifest.databases[database] : undefined;
  if (!dumped) throw new HomelabError(`the set has no database ${JSON.stringify(database)}`);
  return dumped;
}

function succeeded(what: string, { code, stdout, stderr }: Outcome): void {
  if (code === 0) return;
  throw new HomelabError(`${what}: pg_restore ended with exit code ${code}`, {
    output: lastLines(discreetOutput(stderr || stdout)),
  });
}
