import { quoteIdent, quoteLiteral } from './names.ts';

/**
 * A hash of a row that is the same wherever the row is restored, as one SQL expression. Each column is hashed by
 * itself, with a seed made of its name, for a restore may order the columns of an inherited table anew; XOR joins them.
 * The whole row's text would say the same, and costs the server four times as much.
 */

/** A column of a table, as TABLES of catalog.ts has it. */
export type Column = {
  name: string;
  /** The name of a base type of PostgreSQL's own; null for all others. */
  type: string | null;
  /** A bigint made of the name. */
  seed: string;
};

/** @param table the alias of the table in the query */
export function rowHash(table: string, columns: readonly Column[]): string {
  return columns.map(({ name, type, seed }) => hashOf(`${table}.${quoteIdent(name)}`, type, seed)).join(' # ') || '0';
}

/**
 * Hash functions that tell apart whatever the type's text tells apart, and give the same number in PostgreSQL 13 to 18.
 * Not so those of numeric (1.0 and 1.00), float (0 and -0), interval (1 month and 30 days), jsonb (numerics in it), enum
 * (by OID), timestamps (64 bits folded to 32): these are hashed as text, as is whatever is not named here.
 */
const DIRECT: Record<string, (value: string, seed: string) => string> = {
  bool: (value, seed) => `hashint4extended(${value}::int4, ${seed})`,
  int2: (value, seed) => `hashint2extended(${value}, ${seed})`,
  int4: (value, seed) => `hashint4extended(${value}, ${seed})`,
  // Folds its upper half into the lower one, so that 4294967296 would be 1.
  int8: (value, seed) => `hashint4extended((${value} >> 32)::int4, hashint8extended(${value}, ${seed}))`,
  uuid: (value, seed) => `uuid_hash_extended(${value}, ${seed})`,
  text: (value, seed) => `hashtextextended(${value} COLLATE "C", ${seed})`,
  varchar: (value, seed) => `hashtextextended(${value} COLLATE "C", ${seed})`,
  // Blanks at the end are no part of such a value.
  bpchar: (value, seed) => `hashbpcharextended(${value} COLLATE "C", ${seed})`,
  // Its text is twice as long, which for more than 512 MB is more than a text may have.
  bytea: (value, seed) => `hashtextextended(encode(sha256(${value}), 'hex') COLLATE "C", ${seed})`,
};
const AS_TEXT = (value: string, seed: string): string => `hashtextextended(${value}::text COLLATE "C", ${seed})`;

function hashOf(value: string, type: string | null, seed: string): string {
  const number = `${quoteLiteral(seed)}::int8`;
  // A cast to text may be a user's own, where the type is; concat asks the type itself. It takes NULL for ''.
  if (type === null) return `hashtextextended(concat(${value}) COLLATE "C", ${number} # num_nulls(${value}))`;
  const hash = (Object.hasOwn(DIRECT, type) ? DIRECT[type] : undefined) ?? AS_TEXT;
  return `coalesce(${hash(value, number)}, ${number})`;
}
