import { HomelabError } from '../errors.ts';
import { readIdentity } from './age.ts';
import { discreet } from './encrypted.ts';
import { isOfThisMachine } from './extensions.ts';
import type { ProofReport } from './manifest.ts';
import { majorOf } from './names.ts';
import { type ProofContext, proveSet } from './prove.ts';
import { proveEncrypted } from './prove-copy.ts';
import { damagedCiphers } from './seal.ts';
import type { BackupSet } from './sets.ts';

export const UNUSABLE = { fix: 'it does not count any more; take a new one with backup-postgres run' };

/**
 * Proves any set once more. One that is encrypted is restored where an identity is given; without, its files are
 * compared by hash with those that were proven.
 * @param identityFile a file of age-keygen
 * @returns what its verify.json is to say from now on, and every problem with its names
 * @throws HomelabError where nothing can be said
 */
export async function verifySet(
  context: ProofContext,
  set: BackupSet,
  identityFile: string | undefined,
): Promise<{ report: ProofReport; problems: string[] }> {
  if (set.manifest) return told(judged(set, await proveSet(context, { ...set, manifest: set.manifest })));
  if (!set.encrypted) throw new HomelabError(`${set.folder} is damaged: ${set.problem}`, UNUSABLE);
  const identity = identityFile === undefined ? undefined : await readIdentity(identityFile);
  const problems = await damagedCiphers(context.exec, context.nas, set);
  if (problems.length > 0 && set.report) return { report: { ...set.report, ok: false, problems }, problems };
  if (identity) return told(judged(set, await proveEncrypted(context, set, identity)), discreet);
  if (set.report?.ok) return told(set.report);
  throw new HomelabError(`${set.folder} is encrypted, and was not proven so far`, {
    fix: `backup-postgres verify ${set.name} --identity FILE`,
  });
}

/** A set that was proven elsewhere stays so where this machine cannot prove it. @throws HomelabError then */
export function judged(
  set: Pick<BackupSet, 'name' | 'state'> & { report?: ProofReport },
  report: ProofReport,
): ProofReport {
  if (set.state !== 'proven' || report.ok) return report;
  const lacking = isOfThisMachine(report.problems);
  const major = majorOf(set.report?.server_version ?? '');
  // What is restored was hashed before: these are the bytes that were proven, and the newer PostgreSQL has reasons of its own.
  const newer = wasRestored(report) && major > 0 && majorOf(report.server_version) > major;
  if (!lacking && !newer) return report;
  throw new HomelabError(`${set.name} cannot be proven on this machine; it stays proven ${set.report?.checked}`, {
    output: report.problems.join('\n'),
    ...(!lacking && { cause: `it was tried with PostgreSQL ${report.server_version}; ${major} has proven it` }),
    fix: `${lacking ? 'install what is missing' : `apt install postgresql-${major}`}, or verify it where it was proven; its hashes are right`,
  });
}

/** Files that are damaged end a proof before anything is restored; into another version is told of every restore. */
function wasRestored({ differences }: ProofReport): boolean {
  return differences.length > 0;
}

function told(report: ProofReport, shown = (plain: ProofReport): ProofReport => plain) {
  return { report: shown(report), problems: report.problems };
}
