import { join } from 'node:path';
import { within } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import { REWRITTEN } from './catalog.ts';
import { cancelQuery, connect, endSession } from './connect.ts';
import { contentOf, countTables, nothingCounted, sequenceRanges, sequencesOf, TableChanged } from './content.ts';
import { type DumpContext, finishDump, LOCK_WAIT, LOCKED, runDump, whereLocked } from './dump-programs.ts';
import type { DumpedDatabase } from './manifest.ts';
import { dumpFileOf, quoteIdent } from './names.ts';
import { propertiesOf } from './properties.ts';

export type DumpOptions = {
  /** Tables dumped side by side, into a folder; 1: one file. */
  jobs?: number;
  /** A table that is locked for longer than this fails the dump instead of hanging it. */
  lockWait?: number;
};

/**
 * Dumps one database and counts it in the same snapshot, so that a restore can be compared with it whatever
 * was written meanwhile. The files are on disk, hashed and read through when this returns.
 */
export async function dumpDatabase(
  context: DumpContext,
  database: string,
  options: DumpOptions = {},
): Promise<DumpedDatabase> {
  const restless = new Set<string>();
  for (let attempt = 1; ; attempt++) {
    try {
      return await dumpSnapshot(context, database, options, [...restless]);
    } catch (error) {
      if (!(error instanceof TableChanged)) throw error;
      for (const table of error.tables) restless.add(table);
      if (attempt === SNAPSHOTS) throw changed(database, error);
      await context.nas.remove(join(context.folder, fileOf(database, options)));
    }
  }
}

/** One that waited for a job which writes a table anew is dumped once more, from a snapshot of afterwards. */
const SNAPSHOTS = 3;

const fileOf = (database: string, { jobs = 1 }: DumpOptions): string => dumpFileOf(database, jobs > 1 ? 'dir' : 'dump');

/**
 * @param restless tables that changed under the snapshot before: counted before pg_dump makes anybody wait for them
 * @throws TableChanged where the snapshot does not hold the rows of a table, so that neither do the dump and the count
 */
async function dumpSnapshot(
  context: DumpContext,
  database: string,
  options: DumpOptions,
  restless: readonly string[],
): Promise<DumpedDatabase> {
  const { jobs = 1, lockWait = LOCK_WAIT } = options;
  const file = fileOf(database, options);
  const session = await connect(context.address, database);
  try {
    await session.query(`SET lock_timeout = '${lockWait}s'; BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY`);
    const snapshot = await session.query<{ id: string }>('SELECT pg_export_snapshot() AS id');
    const before = await sequencesOf(session);
    const counted = nothingCounted();
    if (restless.length > 0)
      await within(context.deadline(), `counting ${JSON.stringify(database)}`, () =>
        countTables(session, 'columns', counted, restless),
      );
    let isDumped = false;
    const dumping = runDump(context, { database, file, jobs, lockWait, snapshot: String(snapshot.rows[0]?.id) });
    const finishing = dumping.then(() => {
      isDumped = true;
      return finishDump(context, file, jobs > 1);
    });
    const counting = within(context.deadline(), `counting ${JSON.stringify(database)}`, async () => {
      const properties = await propertiesOf(session);
      const content = await contentOf(session, 'columns', counted);
      const { rows } = await session.query<{ schema: string; name: string }>(REWRITTEN);
      // VACUUM FULL and CLUSTER keep what a snapshot sees; TRUNCATE and ALTER TABLE leave nothing of it. Who waited for
      // pg_dump's locks goes on when it ends, and does no harm, unless the table was still to be counted.
      const rewritten = rows
        .map(({ schema, name }) => `${quoteIdent(schema)}.${quoteIdent(name)}`)
        .filter((table) => {
          const count = content.tables[table]?.rows;
          if (count === undefined) return false;
          return counted.anew.has(table) ? count === 0 : count > 0 && !isDumped;
        });
      if (rewritten.length > 0) throw new TableChanged(rewritten);
      return { ...properties, row_hash: 'columns' as const, ...content };
    });
    // What is counted is of no use then, and a large database would be counted for hours before that is told; but the
    // count finds out which table it was that pg_dump missed.
    void finishing.catch((error) => (isGone(error) ? undefined : cancelQuery(context.address, database, session)));
    // All are waited for before a failure is told: no program may go on writing into the folder.
    const [finished, content] = await Promise.allSettled([finishing, counting]);
    if (finished.status === 'rejected') throw vanished(finished.reason, content) ?? finished.reason;
    if (content.status === 'rejected') throw uncounted(database, content.reason, lockWait);
    const sequences = sequenceRanges(before, await sequencesOf(session));
    return { ...finished.value, ...content.value, sequences };
  } finally {
    await endSession(session);
  }
}

function changed(database: string, { tables }: TableChanged): HomelabError {
  return new HomelabError(
    `${JSON.stringify(database)}: ${tables.join(', ')}: written anew (TRUNCATE, or ALTER TABLE), dropped, renamed or waited for while it was dumped, ${SNAPSHOTS} times`,
    {
      cause: 'a snapshot does not hold such a table: in the dump it would be empty',
      fix: 'run when that job does not',
    },
  );
}

/** pg_dump could not find a table: one that was dropped before it could lock it. */
function isGone(error: unknown): boolean {
  return error instanceof HomelabError && /relation .* does not exist|could not open relation/.test(error.output ?? '');
}

function vanished(error: unknown, counting: PromiseSettledResult<unknown>): TableChanged | undefined {
  if (!isGone(error) || counting.status === 'fulfilled') return undefined;
  return counting.reason instanceof TableChanged ? counting.reason : undefined;
}

function uncounted(database: string, error: unknown, lockWait: number): Error {
  if (error instanceof TableChanged) return error;
  const said = `counting ${JSON.stringify(database)}: ${messageOf(error)}`;
  return new HomelabError(said, LOCKED.test(said) ? whereLocked(lockWait) : {});
}
