import type { Client, QueryResult } from 'pg';
import { messageOf } from '../errors.ts';
import { GRANTS, OBJECTS, OWN_TABLES, SEQUENCES } from './catalog.ts';
import type { Content, DumpedDatabase } from './manifest.ts';
import { quoteIdent, quoteLiteral } from './names.ts';
import { type Column, rowHash } from './row-hash.ts';

/** What a database holds, the same after a restore: rows and a hash of them for each table, objects, owners and grants. */
export type DatabaseContent = Pick<DumpedDatabase, 'tables' | 'large_objects' | 'objects' | 'grants'>;

/** How rows are hashed: column by column, or, in sets of before that was recorded, the whole row's text. */
export type RowHash = DumpedDatabase['row_hash'];

/** What each sequence hands out next. */
export type SequenceValues = Map<string, { next: bigint; cycle: boolean }>;

/**
 * Counts and hashes exactly what pg_dump dumps, in the session's snapshot (see connect.ts for its settings).
 * Left out: materialized views (a restore computes them anew) and tables that an extension makes by itself.
 * The hash is a sum over the rows, so their order does not matter.
 * @param hashed as what it is to be compared with
 * @param counted tables that were counted before, in the same snapshot; the others are added
 * @throws TableChanged where a table is not any more what it is in the snapshot
 */
export async function contentOf(
  client: Client,
  hashed: RowHash,
  counted: Counted = nothingCounted(),
): Promise<Required<DatabaseContent>> {
  await countTables(client, hashed, counted);
  const { rows: objects } = await client.query<{ kind: string; count: number }>(OBJECTS);
  const tables = Object.entries(counted.tables).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    tables: Object.fromEntries(tables),
    large_objects: await one(client, LARGE_OBJECTS),
    objects: Object.fromEntries(objects.map(({ kind, count }) => [kind, count])),
    grants: await one(client, `SELECT count(*) AS rows, coalesce(sum(hashtextextended(line, 0)), 0) AS hash ${GRANTS}`),
  };
}

/** Tables that were counted; `anew`: from another file than the snapshot's catalog names. */
export type Counted = { tables: Record<string, Content>; anew: Set<string> };

export const nothingCounted = (): Counted => ({ tables: {}, anew: new Set() });

/**
 * Counts the tables that are not counted yet.
 * @param only these
 * @throws TableChanged
 */
export async function countTables(
  client: Client,
  hashed: RowHash,
  counted: Counted,
  only?: readonly string[],
): Promise<void> {
  // For the savepoints; where a transaction is open already, this does nothing.
  await client.query('BEGIN');
  const { rows: own } = await client.query<OwnTable>(OWN_TABLES);
  for (const { schema, name, oid, file, columns } of own) {
    const table = `${quoteIdent(schema)}.${quoteIdent(name)}`;
    if (counted.tables[table] || only?.includes(table) === false) continue;
    const found = await rowsOf(client, table, hashed === 'columns' ? rowHash('r', columns) : ROW_TEXT);
    // Another one has its name since.
    if (found.oid !== oid) throw new TableChanged([table]);
    if (found.file !== file) counted.anew.add(table);
    counted.tables[table] = found.content;
  }
}

type OwnTable = { schema: string; name: string; oid: string; file: string; columns: Column[] };

/** The sequences' values now: no snapshot holds them. */
export async function sequencesOf(client: Client): Promise<SequenceValues> {
  const { rows } = await client.query<{ schema: string; name: string; increment: string; cycle: boolean }>(SEQUENCES);
  const values: SequenceValues = new Map();
  // Many at a time: a database may have thousands of them.
  for (let i = 0; i < rows.length; i += 200) {
    const part = rows.slice(i, i + 200);
    const { rows: found } = await client.query<{ i: number; next: string }>(
      part
        .map(({ schema, name, increment }, i) => {
          const next = `CASE WHEN is_called THEN last_value::numeric + ${quoteLiteral(increment)} ELSE last_value END`;
          return `SELECT ${i} AS i, (${next})::text AS next FROM ${quoteIdent(schema)}.${quoteIdent(name)}`;
        })
        .join(' UNION ALL '),
    );
    for (const { i, next } of found) {
      const sequence = part[i];
      if (!sequence) continue;
      const name = `${quoteIdent(sequence.schema)}.${quoteIdent(sequence.name)}`;
      values.set(name, { next: BigInt(next), cycle: sequence.cycle });
    }
  }
  return values;
}

/** Between which values each sequence was while it was dumped; one that began anew meanwhile may have any. */
export function sequenceRanges(before: SequenceValues, after: SequenceValues): DumpedDatabase['sequences'] {
  return Object.fromEntries(
    [...before].flatMap(([name, { next: from, cycle }]) => {
      const to = after.get(name)?.next ?? from;
      return cycle && from !== to ? [] : [[name, { from: String(from), to: String(to) }]];
    }),
  );
}

/** `(r.*)` is the whole row even where a column is called r. */
const ROW_TEXT = 'hashtextextended((r.*)::text COLLATE "C", 0)';

type Rows = { content: Content; oid: string; file: string };

async function rowsOf(client: Client, table: string, hash: string): Promise<Rows> {
  const id = `${quoteLiteral(table)}::regclass`;
  const which = `${id}::oid::text AS oid, pg_relation_filenode(${id})::text AS file`;
  const counting = (sum: string): Promise<Rows> =>
    counted(
      client,
      `SAVEPOINT homelab; SELECT count(*) AS rows, ${sum} AS hash, ${which} FROM ONLY ${table} AS r;
       ROLLBACK TO homelab; RELEASE homelab`,
    );
  try {
    return await counting(`coalesce(sum(${hash}), 0)`);
  } catch (error) {
    if (CHANGED.includes((error as { code?: string }).code ?? '')) throw new TableChanged([table]);
    if (!TOO_LONG.test(messageOf(error))) throw error;
    await client.query('ROLLBACK TO homelab');
    return await counting(quoteLiteral(COUNTED));
  }
}

async function counted(client: Client, query: string): Promise<Rows> {
  const results: unknown = await client.query(query);
  const all: QueryResult<{ rows: string; hash: string; oid: string; file: string }>[] = [results].flat() as [];
  const [row] = all.flatMap((result) => result.rows);
  if (!row) throw new Error('a count has a row');
  return { content: { rows: Number(row.rows), hash: String(row.hash) }, oid: row.oid, file: row.file };
}

/**
 * undefined_column, undefined_function, undefined_table, invalid_schema_name: the catalog is that of the snapshot, and the
 * table that of now. lock_not_available: pg_dump has its lock; somebody waits for it to end, and we behind him.
 */
const CHANGED = ['42703', '42883', '42P01', '3F000', '55P03'];

/** Tables that are not any more what they are in the snapshot, which can neither be dumped nor counted from it. */
export class TableChanged extends Error {
  override name = 'TableChanged';

  constructor(readonly tables: readonly string[]) {
    super(`${tables.join(', ')} changed meanwhile`);
  }
}

/** What PostgreSQL says where a value, or a row, is longer as text than 1 GB, which no text may be. */
const TOO_LONG = /invalid memory alloc request size|string buffer|out of memory/i;
/** Instead of a hash, where they are too long to be hashed. */
const COUNTED = 'counted only';

/** In pieces of 8192 pages (16 MiB): lo_get cannot return a large object of more than 1 GB at once. */
const LARGE_OBJECTS = `
  SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS rows,
         coalesce(sum(hashtextextended(o.loid || ':' || piece || ':' || md5(lo_get(o.loid, piece * o.bytes, o.bytes::int)), 0)), 0) AS hash
    FROM (SELECT loid, max(pageno) / 8192 AS last, current_setting('block_size')::bigint / 4 * 8192 AS bytes
            FROM pg_catalog.pg_largeobject GROUP BY loid) o, generate_series(0, o.last) AS piece`;

async function one(client: Client, query: string): Promise<Content> {
  // Of several statements each has a result.
  const results: unknown = await client.query(query);
  const all: QueryResult<{ rows: string; hash: string }>[] = [results].flat() as [];
  const rows = all.flatMap((result) => result.rows);
  return { rows: Number(rows[0]?.rows), hash: String(rows[0]?.hash) };
}

/**
 * What differs, in words; nothing for equal contents. Pure.
 * @param sameVersion of the server that was dumped and the one that was restored into: only then grants are spelled alike
 */
export function differences(
  database: string,
  dumped: DatabaseContent & Pick<DumpedDatabase, 'sequences'>,
  found: DatabaseContent,
  { sequences, sameVersion = true }: { sequences?: SequenceValues; sameVersion?: boolean } = {},
): string[] {
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
  for (const [kind, before] of Object.entries(dumped.objects ?? {})) {
    const after = found.objects?.[kind] ?? 0;
    if (after !== before && !UNDUMPED.has(kind)) problems.push(`${name}: ${after} ${kind} instead of ${before}`);
  }
  if (dumped.grants && found.grants && sameVersion)
    problems.push(...unlike(`${name}: owners and grants`, dumped.grants, found.grants, 'lines'));
  if (sequences)
    for (const [sequence, range] of Object.entries(dumped.sequences ?? {}))
      problems.push(...outside(`${name}: sequence ${sequence}`, range, sequences.get(sequence)?.next));
  return problems;
}

function unlike(what: string, before: Content, after: Content, unit: string): string[] {
  if (before.rows !== after.rows) return [`${what}: ${after.rows} ${unit} instead of ${before.rows}`];
  return before.hash === after.hash ? [] : [`${what}: the same number of ${unit}, but not the same content`];
}

function outside(what: string, { from, to }: { from: string; to: string }, found: bigint | undefined): string[] {
  if (found === undefined) return [`${what} is missing`];
  const [low, high] = BigInt(from) <= BigInt(to) ? [BigInt(from), BigInt(to)] : [BigInt(to), BigInt(from)];
  if (found >= low && found <= high) return [];
  return [`${what} hands out ${found} next instead of ${low === high ? low : `${low} to ${high}`}`];
}

/** Kinds of OBJECTS that a dump leaves out. */
const UNDUMPED = new Set(['invalid indexes', 'tables of extensions']);

/** What a proof of this database cannot tell, or leaves out, in words. Pure. */
export function notCompared(database: string, dumped: DumpedDatabase, sameVersion: boolean): string[] {
  const name = JSON.stringify(database);
  const notes: string[] = [];
  const count = (kind: string, what: string): void => {
    const found = dumped.objects?.[kind] ?? 0;
    if (found > 0) notes.push(`${name}: ${found} ${kind}: ${what}`);
  };
  count('materialized views', 'a restore computes them anew');
  count('foreign tables', 'their rows are on other servers, and not in the set');
  count('invalid indexes', 'pg_dump leaves them out');
  count(
    'tables of extensions',
    'made by CREATE EXTENSION; only what the extension declares as configuration is dumped',
  );
  count('subscriptions', 'restored disabled; nothing was subscribed to');
  for (const [table, { hash }] of Object.entries(dumped.tables))
    if (hash === COUNTED)
      notes.push(`${name}: the rows of ${table} were counted only: one is longer than 1 GB as text`);
  if (!dumped.grants || !sameVersion) notes.push(`${name}: owners and grants`);
  if (!dumped.sequences) notes.push(`${name}: values of sequences`);
  return notes;
}

/** The same of every set. */
export const NEVER_COMPARED = [
  'the text of functions, views, triggers, policies and constraints: they are counted',
  "columns' types and defaults, comments, security labels, default privileges; whether row-level security and triggers are on",
  'privileges of databases, types, languages, foreign servers and large objects; values of settings; connection limits',
  'roles, but for their names: attributes, memberships, settings, passwords',
  'owners of large objects, prepared transactions, planner statistics, replication slots, tablespaces, what is in template1',
];
