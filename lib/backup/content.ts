import type { Client } from 'pg';
import type { Content } from './manifest.ts';
import { quoteIdent } from './names.ts';

/** What a database holds: rows and a hash of them for each table, the same after a restore. */
export type DatabaseContent = { tables: Record<string, Content>; large_objects: Content };

/**
 * Counts and hashes exactly what pg_dump dumps, in the session's snapshot (see connect.ts for its settings).
 * Left out: materialized views (a restore computes them anew) and tables that an extension makes by itself.
 * The hash is a sum over the rows, so their order does not matter.
 */
export async function contentOf(client: Client): Promise<DatabaseContent> {
  const { rows: names } = await client.query<{ schema: string; name: string }>(`
    SELECT n.nspname AS schema, c.relname AS name
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (
         SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
            AND d.refclassid = 'pg_catalog.pg_extension'::regclass
            AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')))
     ORDER BY 1, 2`);
  const tables: Record<string, Content> = {};
  for (const { schema, name } of names) {
    const table = `${quoteIdent(schema)}.${quoteIdent(name)}`;
    tables[table] = await one(client, rowsOf(table));
  }
  return { tables, large_objects: await one(client, LARGE_OBJECTS) };
}

/** `(r.*)` is the whole row even where a column is called r. */
function rowsOf(table: string): string {
  return `SELECT count(*) AS rows, coalesce(sum(hashtextextended((r.*)::text COLLATE "C", 0)), 0) AS hash FROM ONLY ${table} AS r`;
}

/** In pieces of 8192 pages (16 MiB): lo_get cannot return a large object of more than 1 GB at once. */
const LARGE_OBJECTS = `
  SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS rows,
         coalesce(sum(hashtextextended(o.loid || ':' || piece || ':' || md5(lo_get(o.loid, piece * o.bytes, o.bytes::int)), 0)), 0) AS hash
    FROM (SELECT loid, max(pageno) / 8192 AS last, current_setting('block_size')::bigint / 4 * 8192 AS bytes
            FROM pg_catalog.pg_largeobject GROUP BY loid) o, generate_series(0, o.last) AS piece`;

async function one(client: Client, query: string): Promise<Content> {
  const { rows } = await client.query<{ rows: string; hash: string }>(query);
  return { rows: Number(rows[0]?.rows), hash: String(rows[0]?.hash) };
}

/** What differs, in words; nothing for equal contents. Pure. */
export function differences(database: string, dumped: DatabaseContent, found: DatabaseContent): string[] {
  const problems: string[] = [];
  const name = JSON.stringify(database);
  for (const table of new Set([...Object.keys(dumped.tables), ...Object.keys(found.tables)])) {
    const before = dumped.tables[table];
    const after = found.tables[table];
    if (!before) problems.push(`${name}: table ${table} was not there when it was dumped`);
    else if (!after) problems.push(`${name}: table ${table} is missing`);
    else problems.push(...unlike(`${name}: table ${table}`, before, after, 'rows'));
  }
  problems.push(...unlike(`${name}: large objects`, dumped.large_objects, found.large_objects, 'objects'));
  return problems;
}

function unlike(what: string, before: Content, after: Content, unit: string): string[] {
  if (before.rows !== after.rows) return [`${what}: ${after.rows} ${unit} instead of ${before.rows}`];
  return before.hash === after.hash ? [] : [`${what}: the same number of ${unit}, but not the same content`];
}
