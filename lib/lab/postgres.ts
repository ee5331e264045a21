import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type Installation, installations, proversFor } from '../backup/clients.ts';
import { serverUser, startCluster } from '../backup/cluster.ts';
import { type DatabaseAddress, inSession } from '../backup/connect.ts';
import { quoteIdent } from '../backup/names.ts';
import { makeScratch } from '../backup/scratch.ts';
import { realExec } from '../ports/exec.ts';
import type { Exec } from '../ports/types.ts';
import { Secret } from '../secret.ts';

/** A real PostgreSQL server on loopback: what stands behind the lab's Service. */
export type ScratchPostgres = {
  port: number;
  /** "15.18". */
  version: string;
  superuser: string;
  password: string;
  address: DatabaseAddress;
  /** Makes databases that are hard to back up: odd names, roles, large objects, row-level security. Safe to call again. */
  seed(databases?: readonly string[]): Promise<void>;
  stop(): Promise<void>;
};

const SUPERUSER = 'postgres';

/**
 * Starts a server with its data in `folder`, or goes on with the one that is there; where the server's user may
 * not enter `folder`, the data lives in a temporary folder and goes with `stop`.
 * @param settings of postgresql.conf
 * @param tools of which version; otherwise the lowest that is at least `major`
 * @param password of the superuser; without one it is random, and stays with the data
 * @returns `missing` with the reason where this machine has no PostgreSQL server
 */
export async function startScratchPostgres(
  folder: string,
  {
    major = 0,
    settings,
    password: wanted,
    tools: given,
  }: { major?: number; settings?: Record<string, string>; password?: string; tools?: Installation } = {},
): Promise<ScratchPostgres | { missing: string }> {
  const exec = realExec();
  const tools = given ?? proversFor(major, await installations(exec));
  if (!tools) return { missing: 'PostgreSQL (initdb, postgres) is not installed' };
  const scratch = (await usable(exec, folder)) ? undefined : makeScratch();
  const home = scratch?.path ?? folder;
  const password = new Secret('POSTGRES_SCRATCH_PASSWORD', wanted ?? kept(join(home, 'password')));
  const port = await freePort();
  const cluster = await startCluster(exec, tools, {
    ...{ folder: home, superuser: SUPERUSER, password, tcpPort: port },
    settings: { max_connections: '40', shared_buffers: '16MB', ...settings },
  });
  const address: DatabaseAddress = { name: 'scratch', host: '127.0.0.1', port, user: SUPERUSER, password };
  return {
    port,
    version: tools.version,
    superuser: SUPERUSER,
    password: password.reveal(),
    address,
    seed: (databases = ODD_DATABASES.slice(0, 2)) => seed(address, databases),
    async stop() {
      await cluster.stop();
      scratch?.remove();
    },
  };
}

/** Names that break what is not quoted: spaces, quotes, slashes, a leading dash, unicode, a connection string. */
export const ODD_DATABASES = ['app', 'o\'Brien\'s "shop"', '--help', 'größe/../x', 'postgresql://evil', 'a=b'];
const ODD_ROLES = ['app_owner', 'read "only"', "d'Artagnan; --"];

async function seed(address: DatabaseAddress, databases: readonly string[]): Promise<void> {
  await inSession(address, 'postgres', async (client) => {
    for (const role of ODD_ROLES) await once(client, `CREATE ROLE ${quoteIdent(role)} LOGIN PASSWORD 'only-a-test'`);
    await once(client, `GRANT "app_owner" TO ${quoteIdent(ODD_ROLES[1] ?? '')}`);
    for (const name of databases) await once(client, `CREATE DATABASE ${quoteIdent(name)} OWNER "app_owner"`);
    await client.query(`ALTER DATABASE "app" SET work_mem TO '8MB'`);
    await client.query(`ALTER ROLE "app_owner" IN DATABASE "app" SET search_path TO 'shop', 'public'`);
  });
  for (const name of databases) await inSession(address, name, (client) => client.query(TABLES).then(() => {}));
}

const TABLES = `
  DROP SCHEMA IF EXISTS "Shop ""x""" CASCADE;
  CREATE SCHEMA "Shop ""x""" AUTHORIZATION "app_owner";
  CREATE TABLE "Shop ""x"""."r" ("r" int PRIMARY KEY, "Weird; --" text, at timestamptz, price numeric, f float8, raw bytea, tags text[]);
  INSERT INTO "Shop ""x"""."r" SELECT i, 'row ' || i || E'\\n\\t''"\\\\', timestamptz '2026-01-01 UTC' + i * interval '1 h', i / 3.0, i / 7.0::float8,
    decode(md5(i::text), 'hex'), ARRAY['a', NULL, 'ü' || i] FROM generate_series(1, 2000) i;
  CREATE TABLE "Shop ""x""".secret_rows (id serial PRIMARY KEY, owner name DEFAULT current_user);
  INSERT INTO "Shop ""x""".secret_rows SELECT FROM generate_series(1, 50);
  ALTER TABLE "Shop ""x""".secret_rows ENABLE ROW LEVEL SECURITY;
  ALTER TABLE "Shop ""x""".secret_rows FORCE ROW LEVEL SECURITY;
  CREATE TABLE "Shop ""x""".parted (id int, k int) PARTITION BY RANGE (k);
  CREATE TABLE "Shop ""x""".parted_1 PARTITION OF "Shop ""x""".parted FOR VALUES FROM (0) TO (100);
  INSERT INTO "Shop ""x""".parted SELECT i, i % 100 FROM generate_series(1, 300) i;
  CREATE MATERIALIZED VIEW "Shop ""x""".sums AS SELECT k, count(*) FROM "Shop ""x""".parted GROUP BY k;
  CREATE TABLE "Shop ""x""".empty_one ();
  GRANT SELECT ON ALL TABLES IN SCHEMA "Shop ""x""" TO "read ""only""";
  SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
  SELECT lo_from_bytea(0, convert_to(repeat('large object ' || i, 3000), 'UTF8')) FROM generate_series(1, 3) i`;

/** A statement whose object may be there already. */
async function once(client: { query(text: string): Promise<unknown> }, statement: string): Promise<void> {
  try {
    await client.query(statement);
  } catch (error) {
    if (!/already exists/.test(String(error))) throw error;
  }
}

/** A folder that the server's user can enter and own, with a path short enough for its socket. */
async function usable(exec: Exec, folder: string): Promise<boolean> {
  if (Buffer.byteLength(join(folder, '.s.PGSQL.65535.lock')) > 100) return false;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const { prefix, ids } = await serverUser(exec);
  if (!ids) return true;
  chownSync(folder, ids.uid, ids.gid);
  const { code } = await exec.run([...prefix, 'test', '-w', folder, '-a', '-x', folder], { cwd: '/', deadline: 10 });
  return code === 0;
}

/** The password stays with the data: a server that is started again asks for the same. */
function kept(file: string): string {
  if (!existsSync(file)) writeFileSync(file, randomBytes(16).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8');
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
