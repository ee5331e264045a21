import { join } from 'node:path';
import type { Operation } from '../apply.ts';
import { type Identity, passingIdentity } from '../backup/age.ts';
import { installations } from '../backup/clients.ts';
import { type Copy, copySet, requireSpace } from '../backup/copy.ts';
import { type Nas, nasOf } from '../backup/nas.ts';
import { proveCopy } from '../backup/prove-copy.ts';
import { removeSet } from '../backup/publish.ts';
import { encryptInPlace } from '../backup/seal.ts';
import { type BackupSet, lineageFolder, readLineage, readOneSet, readSets } from '../backup/sets.ts';
import {
  type BackupLab,
  lookAtSecond,
  lookAtTarget,
  markTarget,
  requireTarget,
  targetPlace,
  type Which,
} from '../backup/target.ts';
import { DeadlineError, HomelabError } from '../errors.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { setsToRemove } from '../plan/backup.ts';
import { missingCopies } from '../plan/backup-copies.ts';
import type { Ports } from '../ports/types.ts';
import { type RunLock, takeLock } from '../run-lock.ts';

/** What the steps of lib/plan/backup-copies.ts do: encrypt in place, copy to the second target, prove there, prune there. */
export function copyOperations(
  lab: BackupLab,
  { endpoints, atEnd }: Pick<RunContext, 'endpoints' | 'atEnd'>,
): Record<string, Operation> {
  const backup = backupOf(lab.config);
  if (!backup.second_target && !backup.target.encrypt_to) return {};
  const first = targetPlace(lab, backup, endpoints);
  /** By set: who can decrypt what this run has encrypted. */
  const proofs = new Map<string, Identity>();
  /** By the set that was asked for ("" is the newest): what was copied, for the proof. */
  const copies = new Map<string, { copy: Copy; set: BackupSet } | undefined>();

  const end = performance.now() + backup.deadlines.run_seconds * 1000;
  let lock: RunLock | undefined;
  /** One run of this machine copies or encrypts at a time; two would replace each other's. */
  const alone = (): void => {
    if (performance.now() > end) throw new DeadlineError('the run', backup.deadlines.run_seconds, { fix: CATCH_UP });
    lock ??= takeLock(join(lab.paths.state, '.copies'), 'backup-postgres');
    atEnd(async () => lock?.release());
  };
  const nasFor = ({ files }: Ports, which: Which): Nas => nasOf(files, backup.deadlines.nas_seconds, which);
  const requireSecond = async (ports: Ports): Promise<{ root: string; freeBytes: number }> => {
    const place = targetPlace(lab, backup, endpoints, 'second');
    const state = await lookAtSecond(nasFor(ports, 'second'), place, await lookAtTarget(nasFor(ports, 'first'), first));
    if (!state.ok)
      throw new HomelabError(`the second target: ${state.reason}`, { fix: `${state.fix}; then ${CATCH_UP}` });
    if (!state.sentinel) throw new HomelabError(`${place.root} has no .target.json`, { fix: 'start the run again' });
    return state;
  };
  const wanted = (sets: readonly BackupSet[], { lineage, set }: Record<string, unknown>): BackupSet | undefined =>
    sets.find((one) => one.lineage === lineage && one.name === set && one.state === 'proven');
  const keyOf = ({ server, lineage, set }: Record<string, unknown>): string => [server, lineage, set].join('/');

  return {
    async 'mark-second'({ id }, { ports }) {
      const place = targetPlace(lab, backup, endpoints, 'second');
      const nas = nasFor(ports, 'second');
      const state = await lookAtSecond(nas, place, await lookAtTarget(nasFor(ports, 'first'), first));
      if (!state.ok)
        throw new HomelabError(`the second target: ${state.reason}`, { fix: `${state.fix}; then ${CATCH_UP}` });
      await markTarget(nas, place, String(id), state.sentinel);
      return undefined;
    },
    async encrypt(args, { ports }) {
      alone();
      const nas = nasFor(ports, 'first');
      const { root, freeBytes } = await requireTarget(nas, first);
      const sets = await readSets(nas, root, String(args.server));
      const set = await whole(nas, root, args.set === undefined ? sets.find(isPlainProof) : wanted(sets, args));
      // Retention took it away meanwhile.
      if (!set) return undefined;
      if (set.manifest) requireSpace(set, freeBytes, root);
      const recipients = backup.target.encrypt_to ?? [];
      const proof = await passingIdentity(recipients);
      await encryptInPlace(ports.exec, nas, set, recipients, proof);
      if (set.manifest) proofs.set(set.name, proof);
      return undefined;
    },
    async copy(args, { ports }) {
      alone();
      const target = () => requireSecond(ports);
      const { root } = await target();
      const nas = nasFor(ports, 'second');
      const own = await requireTarget(nasFor(ports, 'first'), first);
      const sets = await readSets(nasFor(ports, 'first'), own.root, String(args.server));
      const copied = await readSets(nas, root, String(args.server));
      const missing = missingCopies(backup, sets, copied, ports.clock.now().getTime());
      const named = args.set === undefined ? missing[0] : wanted(missing, args);
      const set = await whole(nasFor(ports, 'first'), own.root, named);
      const recipients = backup.second_target?.encrypt_to ?? backup.target.encrypt_to;
      const copy = set && (await copySet({ exec: ports.exec, nas, target, recipients }, set));
      copies.set(keyOf(args), copy && { set, copy: { ...copy, proof: copy.proof ?? proofs.get(set.name) } });
      return undefined;
    },
    async 'prove-copy'(args, { ports }) {
      const done = copies.get(keyOf(args));
      if (!done) return undefined;
      const proving = {
        ...{ exec: ports.exec, nas: nasFor(ports, 'second'), installations: await installations(ports.exec) },
        ...{ deadline: backup.deadlines.program_seconds, now: () => ports.clock.now().getTime() },
        target: () => requireSecond(ports),
      };
      await proveCopy(proving, done.copy, done.set.report);
      return undefined;
    },
    async 'prune-copies'({ server }, { ports }) {
      const nas = nasFor(ports, 'second');
      const { root } = await requireSecond(ports);
      const made = [...copies.values()].flatMap((done) =>
        done && done.copy.server === server ? [done.copy.lineage] : [],
      );
      for (const lineage of new Set(made)) {
        const sets = await readLineage(nas, root, String(server), lineage);
        for (const set of setsToRemove(sets, backup, ports.clock.now().getTime())) {
          await requireSecond(ports);
          await removeSet(nas, lineageFolder(root, set.server, lineage), set);
        }
      }
      return undefined;
    },
  };
}

/** A whole run would dump once more. */
const CATCH_UP = 'backup-postgres run --if-stale copies what is missing';

function isPlainProof({ state, encrypted }: BackupSet): boolean {
  return state === 'proven' && !encrypted;
}

/** The set with all that is known of it; a list may leave its manifest out. */
async function whole(nas: Nas, root: string, set: BackupSet | undefined): Promise<BackupSet | undefined> {
  return set && readOneSet(nas, root, set.server, set.lineage, set.name);
}
