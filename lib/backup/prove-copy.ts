import { HomelabError } from '../errors.ts';
import type { Identity } from './age.ts';
import type { Copy } from './copy.ts';
import { discreet } from './encrypted.ts';
import type { ProofReport } from './manifest.ts';
import { type ProofContext, proveSet } from './prove.ts';
import { pointLatest, writeReport } from './publish.ts';
import { makeScratch } from './scratch.ts';
import { damagedCiphers, openSet } from './seal.ts';
import { type BackupSet, readOneSet } from './sets.ts';

/** Proofs of encrypted sets, and of copies. */

export type CopyProofContext = ProofContext & {
  now: () => number;
  /** The second target, looked at anew. @throws HomelabError when it is not there, or not ours */
  target: () => Promise<{ root: string }>;
};

/**
 * Restores a copy from the second target's own bytes, and writes its verify.json.
 * @param original the report of the set that was copied
 */
export async function proveCopy(
  context: CopyProofContext,
  copy: Copy,
  original: ProofReport | undefined,
): Promise<void> {
  const { root } = await context.target();
  const set = await readOneSet(context.nas, root, copy.server, copy.lineage, copy.name);
  if (!set) throw new HomelabError(`the copy of ${copy.name} is gone from ${root}`);
  if (set.state === 'proven') return;
  const report = await proofOf(context, set, copy.proof, original);
  await context.target();
  await writeReport(context.nas, set.folder, set.encrypted ? discreet(report) : report);
  if (!report.ok)
    throw new HomelabError(`the copy ${set.folder} could not be proven`, {
      output: report.problems.join('\n'),
      cause: 'the second target does not give back what was written; the first is as it was, and proven',
      fix: 'look at that disk; the next run copies the set anew',
    });
  await pointLatest(context.nas, root, set, context.now());
}

async function proofOf(
  context: CopyProofContext,
  set: BackupSet,
  identity: Identity | undefined,
  original: ProofReport | undefined,
): Promise<ProofReport> {
  if (set.manifest) return proveSet(context, { ...set, manifest: set.manifest });
  if (!set.encrypted) throw new HomelabError(`${set.folder}: ${set.problem}`);
  if (identity) return proveEncrypted(context, set, identity);
  if (!original) throw new Error(`${set.name} was copied, and is not proven`);
  const report = await checkCiphers(context, set, original);
  return { ...report, differences: ['copied as it was encrypted: compared by hash, not restored once more'] };
}

/** Decrypts a set into the temporary folder and restores it from there: as full a proof as that of a plain one. */
export async function proveEncrypted(context: ProofContext, set: BackupSet, identity: Identity): Promise<ProofReport> {
  const scratch = makeScratch();
  try {
    const { manifest, problems } = await openSet(context.nas, set, identity, scratch.path);
    const report = await proveSet(context, { name: set.name, folder: scratch.path, manifest });
    return { ...report, ok: report.ok && problems.length === 0, problems: [...problems, ...report.problems] };
  } finally {
    scratch.remove();
  }
}

/** All that can be said of an encrypted set without an identity: that it is, byte for byte, what was proven. */
export async function checkCiphers(
  { exec, nas }: ProofContext,
  set: BackupSet,
  proven: ProofReport,
): Promise<ProofReport> {
  const began = performance.now();
  const problems = await damagedCiphers(exec, nas, set);
  const seconds = Math.round(performance.now() - began) / 1000;
  return { ...proven, ok: problems.length === 0, checked: new Date().toISOString(), seconds, problems };
}
