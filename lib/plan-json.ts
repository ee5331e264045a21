import { createHash } from 'node:crypto';
import type { Plan } from './step.ts';

/** Longer texts are files (the backup's engine has half a MB); scripts and manifests that a person may want to read are shorter. */
const LONGEST = 32 * 1024;

/** A plan as `--json` prints it: a text that nobody reads, and no terminal should get, is told by its hash and size. */
export function planForJson(plan: Plan): unknown {
  return JSON.parse(JSON.stringify(plan, (_key, value: unknown) => (isLong(value) ? fingerprint(value) : value)));
}

function isLong(value: unknown): value is string {
  return typeof value === 'string' && value.length > LONGEST;
}

/** Of the bytes as they would be sent: `sha256sum` of the file says the same. */
function fingerprint(text: string): { sha256: string; bytes: number } {
  return { sha256: createHash('sha256').update(text).digest('hex'), bytes: Buffer.byteLength(text) };
}
