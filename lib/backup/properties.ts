import type { Client } from 'pg';
import type { DatabaseContent } from './content.ts';
import type { DumpedDatabase, HashedFile } from './manifest.ts';

type Properties = Omit<DumpedDatabase, keyof HashedFile | keyof DatabaseContent | 'sequences' | 'row_hash'>;

/** What a database is, beside what is in it. */
export async function propertiesOf(client: Client): Promise<Properties> {
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
    icu_rules: database.daticurules ?? null,
    settings: row.settings,
    extensions: row.extensions ?? {},
  };
}
