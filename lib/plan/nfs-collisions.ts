import { folderOf } from '../render/nfs.ts';

export type Claim = { namespace: string; name: string };

/**
 * Claims that share a folder: with `{namespace}-{pvc-name}` the claims `a`/`b-c` and `a-b`/`c` both get `a-b-c`.
 * @returns a group for each folder that more than one claim has
 */
export function collisions(path: string, claims: readonly Claim[]): { folder: string; claims: Claim[] }[] {
  if (path.includes('{pv-name}')) return []; // a volume's name is unique
  const byFolder = new Map<string, Claim[]>();
  for (const claim of claims) {
    const folder = folderOf(path, claim);
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), claim]);
  }
  return [...byFolder].filter(([, group]) => group.length > 1).map(([folder, group]) => ({ folder, claims: group }));
}
