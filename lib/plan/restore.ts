import { derivedName } from '../backup/names.ts';
import type { BackupSet } from '../backup/sets.ts';
import type { SeenBackup } from '../observe/backup.ts';
import type { Note, Plan, Step } from '../step.ts';
import { newestProven } from './backup.ts';

export type RestoreArgs = {
  set?: string;
  server: string;
  database: string;
  swap?: boolean;
  systemIdentifier?: string;
};

export type SeenRestore = SeenBackup & {
  /** Part of the new database's name. */
  runId: string;
};

/** The names that a restore makes. */
export function restoreNames(database: string, { runId, now }: Pick<SeenRestore, 'runId' | 'now'>) {
  const stamp = new Date(now)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '');
  return { into: derivedName(database, `__restore_${runId}`), before: derivedName(database, `_before_${stamp}`) };
}

/** Into a fresh database, compared; with `swap` it takes the old one's name, and the old one is kept under another. */
export function planRestore(seen: SeenRestore, args: RestoreArgs): Plan {
  const [server] = seen.servers;
  if (!seen.target.ok) return blocked(seen.target.reason, seen.target.fix);
  if (!server?.database) throw new Error('the server was not observed');
  if (!server.database.ok) return blocked(`${server.name}: ${server.database.reason}`, server.database.fix);
  const { systemIdentifier } = server.database;
  const set = args.set
    ? server.sets.find(({ name }) => name === args.set)
    : (newestProven(server.sets, systemIdentifier) ?? newestProven(server.sets));
  const refusal = refused(set, args, systemIdentifier, server.name);
  if (refusal || !set) return refusal ?? blocked('there is no set');

  const { into, before } = restoreNames(args.database, seen);
  const operands = { server: server.name, lineage: set.lineage, set: set.name, database: args.database, into, before };
  const step = (name: string, title: string, after: string | undefined): Step => ({
    id: `${server.name}/${name}`,
    title: `${server.name}: ${title}`,
    why: 'asked for',
    after: after ? [`${server.name}/${after}`] : [],
    action: { kind: 'operation', name, args: { ...operands, systemIdentifier }, deadline: RESTORE_SECONDS },
  });
  const exists = server.database.databases.some(({ name }) => name === args.database);
  const swapping = exists
    ? `rename ${args.database} to ${before} and ${into} to ${args.database}, in one transaction`
    : `rename ${into} to ${args.database}`;
  return {
    notes: notesOf(set, systemIdentifier, args, into),
    steps: [
      step('hash', `compare the hashes of ${set.name}`, undefined),
      step('restore', `restore ${args.database} of ${set.name} into the new database ${into}`, 'hash'),
      step('compare', `compare every table of ${into} with the set`, 'restore'),
      ...(args.swap ? [step('swap', swapping, 'compare')] : []),
    ],
  };
}

const RESTORE_SECONDS = 8 * 3600;

function refused(
  set: BackupSet | undefined,
  args: RestoreArgs,
  systemIdentifier: string,
  server: string,
): Plan | undefined {
  if (!set)
    return blocked(
      args.set ? `${server} has no set ${args.set}` : `${server} has no proven set`,
      args.set ? 'backup-postgres list says which there are' : 'backup-postgres list says what is wrong with each',
    );
  if (set.state !== 'proven')
    return blocked(
      `${set.name} is ${set.state}: ${set.problem}; nothing is restored from it`,
      set.state === 'unproven' ? `backup-postgres verify ${set.name}` : 'take another one: backup-postgres list',
    );
  if (!set.databases.includes(args.database))
    return blocked(
      `${set.name} has no database ${JSON.stringify(args.database)}`,
      `it has: ${set.databases.join(', ')}`,
    );
  if ((args.swap || args.systemIdentifier !== undefined) && args.systemIdentifier !== systemIdentifier)
    return blocked(
      args.systemIdentifier === undefined
        ? `--swap needs --system-identifier, so that it cannot hit another server`
        : `--system-identifier ${args.systemIdentifier} is not that of ${server}`,
      `${server}, as it runs now, has ${systemIdentifier}: look whether it is the one that you mean, and give that`,
    );
  return undefined;
}

function notesOf(set: BackupSet, systemIdentifier: string, { swap, database }: RestoreArgs, into: string): Note[] {
  const notes: Note[] = [];
  if (set.lineage !== systemIdentifier)
    notes.push({
      level: 'warning',
      text: `${set.name} is of the server ${set.lineage}; it is restored into ${systemIdentifier}`,
    });
  if (!swap)
    notes.push({
      level: 'info',
      text: `${database} stays as it is; the restored data will be in ${into}; --swap would exchange their names`,
    });
  return notes;
}

function blocked(text: string, fix?: string): Plan {
  return { steps: [], notes: [{ level: 'blocker', text, fix }] };
}
