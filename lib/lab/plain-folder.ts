import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder, made if need be, by a name that stands in shell text without quotes: a link in the temporary folder, if need be. */
export function plainFolder(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const real = realpathSync(folder);
  if (/^[\w@%+:,./-]+$/.test(real) && real.length < 200) return real;
  const link = join(realpathSync(tmpdir()), `lab-${createHash('sha256').update(real).digest('hex').slice(0, 12)}`);
  rmSync(link, { force: true });
  symlinkSync(real, link);
  return link;
}

/** Takes away what `plainFolder` made beside the folder itself. */
export function leaveFolder(folder: string): void {
  if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(folder);
}
