import type { BackupSet } from '../backup/sets.ts';
import { span } from '../backup/span.ts';
import type { Backup } from '../config/schema.ts';
import type { SeenBackup, SeenDatabase, SeenServer } from '../observe/backup.ts';
import { joinPlans, type Note, noSteps, type Plan, type Step } from '../step.ts';
import { suggestion } from '../suggest.ts';
import { planCopies } from './backup-copies.ts';
import { lineageNotes } from './backup-lineages.ts';
import { isStale, newestProven } from './backup-newest.ts';
import { expendable, type RetainedSet } from './retention.ts';

/** Deletions of one run and server at the most: a wrong policy must not empty a target in one night. */
const MOST_DELETIONS = 10;

const HOUR = 3_600_000;
const MARK = 'target/mark';

/**
 * A new set of every server: dump, publish, prove, compare, prune. A server that does not answer has its steps
 * too, and fails in them, so that the others go on.
 */
export function planRun(backup: Backup, seen: SeenBackup, { ifStale }: { ifStale: boolean }): Plan {
  if (!seen.target.ok) return blocked(seen.target.reason, seen.target.fix);
  const due = seen.servers.flatMap((server) => {
    const why = whyDue(server, seen, backup, ifStale);
    return why === undefined ? [] : [{ server, why }];
  });
  const notes = due.flatMap(({ server }) => notesOf(server, seen, backup));
  const fresh = seen.servers.filter((server) => !due.some((d) => d.server === server));
  notes.push(
    ...fresh.map(({ name, sets }): Note => {
      const newest = newestProven(sets);
      return { level: 'info', text: `${name}: ${newest?.name} is proven and ${age(newest, seen)} old; nothing to do` };
    }),
  );
  const dumping = due.flatMap(({ server, why }) => stepsOf(server, why, seen, backup));
  const names = due.map(({ server }) => server.name);
  return joinPlans(
    { steps: due.length > 0 ? [...marking(seen), ...dumping] : [], notes },
    planCopies(backup, seen, names),
  );
}

/** Restores sets once more: those that are named, or each server's newest. */
export function planVerify(seen: SeenBackup, name: string | undefined, identity = false): Plan {
  if (!seen.target.ok) return away(seen, 'backup-postgres verify --from second proves a copy');
  const sets = seen.servers.flatMap(({ sets: all }) =>
    name ? all.filter((set) => set.name === name) : all.slice(0, 1),
  );
  if (sets.length === 0)
    return blocked(
      name ? `there is no set ${name}` : 'there is no set yet',
      name ? 'backup-postgres list says which there are' : 'backup-postgres run makes one',
    );
  return {
    notes: sets.some(({ encrypted }) => encrypted) && !identity ? [HASHES_ONLY] : [],
    steps: sets.map((set) => ({
      id: `${set.server}/verify/${set.name}`,
      title:
        set.encrypted && !identity
          ? `${set.server}: hash ${set.name}; it is encrypted, and without --identity not restored`
          : `${set.server}: hash ${set.name}, restore it into a throw-away server, compare`,
      why: set.state === 'proven' ? `proven ${set.report?.checked}` : (set.problem ?? set.state),
      lane: 'prove',
      action: operation('verify', { server: set.server, lineage: set.lineage, set: set.name }, PROVE_SECONDS),
    })),
  };
}

const HASHES_ONLY: Note = {
  level: 'warning',
  text: 'encrypted sets are compared by hash only: that they restore is known from when they were made',
  fix: '--identity FILE (of age-keygen) decrypts and restores them: a full proof',
};

/** Deletes what the policy does not keep. */
export function planPrune(backup: Backup, seen: SeenBackup): Plan {
  if (!seen.target.ok) return blocked(seen.target.reason, seen.target.fix);
  const lineages = seen.servers.flatMap(({ sets }) =>
    [...new Set(sets.map(({ lineage }) => lineage))].map((lineage) => sets.filter((set) => set.lineage === lineage)),
  );
  const steps = lineages.flatMap((sets) =>
    setsToRemove(sets, backup, seen.now).map(
      (set): Step => ({
        id: `${set.server}/${set.lineage}/${set.name}`,
        title: `${set.server}: delete ${set.name}`,
        why: 'no rule of backup.keep keeps it',
        lane: set.server,
        destroys: [`the backup ${set.folder}`],
        action: operation('remove', { server: set.server, lineage: set.lineage, set: set.name }, SHORT_SECONDS),
      }),
    ),
  );
  return { steps, notes: [] };
}

/** Nothing is changed by list and status; a target that is not there is a failure of both. */
export function planLook(seen: SeenBackup): Plan {
  return seen.target.ok ? noSteps : away(seen, 'backup-postgres list --from second shows the copies');
}

/** A target that cannot be read. @param instead what the second one is good for meanwhile, where that is there */
function away({ target, second }: SeenBackup, instead: string): Plan {
  if (target.ok) return noSteps;
  return blocked(target.reason, `${target.fix}${second?.target.ok ? `; ${instead}` : ''}`);
}

/** The sets of one lineage that may go now. */
export function setsToRemove(sets: readonly BackupSet[], backup: Backup, now: number): BackupSet[] {
  const plain = sets.map((set): RetainedSet => ({ ...set, proven: set.state === 'proven' }));
  const names = new Set(expendable(plain, backup.keep, now, MOST_DELETIONS).map(({ name }) => name));
  return sets.filter(({ name }) => names.has(name));
}

const PROVE_SECONDS = 8 * 3600;
const SHORT_SECONDS = 1800;

function stepsOf({ name }: SeenServer, why: string, seen: SeenBackup, { deadlines }: Backup): Step[] {
  // Their programs, and what is asked of the NAS, have deadlines of their own; all of the run has this one.
  const long = deadlines.run_seconds;
  const step = (id: string, title: string, before: string | undefined, deadline: number, lane?: string): Step => ({
    id: `${name}/${id}`,
    title: `${name}: ${title}`,
    why,
    after: before ? [`${name}/${before}`] : marking(seen).map((mark) => mark.id),
    lane,
    action: operation(id, { server: name }, deadline),
  });
  return [
    step('dump', 'dump roles and databases, count every table in the same snapshot', undefined, long),
    step('publish', 'write manifest and hashes, publish the set by one rename', 'dump', SHORT_SECONDS),
    step('prove', 'restore the set into a throw-away server, compare every table', 'publish', long, 'prove'),
    step('compare', 'compare with the set before: nothing vanished', 'prove', SHORT_SECONDS),
    step('prune', 'delete sets that no rule of backup.keep keeps', 'compare', SHORT_SECONDS),
  ];
}

/** A target that is new, or new to this machine. */
function marking({ target, remembered, newId }: SeenBackup): Step[] {
  if (!target.ok || (target.sentinel && remembered)) return [];
  return [
    {
      id: MARK,
      title: target.sentinel ? 'remember the id of the backup target' : `make ${target.root} the target of this lab`,
      why: target.sentinel ? 'this machine has not used it before' : 'it is empty',
      action: operation('mark', { id: newId }, SHORT_SECONDS),
    },
  ];
}

function operation(name: string, args: Record<string, unknown>, deadline: number): Step['action'] {
  return { kind: 'operation', name, args, deadline };
}

function whyDue(
  { database, sets }: SeenServer,
  seen: SeenBackup,
  backup: Backup,
  ifStale: boolean,
): string | undefined {
  if (!ifStale) return 'asked for';
  if (!database?.ok) return 'the server was not reached, so that its newest set cannot be judged';
  const newest = newestProven(sets, database.systemIdentifier);
  if (!newest) return 'this server has no proven set';
  if (!isStale(sets, backup.max_age_hours, seen.now, database.systemIdentifier)) return undefined;
  return `${newest.name} is ${age(newest, seen)} old`;
}

function notesOf({ name, database, sets }: SeenServer, seen: SeenBackup, backup: Backup): Note[] {
  if (!database) return [];
  if (!database.ok) return [{ level: 'warning', text: `${name}: ${database.reason}`, fix: database.fix }];
  return [
    ...programNotes(name, database, seen),
    ...lineageNotes(name, database.systemIdentifier, sets),
    ...nameNotes(name, database, backup),
  ];
}

function programNotes(name: string, { major }: SeenDatabase & { ok: true }, seen: SeenBackup): Note[] {
  if (seen.installations.some((one) => one.server && one.major >= major)) return [];
  return [
    {
      level: 'warning',
      text: `${name}: no PostgreSQL server of version ${major} or newer on this machine: the set will stay unproven`,
      fix: `apt install postgresql-${major} (macOS: brew install postgresql@${major})`,
    },
  ];
}

/** What homelab.yaml says about databases that the server does not have; one under `include` is an error of the dump. */
function nameNotes(name: string, { databases }: SeenDatabase & { ok: true }, { postgresql }: Backup): Note[] {
  const server = postgresql.find((one) => one.name === name);
  const names = databases.map((database) => database.name);
  const said = [...(server?.exclude ?? []), ...Object.keys(server?.databases ?? {})];
  return [...new Set(said)]
    .filter((database) => !names.includes(database))
    .map((database) => ({
      level: 'warning',
      text: `${name}: homelab.yaml names the database ${JSON.stringify(database)}, which the server does not have`,
      fix: suggestion(database, names),
    }));
}

function age(set: BackupSet | undefined, { now }: SeenBackup): string {
  return span(set ? (now - set.time) / HOUR : 0);
}

function blocked(text: string, fix: string): Plan {
  return { steps: [], notes: [{ level: 'blocker', text, fix }] };
}
