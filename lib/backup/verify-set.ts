import { HomelabError } from '../errors.ts';
import { readIdentity } from './age.ts';
import { discreet } from './encrypted.ts';
import { isOfThisMachine } from './extensions.ts';
import type { ProofReport } from './manifest.ts';
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
function judged(set: BackupSet, report: ProofReport): ProofReport {
  if (set.state !== 'proven' || !isOfThisMachine(report.problems)) return report;
  throw new HomelabError(`${set.name} cannot be proven on this machine; it stays proven ${set.report?.checked}`, {
    output: report.problems.join('\n'),
    fix: 'install what is missing, or verify it where it was proven; its hashes are right',
  });
}

function told(report: ProofReport, shown = (plain: ProofReport): ProofReport => plain) {
  return { report: shown(report), problems: report.problems };
}
