import { existsSync } from 'node:fs';

/**
 * Images whose programs this machine has itself: what a container of them runs is run for real. Paths in the image,
 * and where they are here; programs that are at the same place need no entry.
 */
export type Image = { files: Record<string, string> } | { missing: string };

/** Where Debian has a folder for each version; where else they may be, the engine knows. */
const DEBIAN = '/usr/lib/postgresql';
const NAME = /^(?:docker\.io\/)?(?:library\/)?([a-z]+):v?(\d+)/;

/** @returns undefined for an image that is nothing of this machine's */
export function imageOf(name: string, absent: readonly string[]): Image | undefined {
  const [, what, major] = NAME.exec(name) ?? [];
  if (what !== 'node' && what !== 'postgres') return undefined;
  const missing = { missing: `failed to resolve reference "docker.io/library/${name}": not found` };
  if (absent.includes(name)) return missing;
  if (what === 'node') return { files: { '/usr/local/bin/node': process.execPath } };
  const isDebian = existsSync(DEBIAN);
  return isDebian && !existsSync(`${DEBIAN}/${major}/bin`) ? missing : { files: {} };
}
