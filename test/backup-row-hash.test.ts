import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from 'pg';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Installation } from '../lib/backup/clients.ts';
import { inSession } from '../lib/backup/connect.ts';
import { contentOf } from '../lib/backup/content.ts';
import { startScratchPostgres } from '../lib/lab/postgres.ts';
import { postgresHere } from './backup-harness.ts';

/**
 * The hash of a row, in real servers: of this machine's version, and of all that HOMELAB_POSTGRES_VERSIONS names. A hash
 * that a newer version computes otherwise would make every set of the older one fail its proof there.
 */
const test = suite('backup: the hash of a row');
const place = process.env.HOMELAB_POSTGRES_VERSIONS;
const majors = place && existsSync(place) ? readdirSync(place).filter((name) => /^\d+$/.test(name)) : [];
const tools: (Installation | undefined)[] = [
  ...((await postgresHere()) ? [undefined] : []),
  ...majors.map(Number).map((major) => ({
    ...{ folder: join(String(place), String(major), 'bin'), version: String(major), major, server: true },
  })),
];

/** Type, then values that are all unlike each other; each is a literal of that type. */
const VALUES: [type: string, ...values: string[]][] = [
  ['bool', 'true', 'false'],
  ['int2', '0', '-1', '32767'],
  ['int4', '0', '1', '-2147483648'],
  ['int8', '0', '1', '-1', '4294967296', '4294967297', '-4294967296', '-9223372036854775808', '9223372036854775807'],
  ['oid', '0', '4294967295'],
  ['numeric', '1.0', '1.00', 'NaN', '1e400'],
  ['float4', '0', '-0', '1e-30', 'NaN', 'Infinity'],
  ['float8', '0', '-0', '0.1', '0.10000000000000002', '-Infinity'],
  ['text', '', 'a', 'A', 'a ', 'ä', 'NULL'],
  ['varchar(9)', '', 'a', 'a '],
  ['char(9)', '', 'a', 'A'],
  ['"char"', 'a', 'b'],
  ['name', 'a', 'b'],
  ['bytea', '', '\\x00', '\\x0000', '\\xff'],
  ['uuid', '00000000-0000-0000-0000-000000000000', '00000000-0000-0000-0000-000000000001'],
  ['date', '2026-01-01', '5874897-12-31', 'infinity', '0001-01-01 BC'],
  ['time', '00:00', '24:00'],
  ['timetz', '10:00+00', '11:00+01'],
  [
    'timestamp',
    '2026-01-01',
    '2026-01-01 00:00:00.000001',
    'infinity',
    '-infinity',
    '4713-01-01 BC',
    '2000-01-01 01:11:34.967296',
    '2000-01-01 00:00:00.000001',
  ],
  ['timestamptz', '2026-01-01 00:00+00', '2026-01-01 00:00+01', 'infinity', '-infinity'],
  ['interval', '1 mon', '30 days', '720 hours'],
  ['money', '1', '2'],
  ['inet', '10.0.0.1', '10.0.0.1/8'],
  ['macaddr', '00:00:00:00:00:01', '00:00:00:00:00:02'],
  ['json', '{"a":1}', '{"a": 1}', 'null'],
  ['jsonb', '{"a": 1.0}', '{"a": 1.00}', 'null'],
  ['int4[]', '{}', '{1}', '{NULL}', '{{1}}', '[0:0]={1}'],
  ['text[]', '{}', '{""}', '{NULL}', '{"NULL"}', '{"a,b"}', '{a,b}'],
  ['varbit', '', '0', '00'],
  ['point', '(0,0)', '(0,-0)'],
  ['tsvector', 'a', 'a:1'],
  ['int4range', 'empty', '[1,2)', '(,)'],
  ['mood', 'sad', 'ok'],
  ['positive', '1', '2'],
  ['pair', '(,)', '(1,)', '(,"")'],
  ['regclass', 'pg_class', 'pg_type'],
];

/** Of what PostgreSQL has only where it was built with ICU and libxml, as Debian's is. */
const OPTIONAL: [type: string, ...values: string[]][] = [
  ['text COLLATE "ignores case"', 'a', 'A'],
  ['xml', '<a/>', '<a></a>'],
];
const IGNORES_CASE = `CREATE COLLATION "ignores case" (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`;

const SCHEMA = `
  CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE pair AS (a int, b text);
  CREATE FUNCTION as_text(mood) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'always the same' $$;
  CREATE CAST (mood AS text) WITH FUNCTION as_text(mood)`;

/** Contents of the tables, by their names; the hash is by columns. */
const hashes = async (client: Client): Promise<Record<string, string>> => {
  await client.query('ROLLBACK');
  const { tables } = await contentOf(client, 'columns');
  await client.query('COMMIT');
  return Object.fromEntries(Object.entries(tables).map(([name, { hash }]) => [name.replace('"public".', ''), hash]));
};

/** A database of its own on a server of that version. */
async function inDatabase<T>(installation: Installation | undefined, work: (client: Client) => Promise<T>): Promise<T> {
  const data = mkdtempSync('/tmp/homelab-test-hash');
  const pg = await startScratchPostgres(data, installation ? { tools: installation } : {});
  if ('missing' in pg) throw new Error(pg.missing);
  try {
    await inSession(pg.address, 'postgres', (client) => client.query('CREATE DATABASE app'));
    return await inSession(pg.address, 'app', async (client) => {
      await client.query('SET search_path = public');
      return await work(client);
    });
  } finally {
    await pg.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

const ofVersions: { version: string; values: string }[] = [];
for (const installation of tools) {
  const version = installation?.version ?? 'of this machine';
  test(`${version}: unlike values, NULL among them, have unlike hashes`, () =>
    inDatabase(installation, async (client) => {
      await client.query(SCHEMA);
      if (!installation) await client.query(IGNORES_CASE);
      const cases = installation ? VALUES : [...VALUES, ...OPTIONAL];
      const unlike: Record<string, Record<string, string>> = {};
      for (const [i, [type, ...values]] of cases.entries())
        for (const [k, value] of [...values, null].entries())
          await client.query(
            `CREATE TABLE t_${i}_${k} (v ${type}); INSERT INTO t_${i}_${k} VALUES (${value === null ? 'NULL' : `'${value}'`})`,
          );
      const all = await hashes(client);
      for (const [i, [type, ...values]] of cases.entries()) {
        const found = [...values, 'NULL'].map((value, k) => [value, String(all[`"t_${i}_${k}"`])] as const);
        unlike[type] = Object.fromEntries(found.map(([value, hash]) => [hash, value]));
        assert.equal(Object.values(unlike[type]), [...values, 'NULL'], `${type}: two of these have one hash`);
      }
      for (const [type] of OPTIONAL) delete unlike[type];
      ofVersions.push({ version, values: JSON.stringify(unlike) });
    }));
}

if (tools.length > 1)
  test('every version computes the same', () => {
    for (const { version, values } of ofVersions) assert.is(values, ofVersions[0]?.values, version);
  });

const [first] = tools;
if (tools.length > 0)
  test('values that changed places are told, in a row and between rows; an order of columns or rows is not', () =>
    inDatabase(first, async (client) => {
      await client.query(`
        CREATE TABLE one (a int, b int, c text); INSERT INTO one VALUES (1, 2, 'x'), (3, 4, 'y');
        CREATE TABLE in_a_row (a int, b int, c text); INSERT INTO in_a_row VALUES (2, 1, 'x'), (3, 4, 'y');
        CREATE TABLE between_rows (a int, b int, c text); INSERT INTO between_rows VALUES (1, 4, 'x'), (3, 2, 'y');
        CREATE TABLE twice (a int, b int, c text); INSERT INTO twice VALUES (1, 2, 'x'), (1, 2, 'x');
        CREATE TABLE other_order (c text, gone int, b int, a int); ALTER TABLE other_order DROP COLUMN gone;
        INSERT INTO other_order VALUES ('y', 4, 3), ('x', 2, 1);
        CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES;
        CREATE TABLE "odd "" r" ("r" int, "a""; --" text); INSERT INTO "odd "" r" VALUES (1, 'x')`);
      const all = await hashes(client);
      assert.is(all['"one"'], all['"other_order"']);
      for (const name of ['in_a_row', 'between_rows', 'twice']) assert.is.not(all['"one"'], all[`"${name}"`], name);
      assert.is(all['"nothing"'], '0');
      assert.ok(all['"odd "" r"']);
      // As sets say it that were made before there was another way.
      await client.query('ROLLBACK');
      const { tables } = await contentOf(client, undefined);
      assert.is.not(tables['"public"."one"']?.hash, tables['"public"."in_a_row"']?.hash);
    }));

test.run();
