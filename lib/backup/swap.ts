import type { Client } from 'pg';
import { HomelabError, messageOf } from '../errors.ts';
import { connect, connectServer, type DatabaseAddress } from './connect.ts';
import { takeServerLock } from './lock.ts';
import { quoteIdent } from './names.ts';
import { isEmpty } from './occupancy.ts';
import { serverFacts } from './server-facts.ts';

export type Swap = {
  database: string;
  into: string;
  before: string;
  systemIdentifier: string;
  /** What may have the name now: nothing, an empty database, or (when that was confirmed) any. */
  over: 'nothing' | 'empty' | 'any';
};

/** How long sessions that come back are ended, for one rename: PostgreSQL waits 5 s for them itself. */
const ATTEMPTS = 3;
const EVERY_MS = 50;

/**
 * Gives `into` the name `database`, and what has it so far the name `before`: both or neither. Sessions on
 * either are ended; they cannot be renamed otherwise.
 */
export async function swapDatabases(address: DatabaseAddress, swap: Swap): Promise<void> {
  const { database, into, before } = swap;
  const maintenance = async (): Promise<Client> =>
    // A database cannot be renamed by a session on it.
    database === 'postgres' ? connect(address, 'template1') : (await connectServer(address)).client;
  const client = await maintenance();
  let ending: Client | undefined;
  try {
    await takeServerLock(client, address.name);
    const exists = await allowed(client, address, swap);
    const renames = [...(exists ? [rename(database, before)] : []), rename(into, database)];
    ending = await maintenance();
    for (let attempt = 1; ; attempt++) {
      try {
        return await transaction(client, ending, [database, into], renames);
      } catch (error) {
        if (attempt < ATTEMPTS && /accessed by other users/.test(messageOf(error))) continue;
        throw new HomelabError(`exchanging the names: ${messageOf(error)}; nothing was renamed`, {
          fix: `stop what uses ${database}, then rename by hand, in one transaction: ${renames.join('; ')}`,
        });
      }
    }
  } finally {
    await ending?.end().catch(() => {});
    await client.end().catch(() => {});
  }
}

/** @returns whether the name is taken. @throws HomelabError where it is by more than was agreed to */
async function allowed(
  client: Client,
  address: DatabaseAddress,
  { database, into, systemIdentifier, over }: Swap,
): Promise<boolean> {
  const facts = await serverFacts(client);
  requireServer(address, facts.systemIdentifier, systemIdentifier);
  const exists = facts.databases.some(({ name }) => name === database);
  const may = !exists || over === 'any' || (over === 'empty' && (await isEmpty(address, database)));
  if (!may)
    throw new HomelabError(
      `${JSON.stringify(database)} was made, or filled, meanwhile: it was not replaced; the restored one is ${JSON.stringify(into)}`,
      { fix: `look at both; restore-postgres --swap exchanges them, and keeps the other one` },
    );
  return exists;
}

/** @throws HomelabError where the address leads to another server than the one that was looked at */
export function requireServer({ name }: DatabaseAddress, found: string, wanted: string): void {
  if (found !== wanted) throw new HomelabError(`${name} is another server now: its system identifier is ${found}`);
}

/**
 * The renames, while a second session ends who is in their way: once a rename has begun, nobody new gets in, and
 * it waits some seconds for those who were there.
 */
async function transaction(client: Client, ending: Client, databases: string[], statements: string[]): Promise<void> {
  let done = false;
  const clearing = (async () => {
    while (!done) {
      await ending.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY ($1) AND pid <> pg_backend_pid()',
        [databases],
      );
      await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    }
  })();
  clearing.catch(() => {});
  await client.query('BEGIN');
  try {
    for (const statement of statements) await client.query(statement);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  } finally {
    done = true;
    await clearing.catch(() => {});
  }
}

function rename(from: string, to: string): string {
  return `ALTER DATABASE ${quoteIdent(from)} RENAME TO ${quoteIdent(to)}`;
}
