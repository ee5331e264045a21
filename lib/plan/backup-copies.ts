import type { BackupSet } from '../backup/sets.ts';
import type { Backup } from '../config/schema.ts';
import type { SeenBackup, SeenSecond, SeenServer } from '../observe/backup.ts';
import { type Note, noSteps, type Plan, type Step } from '../step.ts';
import { retained } from './retention.ts';

/** Older sets that one run copies or encrypts at the most, a server: a new second target fills in a few nights. */
export const MOST_OLDER = 5;

const COPY_SECONDS = 8 * 3600;
const SHORT_SECONDS = 1800;
const MARK = 'second/mark';
/** One copy at a time: a disk that two write to is slower than one after the other. */
const LANE = 'copy';

/**
 * What follows a set's proof: encryption where it lies, and the copy on the second target with a proof of its own.
 * A second target that is away has its steps too, and fails in them: the first is not touched by that.
 * @param due the servers that get a new set in this run
 */
export function planCopies(backup: Backup, seen: SeenBackup, due: readonly string[]): Plan {
  const plans = seen.servers.map((server) => planServer(backup, seen, server, due.includes(server.name)));
  const steps = plans.flatMap((plan) => plan.steps);
  const needed = steps.some(({ after }) => after?.includes(MARK));
  return {
    steps: [...(needed ? marking(seen.second) : []), ...steps],
    notes: [...awayNotes(seen), ...plans.flatMap((p) => p.notes)],
  };
}

function planServer(backup: Backup, seen: SeenBackup, server: SeenServer, isDue: boolean): Plan {
  const encrypting = backup.target.encrypt_to ? encryption(server, isDue) : noSteps;
  const { second } = seen;
  if (!second) return encrypting;
  const copying = copies(backup, seen, server, isDue, second, new Set(encrypting.steps.map(({ id }) => id)));
  return { steps: [...encrypting.steps, ...copying.steps], notes: [...encrypting.notes, ...copying.notes] };
}

/** Sets of the first target that are proven and plain, or whose plain files are not all gone. */
function encryption({ name, sets }: SeenServer, isDue: boolean): Plan {
  const plain = sets.filter((set) => set.state === 'proven' && (!set.encrypted || (set.leftovers?.length ?? 0) > 0));
  const now = plain.slice(0, MOST_OLDER);
  const step = (id: string, what: string, why: string, args: object, after: string[]): Step => ({
    id: `${name}/${id}`,
    title: `${name}: encrypt ${what}, decrypt it again to compare, delete its plain files`,
    why,
    after,
    lane: LANE,
    action: operation('encrypt', { server: name, ...args }, COPY_SECONDS),
  });
  return {
    steps: [
      ...(isDue ? [step('encrypt', 'the set', 'backup.target.encrypt_to', {}, [`${name}/compare`])] : []),
      ...now.map((set) =>
        step(
          `encrypt/${set.name}`,
          set.name,
          !set.encrypted ? 'it is plain' : 'plain files are left of it',
          which(set),
          [],
        ),
      ),
    ],
    notes: later(name, plain.length - now.length, 'encrypted'),
  };
}

function copies(
  backup: Backup,
  seen: SeenBackup,
  { name, sets }: SeenServer,
  isDue: boolean,
  second: SeenSecond,
  encrypting: ReadonlySet<string>,
): Plan {
  const missing = missingCopies(backup, sets, second.sets[name] ?? [], seen.now);
  const older = second.target.ok ? missing.slice(0, MOST_OLDER) : [];
  const mark = marking(second).map(({ id }) => id);
  const pair = (suffix: string, what: string, why: string, args: object, after: string[]): Step[] => [
    {
      id: `${name}/copy${suffix}`,
      title: `${name}: copy ${what} to the second target, hash it as it is read and as it lies there`,
      ...{ why, after, lane: LANE, action: operation('copy', { server: name, ...args }, COPY_SECONDS) },
    },
    {
      id: `${name}/prove-copy${suffix}`,
      title: `${name}: restore the copy of ${what} from the second target into a throw-away server, compare every table`,
      ...{ why, after: [`${name}/copy${suffix}`], lane: LANE },
      action: operation('prove-copy', { server: name, ...args }, COPY_SECONDS),
    },
  ];
  const after = (id: string): string[] => (encrypting.has(id) ? [id] : []);
  // Where nothing is due and the disk is away, somebody has to be told all the same.
  const newest = isDue || !second.target.ok;
  const ready = isDue ? [encrypting.has(`${name}/encrypt`) ? `${name}/encrypt` : `${name}/prove`] : [];
  const steps = [
    ...(newest ? pair('', isDue ? 'the set' : 'what it lacks', 'backup.second_target', {}, [...mark, ...ready]) : []),
    ...older.flatMap((set) =>
      pair(`/${set.name}`, set.name, 'the second target lacks it', which(set), [
        ...mark,
        ...after(`${name}/encrypt/${set.name}`),
      ]),
    ),
  ];
  const proofs = steps.filter(({ action }) => action.kind === 'operation' && action.name === 'prove-copy');
  if (proofs.length > 0)
    steps.push({
      id: `${name}/prune-copies`,
      title: `${name}: delete copies that no rule of backup.keep keeps`,
      why: 'backup.second_target',
      after: [...(isDue ? [`${name}/compare`] : []), ...proofs.map(({ id }) => id)],
      lane: LANE,
      action: operation('prune-copies', { server: name }, SHORT_SECONDS),
    });
  const notes = [
    ...later(name, missing.length - older.length, 'copied to the second target'),
    ...plainNotes(backup, name, second.sets[name] ?? []),
  ];
  return { steps, notes };
}

/** An owner who asks for encryption later must know what lies there as it was. */
function plainNotes({ target, second_target }: Backup, name: string, copied: readonly BackupSet[]): Note[] {
  const plain = copied.filter(({ encrypted, state }) => !encrypted && state !== 'damaged').length;
  if (plain === 0 || !(target.encrypt_to ?? second_target?.encrypt_to)) return [];
  return [
    {
      level: 'warning',
      text: `${name}: ${plain} ${plain === 1 ? 'copy' : 'copies'} on the second target, made before encrypt_to was set, can be read by anybody`,
      fix: 'delete them there; the next runs copy them anew, encrypted',
    },
  ];
}

/**
 * Sets that are proven on the first target and not on the second, newest first; what `backup.keep` would delete at
 * once is not missed.
 */
export function missingCopies(
  backup: Backup,
  sets: readonly BackupSet[],
  copied: readonly BackupSet[],
  now: number,
): BackupSet[] {
  const there = new Set(copied.filter(({ state }) => state === 'proven').map(key));
  const kept = new Set(
    [...new Set(sets.map(({ lineage }) => lineage))].flatMap((lineage) => {
      const plain = sets.filter((set) => set.lineage === lineage);
      const counted = plain.map((set) => ({ ...set, proven: set.state === 'proven' }));
      return [...retained(counted, backup.keep, now).keys()].map((name) => key({ lineage, name }));
    }),
  );
  return sets
    .filter((set) => set.state === 'proven' && !there.has(key(set)) && kept.has(key(set)))
    .sort((a, b) => b.time - a.time);
}

function key({ lineage, name }: Pick<BackupSet, 'lineage' | 'name'>): string {
  return `${lineage}/${name}`;
}

function which({ lineage, name }: BackupSet): { lineage: string; set: string } {
  return { lineage, set: name };
}

/** A second target that is new, or new to this machine. */
function marking(second: SeenSecond | undefined): Step[] {
  if (!second?.target.ok || (second.target.sentinel && second.remembered)) return [];
  const { target, newId } = second;
  return [
    {
      id: MARK,
      title: target.sentinel
        ? 'remember the id of the second backup target'
        : `make ${target.root} the second target of this lab`,
      why: target.sentinel ? 'this machine has not used it before' : 'it is empty',
      action: operation('mark-second', { id: newId }, SHORT_SECONDS),
    },
  ];
}

function awayNotes({ second }: SeenBackup): Note[] {
  if (!second || second.target.ok) return [];
  const { reason, fix } = second.target;
  return [{ level: 'warning', text: `the second target: ${reason}`, fix }];
}

function later(name: string, count: number, what: string): Note[] {
  if (count <= 0) return [];
  return [
    { level: 'info', text: `${name}: ${count} older ${count === 1 ? 'set' : 'sets'} will be ${what} by the next runs` },
  ];
}

function operation(name: string, args: Record<string, unknown>, deadline: number): Step['action'] {
  return { kind: 'operation', name, args, deadline };
}
