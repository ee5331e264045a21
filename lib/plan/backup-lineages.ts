import type { BackupSet } from '../backup/sets.ts';
import { size } from '../render/backup-rows.ts';
import type { Note } from '../step.ts';
import { newestProven } from './backup-newest.ts';

/** What there is to know of a system identifier that is not the server's own any more. */
export type LineageRemark = { lineage: string; text: string };

/**
 * Sets of other system identifiers: the server was made anew, and whether its data came back nobody here can know. Told
 * until somebody says that it is no more needed, or takes the folder away.
 * @param own the system identifier of today
 * @param sets of all lineages, newest first
 */
export function otherLineages(server: string, own: string | undefined, sets: readonly BackupSet[]): LineageRemark[] {
  const others = new Set(sets.filter(({ retired }) => !retired).map(({ lineage }) => lineage));
  const now = newestProven(sets, own);
  return [...others]
    .filter((lineage) => lineage !== own)
    .map((lineage) => ({
      lineage,
      text:
        `sets of the system identifier ${lineage} are of the server before, or of another one: ${held(server, lineage, sets)}. ` +
        `The server of now (${own}) has ${now ? contents(now) : 'no proven set'}. ` +
        `Where nothing of the other is needed, an empty file RETIRED in ${server}/${lineage} on the target ends this remark`,
    }));
}

/** What a run says of them: a warning before the first set of a new server, then no more than a note. */
export function lineageNotes(name: string, own: string, sets: readonly BackupSet[]): Note[] {
  const others = sets.filter(({ lineage }) => lineage !== own);
  if (others.length === 0) return [];
  if (others.length < sets.length)
    return otherLineages(name, own, sets).map(({ text }) => ({ level: 'info', text: `${name}: ${text}` }));
  const lineages = [...new Set(others.map(({ lineage }) => lineage))];
  const wanted = newestProven(others)?.lineage ?? lineages[0];
  return [
    {
      level: 'warning',
      text: `${name}: its system identifier is ${own}; the sets so far are of ${lineages.join(', ')}: the server was made anew, or it is another one`,
      fix: `nothing is deleted of the old lineage; restore-postgres --server ${name} --all --of ${wanted} brings its databases back`,
    },
  ];
}

/** The newest that could be restored, and how. */
function held(server: string, lineage: string, sets: readonly BackupSet[]): string {
  const newest = newestProven(sets, lineage);
  if (newest)
    return `the newest proven one, ${newest.name}, has ${contents(newest)}; restore-postgres --server ${server} --all --of ${lineage} restores it`;
  const last = sets.find((set) => set.lineage === lineage);
  return `none is proven; backup-postgres verify ${last?.name} tries the newest`;
}

/** As its proof has counted. */
function contents({ report, bytes }: BackupSet): string {
  return `${report?.rows ?? 0} rows in ${size(bytes)}`;
}
