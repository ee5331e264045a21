import type { Manifest } from '../backup/manifest.ts';
import { spelled } from '../backup/names.ts';
import type { BackupSet } from '../backup/sets.ts';
import type { SeenServer } from '../observe/backup.ts';
import type { Note } from '../step.ts';
import { suggestion } from '../suggest.ts';
import { alarms } from './backup-alarms.ts';
import { newestProven } from './backup-newest.ts';
import type { RestoreArgs } from './restore.ts';

export type Chosen = { set: BackupSet; manifest: Manifest; notes: Note[] } | { refused: string; fix: string };

/**
 * Which set is restored. A server that was made anew may have been backed up since, with nothing in it: where there
 * are sets of several servers, or of another one only, whose is wanted has to be said.
 */
export function chooseSet({ name, sets }: SeenServer, args: RestoreArgs, systemIdentifier: string): Chosen {
  const lineages = [...new Set(sets.map(({ lineage }) => lineage))];
  if (args.of !== undefined && !lineages.includes(args.of))
    return {
      refused: `there are no sets of the server ${args.of}`,
      fix: `there are: ${described(sets, lineages, systemIdentifier)}`,
    };
  const lineage = args.of ?? systemIdentifier;
  const set = args.set ? sets.find((one) => one.name === args.set) : newestProven(sets, lineage);
  if (args.set && !set)
    return { refused: `${name} has no set ${args.set}`, fix: 'backup-postgres list says which there are' };
  if (args.set && set && set.lineage !== lineage)
    return {
      refused: `${set.name} is of the server ${set.lineage}; ${args.of ? `--of says ${args.of}` : `${name}, as it runs now, is ${systemIdentifier}`}`,
      fix: `when it is wanted all the same: --of ${set.lineage}`,
    };
  // The one with the most in it first: it is wanted more likely than that of a server which is new.
  const asked = new Set(sets.filter(({ retired }) => !retired).map((one) => one.lineage)).add(systemIdentifier);
  const elsewhere = lineages
    .filter((one) => asked.has(one) && newestProven(sets, one))
    .sort((a, b) => rowsOf(newestProven(sets, b)) - rowsOf(newestProven(sets, a)));
  if (!args.set && args.of === undefined && elsewhere.some((one) => one !== systemIdentifier))
    return {
      refused: `whose backup is wanted? ${described(sets, elsewhere, systemIdentifier)}`,
      fix: `add ${elsewhere.map((one) => `--of ${one} for ${rowsOf(newestProven(sets, one))} rows`).join(', or ')}`,
    };
  if (!set) return { refused: `${name} has no proven set`, fix: NO_PROVEN };
  return judged(set, sets, args, systemIdentifier);
}

const NO_PROVEN =
  'backup-postgres list says what is wrong with each; backup-postgres verify SET proves one, SET --unproven takes one as it is';

function judged(set: BackupSet, sets: readonly BackupSet[], args: RestoreArgs, systemIdentifier: string): Chosen {
  const { manifest } = set;
  if (set.encrypted && !manifest)
    return {
      refused: `${set.name} is encrypted to ${set.encrypted.recipients.join(', ')}`,
      fix: 'give the file with the secret key of one of them (age-keygen wrote it): --identity FILE',
    };
  if (!manifest || set.manifestOfAnother)
    return {
      refused: `${set.name} is damaged: ${set.problem}; nothing can be restored from it`,
      fix: 'take another one: backup-postgres list',
    };
  if (set.state !== 'proven' && !args.unproven)
    return {
      refused: `${set.name} is ${set.state}: ${set.problem}; nothing is restored from it`,
      fix: `backup-postgres verify ${set.name}; in an emergency --unproven takes what its hashes allow`,
    };
  const has = `${set.name} has: ${set.databases.map(spelled).join(', ')}`;
  if (!args.all && !args.database?.length)
    return { refused: 'it was not said which database is wanted', fix: `add --database NAME, or --all; ${has}` };
  for (const database of args.all ? [] : (args.database ?? []))
    if (!set.databases.includes(exactName(database, set.databases)))
      return {
        refused: `${set.name} has no database ${JSON.stringify(database)}`,
        fix: suggestion(database, set.databases.map(spelled)),
      };
  return { set, manifest, notes: notesOf(set, manifest, sets, systemIdentifier) };
}

/** A database as it was given: by its name, or as names are shown (spelled). */
export function exactName(given: string, databases: readonly string[]): string {
  return databases.includes(given) ? given : (databases.find((name) => spelled(name) === given) ?? given);
}

function notesOf(set: BackupSet, manifest: Manifest, sets: readonly BackupSet[], systemIdentifier: string): Note[] {
  const notes: Note[] = [];
  if (set.lineage !== systemIdentifier)
    notes.push({
      level: 'warning',
      text: `${set.name} is of the server ${set.lineage}; it is restored into ${systemIdentifier}`,
    });
  if (set.state !== 'proven') notes.push({ level: 'warning', text: `${set.name} is ${set.state}: ${set.problem}` });
  const earlier = sets.filter(({ lineage, time }) => lineage === set.lineage && time < set.time);
  const before = newestProven(earlier);
  const shrunk = alarms(manifest, before?.manifest, 0);
  if (before && shrunk.length > 0)
    notes.push({
      level: 'warning',
      text: `${set.name} holds less than the set before: ${shrunk.join('; ')}`,
      fix: `restore from the one before when that is missing: ${before.name}`,
    });
  return notes;
}

/** Whose sets there are, in words. */
function described(sets: readonly BackupSet[], lineages: readonly string[], systemIdentifier: string): string {
  return lineages
    .map((lineage) => {
      const newest = newestProven(sets, lineage);
      const runs = lineage === systemIdentifier ? ' (the server that runs now)' : '';
      if (!newest) return `${lineage}${runs}, without a proven set`;
      return `${lineage}${runs}: ${newest.name}, ${newest.report?.databases ?? 0} databases, ${rowsOf(newest)} rows`;
    })
    .join('; ');
}

/** As its proof has counted them: of an encrypted set nothing else can be read. */
function rowsOf(set: BackupSet | undefined): number {
  return set?.report?.rows ?? 0;
}
