import { join } from 'node:path';
import type { Nas } from './nas.ts';
import { type BackupSet, filesOf } from './sets.ts';

/**
 * Takes back what a set says of itself where its files are not there, or are not of their size (a NAS that lost its power
 * leaves empty ones): for the newest one that is proven, and so on until one is whole. What is in them is the business of
 * `verify`.
 * @param sets newest first
 */
export async function withFilesThere(files: Pick<Nas, 'bytes'>, sets: readonly BackupSet[]): Promise<BackupSet[]> {
  const judged = [...sets];
  for (const [i, set] of judged.entries()) {
    if (set.state !== 'proven') continue;
    const own = set.encrypted?.files ?? (set.manifest ? filesOf(set.manifest) : []);
    const sizes = await Promise.all(own.map(({ file }) => files.bytes(join(set.folder, file))));
    const missing = own.filter((_, i) => sizes[i] === undefined).map(({ file }) => file);
    const other = own.flatMap(({ file, bytes }, i) =>
      sizes[i] === undefined || sizes[i] === bytes ? [] : [`${file} has ${sizes[i]} bytes instead of ${bytes}`],
    );
    if (missing.length + other.length === 0) break;
    const more = missing.length > 1 ? ` and ${missing.length - 1} more are` : ' is';
    const problem = missing.length > 0 ? `${missing[0]}${more} missing` : other[0];
    judged[i] = { ...set, state: 'damaged', problem };
  }
  return judged;
}
