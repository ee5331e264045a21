import type { Client } from 'pg';
import type { PostgresServer } from '../config/schema.ts';
import { HomelabError } from '../errors.ts';
import { suggestion } from '../suggest.ts';
import { majorOf } from './clients.ts';

export type ServerFacts = {
  /** Made by initdb: another one is another server, or the same one reinstalled. */
  systemIdentifier: string;
  version: string;
  major: number;
  superuser: boolean;
  /** The role that initdb made (OID 10). */
  bootstrapRole: string;
  roles: string[];
  /** All but the templates that every server has. */
  databases: { name: string; connectable: boolean }[];
};

/** @param client a session in any database of the server */
export async function serverFacts(client: Client): Promise<ServerFacts> {
  const { rows } = await client.query<{
    id: string;
    version: string;
    superuser: boolean;
    bootstrap: string;
    roles: string[];
    databases: { name: string; connectable: boolean }[] | null;
  }>(`SELECT
    (SELECT system_identifier::text FROM pg_control_system()) AS id,
    current_setting('server_version') AS version,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    (SELECT rolname FROM pg_roles WHERE oid = 10) AS bootstrap,
    ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1) AS roles,
    (SELECT json_agg(json_build_object('name', datname, 'connectable', datallowconn AND datconnlimit <> -2) ORDER BY datname)
       FROM pg_database WHERE datname NOT IN ('template0', 'template1')) AS databases`);
  const [row] = rows;
  if (!row) throw new Error('pg_control_system() answered nothing');
  const version = row.version.split(' ')[0] ?? row.version;
  return {
    systemIdentifier: row.id,
    version,
    major: majorOf(version),
    superuser: row.superuser,
    bootstrapRole: row.bootstrap,
    roles: row.roles,
    databases: row.databases ?? [],
  };
}

/** Which databases a run dumps: those under include, or everything that is not under exclude, or an error. */
export function selectDatabases(
  { name: server, include, exclude }: Pick<PostgresServer, 'name' | 'include' | 'exclude'>,
  { databases }: Pick<ServerFacts, 'databases'>,
): { dump: string[]; excluded: string[] } {
  const names = databases.map(({ name }) => name);
  const missing = include?.filter((name) => !names.includes(name)) ?? [];
  if (missing.length > 0)
    throw new HomelabError(
      `PostgreSQL ${server} has no database ${missing.map((name) => JSON.stringify(name)).join(', ')}`,
      { fix: missing.map((name) => `include of ${server} in homelab.yaml: ${suggestion(name, names)}`).join('; ') },
    );
  const wanted = (name: string): boolean => (include ? include.includes(name) : !exclude.includes(name));
  const dump = databases.filter(({ name }) => wanted(name));
  const closed = dump.filter(({ connectable }) => !connectable).map(({ name }) => JSON.stringify(name));
  if (closed.length > 0)
    throw new HomelabError(`PostgreSQL ${server}: ${closed.join(', ')} cannot be dumped: no connections are allowed`, {
      fix: `ALTER DATABASE … ALLOW_CONNECTIONS true, or ${include ? 'take it out of include' : 'name it under exclude'} of ${server} in homelab.yaml`,
    });
  return { dump: dump.map(({ name }) => name), excluded: names.filter((name) => !wanted(name)) };
}
