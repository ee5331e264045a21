import type { Manifest } from '../backup/manifest.ts';
import { derivedName, isLeftOf, majorOf, quoteIdent, spelled } from '../backup/names.ts';
import type { Occupancy } from '../backup/occupancy.ts';
import type { BackupSet } from '../backup/sets.ts';
import type { Which } from '../backup/target.ts';
import { UsageError } from '../errors.ts';
import type { SeenBackup, SeenDatabase } from '../observe/backup.ts';
import type { Note, Plan, Step } from '../step.ts';
import { chooseSet, exactName } from './restore-set.ts';

export type RestoreArgs = {
  set?: string;
  /** A server of backup.postgresql; left out, the only one is meant. */
  server?: string;
  database?: string[];
  all?: boolean;
  swap?: boolean;
  /** System identifier of the server whose set is wanted, where it is not the one that runs now. */
  of?: string;
  /** Takes a set that was never proven, or is damaged elsewhere than in what is restored. */
  unproven?: boolean;
  /** The target whose set is taken. */
  from?: Which;
  /** A file with a secret key of age, for a set that is encrypted. */
  identity?: string;
};

export type SeenRestore = SeenBackup & {
  /** Part of the new databases' names. */
  runId: string;
  occupancy: Occupancy;
  /** The names under which the target holds sets. */
  there: string[];
};

/** What is to be done with one database of the set. */
export type Restoring = {
  database: string;
  /** Where it is restored. */
  into: string;
  /** The name of what has its name so far, afterwards. */
  before: string;
  /** What may have the name then; undefined: it is restored beside it, and stays there. */
  over: 'nothing' | 'empty' | 'any' | undefined;
};

/** Into fresh databases, compared; each takes its name where that is free, or has an empty database, or with --swap. */
export function planRestore(seen: SeenRestore, args: RestoreArgs): Plan {
  const [server] = seen.servers;
  if (args.all && args.database)
    throw new UsageError('--all and --database were both given', { fix: 'give one of them' });
  if (!seen.target.ok) return blocked(seen.target.reason, `${seen.target.fix}${elsewhere(seen)}`);
  if (!server?.database) throw new Error('the server was not observed');
  if (!server.database.ok) return blocked(`${server.name}: ${server.database.reason}`, server.database.fix);
  if (server.sets.length === 0) return withoutSets(server.name, seen.target.root, seen.there);
  const chosen = chooseSet(server, args, server.database.systemIdentifier);
  if ('refused' in chosen) return blocked(chosen.refused, chosen.fix);
  const { set, manifest, notes } = chosen;
  const unfit = unfitServer(server.name, manifest, server.database, seen);
  if (unfit) return unfit;
  const all = restorings(manifest, seen, args);
  const skipped = Object.keys(manifest.databases).filter(
    (name) => args.all && !all.some(({ database }) => database === name),
  );
  if (all.length === 0)
    notes.push({ level: 'warning', text: `nothing is restored: ${set.name} holds nothing that the server lacks` });
  return {
    notes: [
      ...notes,
      ...all.flatMap((one) => notesOf(one, server.name, seen)),
      ...skipped.map(skippedNote),
      ...leftovers(server.database),
    ],
    steps:
      all.length === 0
        ? []
        : stepsOf(set, manifest, all, server.database, { ...seen, unproven: args.unproven === true }),
  };
}

/** A server that was renamed in homelab.yaml, or is called otherwise in one that was written anew. */
function withoutSets(server: string, root: string, there: readonly string[]): Plan {
  const names = there.filter((name) => name !== server);
  return blocked(
    `${root} holds no set of ${server}`,
    names.length === 0
      ? 'backup-postgres run makes one'
      : `it holds sets of ${names.join(', ')}: to restore one of these, call the server so in backup.postgresql of homelab.yaml`,
  );
}

/** That the copies are there, where the first target is not. */
function elsewhere({ second }: SeenRestore): string {
  return second?.target.ok ? '; or take a copy of the second target: --from second' : '';
}

/** What is restored, where nothing is in its way; nothing otherwise. */
export function chosenFor(
  seen: SeenRestore,
  args: RestoreArgs,
): { set: BackupSet; manifest: Manifest; all: Restoring[] } | undefined {
  const [server] = seen.servers;
  if (!seen.target.ok || !server?.database?.ok) return undefined;
  const chosen = chooseSet(server, args, server.database.systemIdentifier);
  if ('refused' in chosen) return undefined;
  return { set: chosen.set, manifest: chosen.manifest, all: restorings(chosen.manifest, seen, args) };
}

/** The databases that are restored, and under which names. */
export function restorings(manifest: Manifest, seen: SeenRestore, args: RestoreArgs): Restoring[] {
  const all = Object.keys(manifest.databases);
  const wanted = args.all ? all : [...new Set(args.database?.map((name) => exactName(name, all)))];
  const stamp = new Date(seen.now)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '');
  const taken = new Set(Object.keys(seen.occupancy.databases));
  const fresh = (database: string, suffix: string): string => {
    // Long names are cut, and may then be alike.
    for (let i = 1; ; i++) {
      const name = derivedName(database, i === 1 ? suffix : `${suffix}_${i}`);
      if (taken.has(name)) continue;
      taken.add(name);
      return name;
    }
  };
  return wanted.flatMap((database): Restoring[] => {
    const now = seen.occupancy.databases[database];
    // `postgres`, above all: every server has one, and nothing is in it.
    if (args.all && now && isBare(manifest, database)) return [];
    const over = !now ? 'nothing' : now.empty ? 'empty' : args.swap ? 'any' : undefined;
    return [
      { database, over, into: fresh(database, `__restore_${seen.runId}`), before: fresh(database, `_before_${stamp}`) },
    ];
  });
}

const RESTORE_SECONDS = 8 * 3600;

function stepsOf(
  { name: set, server, lineage, bytes }: BackupSet,
  manifest: Manifest,
  all: readonly Restoring[],
  { roles, systemIdentifier, major }: SeenDatabase & { ok: true },
  { occupancy, unproven }: Pick<SeenRestore, 'occupancy'> & { unproven: boolean },
): Step[] {
  const common = { server, lineage, set, systemIdentifier, major, unproven };
  const step = (id: string, title: string, name: string, more: object, after?: string): Step => ({
    id: `${server}/${id}`,
    title: `${server}: ${title}`,
    why: 'asked for',
    after: after ? [`${server}/${after}`] : [],
    lane: server,
    action: { kind: 'operation', name, args: { ...common, ...more }, deadline: RESTORE_SECONDS },
  });
  const missing = manifest.roles.filter((role) => !roles.includes(role));
  const mib = `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return [
    step('hash', `compare the hashes of ${set} (${mib})`, 'hash', { databases: all.map(({ database }) => database) }),
    ...(missing.length > 0
      ? [step('roles', `make the roles that are missing: ${missing.map(spelled).join(', ')}`, 'roles', {}, 'hash')]
      : []),
    ...all.flatMap(({ database, into, before, over }): Step[] => {
      const name = spelled(database);
      const more = { database, into, before, over };
      const from = missing.length > 0 ? 'roles' : 'hash';
      const steps = [
        step(`${name}/restore`, `restore ${name} into the new database ${spelled(into)}`, 'restore', more, from),
        step(
          `${name}/compare`,
          `compare ${spelled(into)} with the set, table by table`,
          'compare',
          more,
          `${name}/restore`,
        ),
      ];
      if (over === undefined) return steps;
      const renames =
        over === 'nothing'
          ? `rename ${spelled(into)} to ${name}`
          : `rename ${name} to ${spelled(before)} and ${spelled(into)} to ${name}, in one transaction`;
      const placing = step(`${name}/place`, renames, 'place', more, `${name}/compare`);
      const sessions = occupancy.databases[database]?.sessions ?? 0;
      if (over === 'any') {
        placing.destroys = [
          `to applications, ${name} as it is now: they reach the restored one, and it is kept as ${spelled(before)} (${sessionsOn(sessions)} on it will be ended)`,
        ];
        placing.confirm = [name, systemIdentifier];
      }
      return [...steps, placing];
    }),
  ];
}

/** Versions that cannot read the set, here or in the server. */
function unfitServer(
  name: string,
  { versions }: Manifest,
  { version, major }: SeenDatabase & { ok: true },
  { installations }: SeenBackup,
): Plan | undefined {
  if (major < majorOf(versions.server))
    return blocked(
      `${name} is PostgreSQL ${version}, older than ${versions.server}, of which the set is`,
      `run PostgreSQL ${majorOf(versions.server)} or newer there: dumps go into the same or a newer version`,
    );
  const written = majorOf(versions.client);
  if (installations.some((one) => one.major >= written)) return undefined;
  const here = installations.map((one) => one.version).join(', ');
  return blocked(
    `the set was written by pg_dump ${versions.client}; this machine has ${here ? `only ${here}` : 'no pg_restore'}`,
    `apt install postgresql-client-${written} (macOS: brew install postgresql@${written})`,
  );
}

/** Whether the set holds nothing of a database that a new one lacks. */
function isBare({ databases }: Manifest, name: string): boolean {
  const one = databases[name];
  if (!one?.objects) return false;
  const objects = Object.entries(one.objects).filter(([kind]) => kind !== 'extensions');
  const extensions = Object.keys(one.extensions).filter((extension) => extension !== 'plpgsql');
  return (
    objects.length +
      extensions.length +
      one.settings.length +
      Object.keys(one.tables).length +
      one.large_objects.rows ===
    0
  );
}

function notesOf({ database, over, into, before }: Restoring, server: string, seen: SeenRestore): Note[] {
  const now = seen.occupancy.databases[database];
  if (!now || over === 'nothing') return [];
  const name = spelled(database);
  if (over === 'empty')
    return [info(`${name} is there, and empty: it is kept as ${spelled(before)}, and the restored one takes its name`)];
  if (over === undefined)
    return [
      info(
        `${name} stays as it is: it is not empty; the restored data will be in ${spelled(into)}`,
        `--swap exchanges their names, and keeps the old one`,
      ),
    ];
  return now.sessions === 0
    ? []
    : [info(`${sessionsOn(now.sessions)} on ${name} of ${server} will be ended at the exchange of the names`)];
}

function skippedNote(name: string): Note {
  return info(`${spelled(name)}: the set has nothing in it, and the server has one: left as it is`);
}

/** What restores have left, finished or not. */
function leftovers({ databases }: SeenDatabase & { ok: true }): Note[] {
  const named = (what: 'restored' | 'before'): string[] =>
    databases.map(({ name }) => name).filter((name) => isLeftOf(what, name));
  const drop = (names: string[]): string =>
    `when nothing of it is needed: ${names.map((name) => `DROP DATABASE ${quoteIdent(name)};`).join(' ')}`;
  const restored = named('restored');
  const before = named('before');
  return [
    ...(restored.length > 0
      ? [
          info(
            `restored beside the original, or by a run that did not end: ${restored.map(spelled).join(', ')}`,
            drop(restored),
          ),
        ]
      : []),
    ...(before.length > 0 ? [info(`kept by earlier restores: ${before.map(spelled).join(', ')}`, drop(before))] : []),
  ];
}

function sessionsOn(count: number): string {
  return `${count} ${count === 1 ? 'session' : 'sessions'}`;
}

function info(text: string, fix?: string): Note {
  return { level: 'info', text, fix };
}

function blocked(text: string, fix?: string): Plan {
  return { steps: [], notes: [{ level: 'blocker', text, fix }] };
}
