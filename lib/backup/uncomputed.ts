import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HomelabError } from '../errors.ts';
import { lastLines } from '../ports/exec.ts';
import type { Outcome } from '../ports/types.ts';
import type { DumpedDatabase } from './manifest.ts';

/**
 * Materialized views are computed anew by a restore. One that reads a foreign server cannot be where that does not
 * answer, which says nothing about the dump: where there are both, the views are computed last, and may stay without rows.
 */

export const UNCOMPUTED =
  'materialized views were left without rows: they read foreign servers that do not answer here';

type PgRestore = (args: string[]) => Promise<Outcome>;

/**
 * Runs pg_restore on a dump; `fill` is its call with the options that say where to.
 * @returns the outcome of the restore, and whether materialized views were left without rows
 */
export async function restoreDump(
  { objects }: Pick<DumpedDatabase, 'objects'>,
  dump: string,
  folder: string,
  { list, fill }: { list: PgRestore; fill: PgRestore },
): Promise<{ outcome: Outcome; uncomputed: boolean }> {
  if (!objects?.['foreign servers'] || !objects['materialized views'])
    return { outcome: await fill(['--exit-on-error']), uncomputed: false };
  const { code, stdout, stderr } = await list(['--list', dump]);
  if (code !== 0) throw new HomelabError(`reading the list of ${dump}`, { output: lastLines(stderr || stdout) });
  const [rest, computed] = [false, true].map((wanted) => {
    const lines = stdout.split('\n').filter((line) => COMPUTED.test(line) === wanted || /^;|^\s*$/.test(line));
    const file = join(folder, wanted ? 'computed.list' : 'rest.list');
    writeFileSync(file, lines.join('\n'), { mode: 0o600 });
    return file;
  });
  const outcome = await fill(['--exit-on-error', `--use-list=${rest}`]);
  if (outcome.code !== 0) return { outcome, uncomputed: false };
  // Without --create: the database is there. One that fails does not keep the others from being computed.
  const last = await fill([`--use-list=${computed}`]);
  return onlyUnreachable(last) ? { outcome, uncomputed: last.code !== 0 } : { outcome: last, uncomputed: false };
}

const COMPUTED = /^\d+; \d+ \d+ MATERIALIZED VIEW DATA /;

function onlyUnreachable({ code, stderr }: Outcome): boolean {
  const errors = stderr.split('\n').filter((line) => /could not execute query: ERROR:/.test(line));
  const unreachable = /could not connect to server|could not establish connection/;
  return code === 0 || (errors.length > 0 && errors.every((line) => unreachable.test(line)));
}
