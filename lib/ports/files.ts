import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, readlink, realpath, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { realExec } from './exec.ts';
import type { Exec, Files, Mount } from './types.ts';

/** Files of this machine. @param exec finds mounts */
export function realFiles(exec: Exec = realExec()): Files {
  return {
    text: (path) => orUndefined(readFile(path, 'utf8')),
    exists: async (path) => (await orUndefined(stat(path))) !== undefined,
    list: async (path) => ((await orUndefined(readdir(path))) ?? []).sort(),
    mode: async (path) => {
      const found = await orUndefined(stat(path));
      return found && found.mode & 0o777;
    },
    sha256: (path) => orUndefined(hashFile(path)),
    realPath,
    freeBytes: async (path) => {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    },
    mountOf: (path) => mountOf(path, exec),
    write: writeAtomically,
    remove: (path) => rm(path, { recursive: true, force: true }),
  };
}

/**
 * Whoever reads `path` sees the old content or the new, never a part: written beside it, fsynced,
 * renamed, and the folder fsynced, so that it survives a power cut too.
 */
export async function writeAtomically(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: mode & 0o077 ? 0o755 : 0o700 });
  const temporary = join(folder, `.${randomBytes(6).toString('hex')}.tmp`);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.chmod(mode); // the umask may have taken bits away
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    // A full disk's own words name no file.
    if (error instanceof Error && !error.message.includes(folder)) error.message = `${path}: ${error.message}`;
    throw error;
  }
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** SHA-256 in hex, of a file of any size. @throws ENOENT and the like */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function realPath(path: string): Promise<string | undefined> {
  const found = await orUndefined(realpath(path));
  if (found !== undefined) return found;
  // A link that leads to nothing yet: what is written goes there, and the link stays.
  const target = await readlink(path).catch(() => undefined);
  return target === undefined ? undefined : resolve(dirname(path), target);
}

/** Linux has findmnt; macOS only `mount`, whose last matching line counts. */
async function mountOf(path: string, exec: Exec): Promise<Mount | undefined> {
  if (exec.which('findmnt')) {
    const { code, stdout } = await exec.run(
      ['findmnt', '--json', '--target', path, '--output', 'TARGET,SOURCE,FSTYPE'],
      { deadline: 20 },
    );
    if (code !== 0) return undefined;
    const [found] = (JSON.parse(stdout) as { filesystems: { target: string; source: string; fstype: string }[] })
      .filesystems;
    return found && { target: found.target, source: found.source, type: found.fstype };
  }
  const { stdout } = await exec.run(['mount'], { deadline: 20 });
  const mounts = [...stdout.matchAll(/^(.+) on (\/.*?) \((\w+)/gm)].map(([, source = '', target = '', type = '']) => ({
    target,
    source,
    type,
  }));
  return mounts
    .filter(({ target }) => path === target || path.startsWith(target === '/' ? '/' : `${target}/`))
    .sort((a, b) => b.target.length - a.target.length)[0];
}

async function orUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
