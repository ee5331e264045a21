import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inSession } from '../lib/backup/connect.ts';
import type { Manifest } from '../lib/backup/manifest.ts';
import type { Family, Script } from '../lib/main.ts';
import backup from '../scripts/backup-postgres.ts';
import { backupLab, initdbOnce, postgresHere, type Ran, runBeats, type StartedLab, said } from './backup-harness.ts';

/**
 * TRUNCATE, and an ALTER TABLE that writes a table anew, are not seen through a snapshot: what was in the table when the
 * snapshot was taken is gone for it, and what is there since is not in it. Filled anew in one transaction, a table is
 * empty at no time, and yet would be in a dump.
 */
const real = suite('backup-postgres: tables that are written anew meanwhile');
const one: StartedLab | undefined = (await postgresHere()) ? await backupLab() : undefined;
real.after(() => one?.close());
if (one) one.ports.exec = initdbOnce(one.folder);
const run = (lab: StartedLab): Promise<Ran<unknown>> => {
  const family: Family = backup;
  return runBeats(lab, family.commands[0] as Script<unknown>, {});
};
const newest = (lab: StartedLab): Manifest => {
  const lineage = join(lab.root, 'main', readdirSync(join(lab.root, 'main'))[0] ?? '', 'sets');
  return JSON.parse(readFileSync(join(lineage, readdirSync(lineage).sort().at(-1) ?? '', 'manifest.json'), 'utf8'));
};

const isDump = (argv: readonly string[]): boolean =>
  argv[0]?.endsWith('/pg_dump') === true && argv.some((word) => word.includes("dbname='postgres'"));

for (const [what, statement] of [
  ['truncated and filled again', 'TRUNCATE public.stock; INSERT INTO public.stock SELECT generate_series(1, 100)'],
  ['of another type', 'ALTER TABLE public.stock ALTER n TYPE bigint'],
])
  if (one)
    real(`a table that is ${what} in one transaction has its rows in the set`, async () => {
      await inSession(one.pg.address, 'postgres', (client) =>
        client.query(
          `DROP TABLE IF EXISTS public.stock; CREATE TABLE public.stock AS SELECT generate_series(1, 100) AS n;
           CREATE TABLE IF NOT EXISTS public.much AS SELECT generate_series(1, 9000) AS n`,
        ),
      );
      let ended: Promise<unknown> = Promise.resolve();
      await new Promise<void>((held) => {
        ended = inSession(one.pg.address, 'postgres', async (client) => {
          await client.query(`BEGIN; ${statement}`);
          held();
          // Until pg_dump waits for the lock, long after its snapshot was taken.
          for (let i = 0; i < 400; i++) {
            const { rows } = await client.query("SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessShareLock'");
            if (rows.length > 0) break;
            await new Promise((done) => setTimeout(done, 25));
          }
          await client.query('COMMIT');
        });
      });
      const ran = await run(one);
      await ended;
      assert.equal(ran.failures, {});
      assert.is(newest(one).databases.postgres?.tables['"public"."stock"']?.rows, 100);
    });

if (one)
  real('a dump that fails is told at once, not when all is counted', async () => {
    const { exec } = one.ports;
    await inSession(one.pg.address, 'postgres', async (client) => {
      // What is counted waits for this, for up to 300 s.
      await client.query('CREATE TABLE public.held (n int)');
      await client.query('BEGIN; LOCK TABLE public.held');
      let waited = false;
      one.ports.exec = {
        ...exec,
        run: async (argv, options) => {
          if (!isDump(argv)) return exec.run(argv, options);
          for (let i = 0; i < 600 && !waited; i++) {
            const { rows } = await client.query('SELECT pid FROM pg_locks WHERE NOT granted');
            waited = rows.length > 0;
            await new Promise((done) => setTimeout(done, 25));
          }
          return { ...(await exec.run(['/bin/sh', '-c', 'echo no space left on device >&2; exit 1'], options)) };
        },
      };
      const ran = await run(one).finally(() => {
        one.ports.exec = exec;
      });
      assert.ok(waited, said(ran));
      assert.match(said(ran), /pg_dump ended with exit code 1; make room on the NAS/);
      const { rows } = await client.query('SELECT FROM pg_locks WHERE NOT granted');
      assert.is(rows.length, 0);
      await client.query('ROLLBACK; DROP TABLE public.held');
    });
  });

/** A run; as often as it dumps, `job` is done in the middle of it (`times` at most), and waits for what pg_dump locks. */
async function runWith(
  lab: StartedLab,
  job: string,
  times = Number.POSITIVE_INFINITY,
): Promise<{ ran: Ran<unknown>; dumps: number; jobs: number }> {
  const { exec } = lab.ports;
  let [dumps, jobs, over] = [0, 0, false];
  lab.ports.exec = {
    ...exec,
    run(argv, options) {
      if (isDump(argv)) dumps += 1;
      return exec.run(argv, options);
    },
  };
  const working = inSession(lab.pg.address, 'postgres', async (client) => {
    while (!over) {
      const copying = await client.query("SELECT FROM pg_stat_activity WHERE query LIKE 'COPY public.much%'");
      if (copying.rowCount && jobs < Math.min(dumps, times)) {
        jobs += 1;
        await client.query(job);
      }
      await new Promise((done) => setTimeout(done, 5));
    }
  });
  const ran = await run(lab).finally(() => {
    over = true;
    lab.ports.exec = exec;
  });
  await working;
  return { ran, dumps, jobs };
}

/** Many tables: one less is no loss of data. */
const OTHERS = Array.from({ length: 25 }, (_, i) => `CREATE TABLE IF NOT EXISTS public.other_${i} (n int)`).join('; ');
const MUCH = `${OTHERS}; DROP TABLE IF EXISTS public.stock, public.stock_new, public.much;
  CREATE TABLE public.much AS SELECT i AS n, md5(i::text) AS text FROM generate_series(1, 400000) i`;
const filled = (name: string): string => `CREATE TABLE public.${name} AS SELECT generate_series(1, 100) AS n`;

if (one)
  real('who waits until pg_dump ends does not make it dump once more', async () => {
    await inSession(one.pg.address, 'postgres', (client) => client.query(`${MUCH}; ${filled('stock')}; ANALYZE`));
    const { ran, dumps, jobs } = await runWith(one, 'TRUNCATE public.stock');
    assert.equal([ran.failures, dumps, jobs], [{}, 1, 1]);
    assert.is(newest(one).databases.postgres?.tables['"public"."stock"']?.rows, 100);
  });

// Without ANALYZE the large table is counted first, and the small one behind who waits for pg_dump.
for (const [what, before, job] of [
  ['truncated at every dump', filled('stock'), 'TRUNCATE public.stock; INSERT INTO public.stock VALUES (1)'],
  ['truncated at every dump, and empty', 'CREATE TABLE public.stock (n int)', 'TRUNCATE public.stock'],
  ['dropped meanwhile', filled('stock'), 'DROP TABLE IF EXISTS public.stock'],
  [
    'exchanged for another one by its name',
    `${filled('stock')}; CREATE TABLE public.stock_new AS SELECT 7 AS n`,
    `BEGIN; ALTER TABLE public.stock RENAME TO stock_old; ALTER TABLE public.stock_new RENAME TO stock;
     ALTER TABLE public.stock_old RENAME TO stock_new; COMMIT`,
  ],
  ['written anew by VACUUM FULL', filled('stock'), 'VACUUM FULL public.stock'],
] as const)
  if (one)
    real(`a table that is ${what} does not fail the night`, async () => {
      await inSession(one.pg.address, 'postgres', (client) => client.query(`${MUCH}; ${before}`));
      const { ran, dumps, jobs } = await runWith(one, job);
      assert.equal(ran.failures, {});
      assert.ok(jobs > 0 && dumps <= 3, `${jobs} times, ${dumps} dumps`);
    });

if (one)
  real('with several jobs, pg_dump gives up where somebody waits for a table; it is dumped once more', async () => {
    const [server] = one.lab.config.backup?.postgresql ?? [];
    if (!server) throw new Error('no server');
    server.databases.postgres = { jobs: 2 };
    await inSession(one.pg.address, 'postgres', (client) =>
      client.query(
        `${MUCH}; DROP TABLE IF EXISTS public.more; CREATE TABLE public.more AS TABLE public.much; ${filled('stock')}; ANALYZE`,
      ),
    );
    const { ran, dumps } = await runWith(one, 'TRUNCATE public.stock', 1);
    server.databases.postgres = { jobs: 1 };
    assert.equal([ran.failures, dumps], [{}, 2]);
  });

if (one)
  real('thousands of tables need no more locks than pg_dump takes', async () => {
    for (let from = 0; from < 3000; from += 500)
      await inSession(one.pg.address, 'postgres', (client) =>
        client.query(`DO $$ BEGIN FOR i IN ${from}..${from + 499} LOOP
          EXECUTE format('CREATE TABLE public.t%s (a int PRIMARY KEY, b int UNIQUE); CREATE INDEX ON public.t%s (b, a)', i, i);
        END LOOP; END $$`),
      );
    assert.equal((await run(one)).failures, {});
  });

real.run();
