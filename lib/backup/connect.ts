import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from 'pg';
import { HomelabError, messageOf } from '../errors.ts';
import type { Secret } from '../secret.ts';
import { conninfo } from './names.ts';

/** Where a PostgreSQL server is, as the engine sees it: TCP, or the folder of a Unix socket. */
export type DatabaseAddress = {
  /** The server's name, for messages. */
  name: string;
  host: string;
  port: number;
  user: string;
  password?: Secret;
  /** "databases/postgresql", where the way to it is a Service of the cluster. */
  service?: string;
};

const CONNECT_SECONDS = 15;
const END_SECONDS = 5;

/**
 * A session of which every setting that changes how values are printed is fixed: hashes of the same rows are
 * the same on both servers.
 * @throws HomelabError that says what the server answered, and what to do
 */
export async function connect(address: DatabaseAddress, database: string): Promise<Client> {
  const pg = await import('pg');
  const client = new pg.default.Client({
    host: address.host,
    port: address.port,
    user: address.user,
    password: address.password?.reveal(),
    database,
    application_name: 'homelab backup',
    connectionTimeoutMillis: CONNECT_SECONDS * 1000,
    keepAlive: true,
  });
  // A server that goes away between two queries must not end this process; the next query reports it.
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query(SETTLED);
  } catch (error) {
    await endSession(client);
    throw explained(error, address, database);
  }
  return client;
}

const SETTLED = `
  SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '300s';
  SET row_security = off; SET search_path = ''; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY';
  SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET lc_monetary = 'C';
  SET xmlbinary = 'base64'; SET client_encoding = 'UTF8'; SET quote_all_identifiers = off;
  SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout')`;

/** Does `work` in a session of its own. */
export async function inSession<T>(
  address: DatabaseAddress,
  database: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(address, database);
  try {
    return await work(client);
  } finally {
    await endSession(client);
  }
}

/** Ends a session; one whose server does not answer any more is dropped. */
export async function endSession(client: Client): Promise<void> {
  const timer = setTimeout(() => client.connection.stream.destroy(), END_SECONDS * 1000);
  await client.end().catch(() => {});
  clearTimeout(timer);
}

/** Ends the query that a session is at, which fails; where the server does not let us, it comes to its end by itself. */
export async function cancelQuery(address: DatabaseAddress, database: string, session: Client): Promise<void> {
  const { processID } = session as Client & { processID?: number };
  await inSession(address, database, (other) => other.query('SELECT pg_cancel_backend($1)', [processID])).catch(
    () => {},
  );
}

/** A session for what concerns the whole server: in `postgres`, or in template1 where there is no such database. */
export async function connectServer(address: DatabaseAddress): Promise<{ client: Client; database: string }> {
  try {
    return { client: await connect(address, 'postgres'), database: 'postgres' };
  } catch (error) {
    if (!(error instanceof HomelabError && error.message.includes('does not exist'))) throw error;
    return { client: await connect(address, 'template1'), database: 'template1' };
  }
}

/** How the PostgreSQL programs are told where to connect: no password in argv, and names that cannot be misread. */
export function programConnection(address: DatabaseAddress, database: string): string {
  return conninfo({
    host: address.host,
    port: address.port,
    user: address.user,
    dbname: database,
    application_name: 'homelab backup',
    connect_timeout: CONNECT_SECONDS,
  });
}

/** Environment of the PostgreSQL programs: the password in a 0600 file of `folder`. */
export function programEnvironment(address: DatabaseAddress, folder: string): Record<string, string> {
  if (!address.password) return {};
  const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll(':', '\\:');
  const password = address.password.reveal();
  if (/[\r\n]/.test(password))
    throw new HomelabError(`${address.password.name} holds a line break, which PostgreSQL's password files cannot`);
  const file = join(folder, 'pgpass');
  writeFileSync(file, `*:*:*:${escaped(address.user)}:${escaped(password)}\n`, { mode: 0o600 });
  return { PGPASSFILE: file };
}

/** What the server (or the way to it) answered, in words, with what to do. */
function explained(error: unknown, address: DatabaseAddress, database: string): HomelabError {
  const { code } = error as { code?: string };
  const where = `PostgreSQL ${address.name}, database ${JSON.stringify(database)}, user ${address.user}`;
  const said = `${where}: ${messageOf(error)}`;
  const secret = address.password?.name ?? 'a password';
  if (code === '28P01' || /password must be a string/.test(messageOf(error)))
    return new HomelabError(said, { fix: `set ${secret} in .env to the password that the server has now` });
  if (code === '28000')
    return new HomelabError(said, { fix: `let ${address.user} in from here in the server's pg_hba.conf` });
  if (code === '53300') return new HomelabError(said, { fix: 'raise max_connections, or end idle sessions' });
  if (code === '57P03') return new HomelabError(said, { cause: 'the server starts or stops', fix: 'try again' });
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new HomelabError(said, {
      cause: `no name server knows ${address.host}`,
      fix: 'correct backup.postgresql[].host in homelab.yaml, or write the address there',
    });
  if (code?.startsWith('E') || /terminated|timeout/i.test(messageOf(error)))
    return new HomelabError(`${said || where} (${address.host}:${address.port})`, {
      cause: 'no server listens there, or something on the way ends the connection',
      fix: `see whether the database runs: ${
        address.service === undefined
          ? 'its log, listen_addresses and port, and a firewall on the way'
          : `its pods, the Service ${address.service} and its endpoints`
      }`,
    });
  return new HomelabError(said);
}
