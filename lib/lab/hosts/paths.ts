import { posix } from 'node:path';

/** How a host's absolute paths lie on this machine. */
export type PathMap = {
  /** The host's folder; its `root` stands for `/`. */
  folder: string;
  /** Exports whose folders may show in output, where programs resolve links. */
  mounts: readonly { point: string; folder: string }[];
};

/** A command that would leave the host's root: it is not run. */
export class Refused extends Error {}

/** The same on every machine, and harmless there. */
const SHARED = new Set([
  ...['/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom'],
  ...['/dev/stdin', '/dev/stdout', '/dev/stderr', '/dev/fd'],
]);

export function rootOf({ folder }: Pick<PathMap, 'folder'>): string {
  return `${folder}/root`;
}

/** What the emulator itself needs: bin (on PATH), run (programs by their path), calls (a folder for each session). */
export function standInsOf({ folder }: Pick<PathMap, 'folder'>): string {
  return `${folder}/stand-ins`;
}

/**
 * Where a host's absolute path lies on this machine: in the host's root, where mounted exports are links. Paths
 * that were mapped before stay as they are.
 */
export function mapPath(path: string, map: PathMap): string {
  const root = rootOf(map);
  const plain = posix.normalize(path);
  if (SHARED.has(plain) || plain.startsWith('/dev/fd/')) return path;
  for (const folder of [root, standInsOf(map), ...map.mounts.map((mount) => mount.folder)])
    if (plain === folder || plain.startsWith(`${folder}/`)) return path;
  const normal = path.split('/').includes('..') ? plain : path;
  return root + normal;
}

/**
 * A word of an argv as it is given to a program: `/abs`, `KEY=/abs`, `--flag=/abs`, `-f/abs` and `@/abs` are
 * mapped, and a relative path that climbs out of the root is refused.
 * @param cwd the host's working folder, as the host names it
 */
export function mapWord(word: string, map: PathMap, cwd: string): string {
  const assigned = /^(--?[\w.-]+=|[A-Za-z_]\w*=|-[A-Za-z]|@)(?=\/)/.exec(word)?.[0] ?? '';
  const rest = word.slice(assigned.length);
  if (rest.startsWith('/')) {
    if (!/^[A-Za-z_]\w*=$/.test(assigned)) return assigned + mapPath(rest, map);
    // PATH=/a:/b
    const parts = rest.split(':').map((part) => (part.startsWith('/') ? mapPath(part, map) : part));
    return assigned + parts.join(':');
  }
  if (climbsOut(rest.replace(/^(--?[\w.-]+=|[A-Za-z_]\w*=)/, ''), cwd))
    throw new Refused(`${word}: leads out of the host's root`);
  return word;
}

/** Whether a relative path has more `..` than there are folders to climb. */
function climbsOut(path: string, cwd: string): boolean {
  if (!path.startsWith('..') && !path.includes('/..')) return false;
  let depth = cwd.split('/').filter(Boolean).length;
  for (const part of path.split('/')) {
    if (part === '..') depth -= 1;
    else if (part !== '' && part !== '.') depth += 1;
    if (depth < 0) return true;
  }
  return false;
}

/** Text that names paths of this machine, as the host would name them. */
export function unmapper(map: PathMap): (text: string) => string {
  const replacements: [string, string][] = [
    ...map.mounts.map(({ folder, point }): [string, string] => [folder, point]),
    [`${standInsOf(map)}/run`, ''],
    [`${standInsOf(map)}/bin`, '/usr/bin'],
    [`${standInsOf(map)}/calls`, '/tmp'],
    [rootOf(map), ''],
  ];
  return (text) => {
    let out = text;
    for (const [from, to] of replacements) {
      if (!out.includes(from)) continue;
      out = out.replaceAll(`${from}/`, `${to}/`).replaceAll(from, to || '/');
    }
    return out;
  };
}

/** The folders of this machine that `unmapper` looks for. */
export function mappedFolders(map: PathMap): string[] {
  const own = ['run', 'bin', 'calls'].map((name) => `${standInsOf(map)}/${name}`);
  return [...map.mounts.map(({ folder }) => folder), ...own, rootOf(map)];
}
