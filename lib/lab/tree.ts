import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

/** Path → mode and hash of everything below `folder`, for comparing before and after. `left` are paths that do not count. */
export function treeHash(folder: string, left: RegExp): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (at: string, path: string): void => {
    for (const name of readdirSync(at).sort()) {
      const below = path ? `${path}/${name}` : name;
      if (left.test(below)) continue;
      const file = join(at, name);
      const stat = lstatSync(file);
      if (stat.isDirectory()) walk(file, below);
      else if (stat.isSymbolicLink()) found[below] = `→ ${readlinkSync(file)}`;
      else if (stat.isFile())
        found[below] =
          `${(stat.mode & 0o777).toString(8)} ${createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16)}`;
    }
  };
  walk(folder, '');
  return found;
}
