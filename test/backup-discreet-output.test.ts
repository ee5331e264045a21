import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { discreetOutput } from '../lib/backup/discreet-output.ts';

const test = suite('backup: what programs say, without values');

for (const [what, said, shown] of [
  [
    'a row of COPY',
    'pg_restore: error: COPY failed for table "people": ERROR:  function f(text) does not exist\nCONTEXT:  PL/pgSQL function public.ok(text) line 1 at RETURN\nCOPY people, line 1: "1\tJane Doe\nof two lines"',
    'pg_restore: error: COPY failed for table "people": ERROR:  function f(text) does not exist\nCONTEXT:  PL/pgSQL function public.ok(text) line 1 at RETURN\nCOPY people, line 1',
  ],
  [
    'a column of COPY',
    'ERROR:  invalid input syntax for type integer: "Jane"\nCONTEXT:  COPY people, line 7, column id: "Jane"',
    'ERROR:  invalid input syntax for type integer: "…"\nCONTEXT:  COPY people, line 7, column id',
  ],
  [
    'a failing row',
    'ERROR:  new row for relation "t" violates check constraint "c"\nDETAIL:  Failing row contains (1, Jane\nDoe).\nCONTEXT:  COPY t, line 1: "1\tJane"',
    'ERROR:  new row for relation "t" violates check constraint "c"\nDETAIL:  Failing row contains …\nCONTEXT:  COPY t, line 1',
  ],
  [
    'a key',
    'ERROR:  could not create unique index "u"\nDETAIL:  Key (mail)=(jane@example.org) is duplicated.\nCommand was: CREATE UNIQUE INDEX u ON public.t USING btree (mail);',
    'ERROR:  could not create unique index "u"\nDETAIL:  Key (mail)=(…) is duplicated.\nCommand was: CREATE UNIQUE INDEX u ON public.t USING btree …',
  ],
  [
    'a password of a user mapping',
    "pg_restore: error: could not execute query: ERROR:  no\nCommand was: CREATE USER MAPPING FOR postgres SERVER s OPTIONS (\n    password 'hunter2'\n);\n\n\npg_restore: warning: errors ignored",
    'pg_restore: error: could not execute query: ERROR:  no\nCommand was: CREATE USER MAPPING FOR postgres SERVER s OPTIONS …\npg_restore: warning: errors ignored',
  ],
  [
    'a password of a subscription',
    "Command was: CREATE SUBSCRIPTION s CONNECTION 'host=a password=hunter2' PUBLICATION p WITH (connect = false);",
    'Command was: CREATE SUBSCRIPTION s CONNECTION …',
  ],
  [
    'a statement that is repeated up to where it is wrong',
    "psql:/tmp/globals.sql:3: ERROR:  syntax error\nLINE 1: ALTER ROLE x PASSWORD 'hunter2' …\n                     ^",
    'psql:/tmp/globals.sql:3: ERROR:  syntax error\nLINE 1: ALTER ROLE x PASSWORD …',
  ],
  [
    'JSON, and values that are out of range',
    'ERROR:  invalid input syntax for type json\nDETAIL:  Token "hunter2" is invalid.\nCONTEXT:  JSON data, line 1: {"a": hunter2\nERROR:  value "99999999999" is out of range for type integer',
    'ERROR:  invalid input syntax for type json\nDETAIL:  Token "…"\nCONTEXT:  JSON data, line 1: …\nERROR:  value "…" is out of range for type integer',
  ],
  [
    'what has no values stays',
    'ERROR:  invalid locale name: "xx_XX"\nHINT:  do\nQUERY:  SELECT cfg()',
    'ERROR:  invalid locale name: "xx_XX"\nHINT:  do\nQUERY:  SELECT cfg()',
  ],
] as const)
  test(what, () => assert.is(discreetOutput(said), shown));

test.run();
