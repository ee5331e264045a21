import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { HomelabError, messageOf } from '../errors.ts';
import { hashFile } from './files.ts';
import type { Input } from './ssh-command.ts';
import type { LocalFile, Outcome, UploadOptions } from './types.ts';

/**
 * Writes stdin to a file of a host, for `sh -c UPLOAD sh PATH MODE OWNER BYTES SHA256 TAG`: beside it, under a name of
 * this upload's own, counted, mode and owner set, renamed. Whoever reads PATH sees the old content or the new one. An
 * OWNER of '' leaves it, a SHA256 of '' is not compared. What a host that lost power left of earlier ones goes after a day.
 * Only POSIX tools, and sha256sum. Whoever says something to a connection that broke would end by a signal, and leave
 * the new file behind: that signal is ignored.
 */
export const UPLOAD = `set -eu
LC_ALL=C; export LC_ALL
path=$1 mode=$2 owner=$3 bytes=$4 sha256=$5 tag=$6
folder=\${path%/*}
if [ -d "$path" ]; then echo "$path is a directory" >&2; exit 73; fi
umask 022
mkdir -p -- "\${folder:-/}"
umask 077
find "\${folder:-/}/." ! -name . -prune -type f -name '.homelab-*.tmp' -mtime +0 -exec rm -f -- {} + 2> /dev/null || :
new=$folder/.homelab-$tag.tmp
trap 'rm -f -- "$new"' EXIT
trap 'exit 75' HUP INT TERM
trap '' PIPE
cat > "$new"
written=$(wc -c < "$new")
if [ "$written" -ne "$bytes" ]; then echo "$written of $bytes bytes arrived" >&2; exit 74; fi
if [ -n "$sha256" ]; then
  found=$(sha256sum < "$new")
  if [ "\${found%% *}" != "$sha256" ]; then echo "SHA-256 \${found%% *} arrived, not $sha256" >&2; exit 76; fi
fi
chmod -- "$mode" "$new"
if [ -n "$owner" ]; then chown -- "$owner" "$new"; fi
mv -f -- "$new" "$path"
`;

/** Runs a command on the host, and gives it its input. */
type Run = (argv: readonly string[], stdin: Input) => Promise<Outcome>;

/** Uploads text, bytes, or a file of this machine, which is never whole in memory. @throws HomelabError with the cause */
export async function upload(
  host: string,
  path: string,
  content: string | Uint8Array | LocalFile,
  { mode, owner = '' }: UploadOptions,
  run: Run,
): Promise<void> {
  const { stdin, bytes, sha256 } = await prepared(content);
  const tag = randomBytes(6).toString('hex');
  const { code, stdout, stderr } = await run(
    ['sh', '-c', UPLOAD, 'sh', path, mode, owner, String(bytes), sha256, tag],
    stdin,
  );
  if (code === 0) return;
  const output = (stderr || stdout).trim();
  throw new HomelabError(`${path} could not be written on ${host} (exit code ${code})`, {
    output,
    ...uploadTrouble(output, host, path),
  });
}

async function prepared(
  content: string | Uint8Array | LocalFile,
): Promise<{ stdin: Input; bytes: number; sha256: string }> {
  if (typeof content === 'string' || content instanceof Uint8Array) {
    const stdin = Buffer.from(content);
    return { stdin, bytes: stdin.length, sha256: '' };
  }
  const { file } = content;
  try {
    const { size } = await stat(file);
    return { stdin: () => createReadStream(file), bytes: size, sha256: content.sha256 ?? (await hashFile(file)) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new HomelabError(`${file} is not there`, { fix: 'run it again' });
    throw new HomelabError(`${file} cannot be read: ${messageOf(error)}`, { fix: 'make it a file that you can read' });
  }
}

/** What the host's words mean when a file cannot be written. */
export function uploadTrouble(words: string, host: string, path: string): { cause?: string; fix?: string } {
  const folder = path.slice(0, path.lastIndexOf('/')) || '/';
  const known: [RegExp, string, string][] = [
    [
      /No space left on device/i,
      `the disk of ${host} is full`,
      `make room there (df -h ${folder}; df -i ${folder}), and run it again`,
    ],
    [/quota exceeded/i, `the quota on ${host} is used up`, `make room in ${folder}, and run it again`],
    [
      /Read-only file system/i,
      `the file system of ${folder} is mounted read-only; after a disk error Linux does that by itself`,
      `look at dmesg on ${host}; when the disk is sound: mount -o remount,rw`,
    ],
    [/Permission denied/i, 'the user may not write there', `look at ls -ld ${folder} on ${host}`],
    [
      /Operation not permitted/i,
      'it is protected (chattr +i), or its owner cannot be set there (NFS, FAT)',
      `look at lsattr -d ${path} ${folder} on ${host}`,
    ],
    [/is a directory/i, 'a folder is where the file belongs', `look at it on ${host}, and move it away`],
    [
      /SHA-256 .* arrived/,
      'the file is another than the one that was expected, or changed on its way',
      'fetch it again',
    ],
  ];
  const found = known.find(([pattern]) => pattern.test(words));
  return found ? { cause: found[1], fix: found[2] } : {};
}
