import { join } from 'node:path';
import { z } from 'zod';
import type { FilesReader } from '../ports/types.ts';
import { type ProofReport, parseReport } from './manifest.ts';
import type { BackupSet } from './sets.ts';

/**
 * What can be read of an encrypted set without an identity: encrypted.json, beside the files 0001.age, 0002.age, …
 * Names of databases, roles and tables stand in its manifest only, which is 0001.age. verify.json is that of the
 * plain set, and is about the same manifest.
 */

const sha256Hex = z.string().regex(/^[0-9a-f]{64}$/);
const content = z.strictObject({
  format: z.literal(1),
  set: z.string(),
  server: z.string(),
  system_identifier: z.string(),
  /** SHA-256 of the plain manifest.json, in which every file's plain SHA-256 stands. */
  manifest_sha256: sha256Hex,
  /** Public keys; whose identities can decrypt it. */
  recipients: z.array(z.string()),
  /** In the order of plainFiles() in seal.ts. */
  files: z.array(z.strictObject({ file: z.string().regex(/^\d{4,}\.age$/), bytes: z.int().min(0), sha256: sha256Hex })),
});
const sealed = z.strictObject({ content, sha256: z.string() });

export type EncryptedContent = z.output<typeof content>;

export const ENCRYPTED = 'encrypted.json';

type Sha256 = (text: string) => string;

/** Like verify.json it carries its own hash. */
export function encryptedText(value: EncryptedContent, sha256: Sha256): string {
  return `${JSON.stringify({ content: value, sha256: sha256(JSON.stringify(value)) }, null, 1)}\n`;
}

/** @returns the content, or why the text is none */
export function parseEncrypted(text: string, sha256: Sha256): EncryptedContent | { damaged: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { damaged: 'it is not JSON' };
  }
  const result = sealed.safeParse(value);
  if (!result.success) return { damaged: `${result.error.issues[0]?.path.join('.') || 'it'} is not as it should be` };
  const found = result.data.content;
  return encryptedText(found, sha256) === text ? found : { damaged: 'its own hash does not match' };
}

/** What a set's folder holds beside what belongs to an encrypted one. */
export function plainLeftovers(names: readonly string[]): string[] {
  return names.filter((name) => !/^(\d{4,}\.age|encrypted\.json|verify\.json|PINNED|\..*\.tmp)$/.test(name));
}

/** The name of the n-th file (from 0), once it is encrypted. */
export function cipherName(n: number): string {
  return `${String(n + 1).padStart(4, '0')}.age`;
}

/**
 * A proof's report without what names a database, a role or a table; those who may read that have it from the run.
 * Only what is known to name nothing is kept.
 */
export function discreet(report: ProofReport): ProofReport {
  const { format, set, ok, checked, seconds, server_version, manifest_sha256, databases, tables, rows } = report;
  const count = (list: readonly string[], what: string): string[] =>
    list.length === 0 ? [] : [`${list.length} ${what}; verify with --identity tells which`];
  return {
    ...{ format, set, ok, checked, seconds, server_version, manifest_sha256, databases, tables, rows },
    problems: count(report.problems, 'found that name databases or tables'),
    differences: count(report.differences, 'that name databases'),
  };
}

/**
 * The set in a folder that has no manifest.json, where encrypted.json stands for it.
 * @param proof the text of its verify.json
 */
export async function readEncryptedSet(
  files: FilesReader,
  set: Omit<BackupSet, 'state'>,
  proof: string | undefined,
  sha256: Sha256,
): Promise<BackupSet> {
  const text = await files.text(join(set.folder, ENCRYPTED));
  if (text === undefined) return { ...set, state: 'damaged', problem: 'manifest.json is missing' };
  const encrypted = parseEncrypted(text, sha256);
  if ('damaged' in encrypted) return { ...set, state: 'damaged', problem: `${ENCRYPTED}: ${encrypted.damaged}` };
  const known = { ...set, encrypted, bytes: encrypted.files.reduce((sum, { bytes }) => sum + bytes, 0) };
  if (encrypted.set !== set.name || encrypted.system_identifier !== set.lineage || encrypted.server !== set.server)
    return { ...known, state: 'damaged', problem: `${ENCRYPTED} is of ${encrypted.server}/${encrypted.set}` };
  if (proof === undefined) return { ...known, state: 'unproven', problem: 'it was never restored' };
  const report = parseReport(proof, sha256);
  if ('damaged' in report) return { ...known, state: 'damaged', problem: `verify.json: ${report.damaged}` };
  if (report.set !== set.name || report.manifest_sha256 !== encrypted.manifest_sha256)
    return { ...known, report, state: 'damaged', problem: 'verify.json is the proof of something else' };
  if (!report.ok) return { ...known, report, state: 'unproven', problem: report.problems[0] ?? 'its proof failed' };
  return { ...known, report, state: 'proven', leftovers: plainLeftovers(await files.list(set.folder)) };
}
