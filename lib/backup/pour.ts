import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { within } from '../deadline.ts';
import type { Exec } from '../ports/types.ts';
import type { Nas } from './nas.ts';

export type Measured = { bytes: number; sha256: string };

/** What goes through a stream, counted and hashed on the way. */
export function measuring(): {
  through: (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
  result: () => Measured;
} {
  const hash: Hash = createHash('sha256');
  let bytes = 0;
  let result: Measured | undefined;
  return {
    async *through(chunks) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.byteLength;
        yield chunk;
      }
    },
    result() {
      result ??= { bytes, sha256: hash.digest('hex') };
      return result;
    },
  };
}

/** A file's content in pieces; however large it is, one piece is in memory. @throws DeadlineError where the disk hangs */
export async function* piecesOf(path: string): AsyncIterable<Uint8Array> {
  const pieces = createReadStream(path, { highWaterMark: PIECE })[Symbol.asyncIterator]();
  while (true) {
    const next = await within(STALL_SECONDS, `reading ${path}`, () => pieces.next());
    if (next.done) return;
    yield next.value;
  }
}

const PIECE = 256 * 1024;
/** For one piece; a NAS that is asleep takes a while. */
const STALL_SECONDS = 120;

/**
 * Writes what comes into a new file, mode 0600, on disk when this returns.
 * @throws the file system's error (EIO, EDQUOT, ENOSPC), also where only closing tells it
 */
export async function pour(chunks: AsyncIterable<Uint8Array>, to: string): Promise<Measured> {
  const measured = measuring();
  const file = await open(to, 'wx', 0o600);
  const awake = <T>(work: () => Promise<T>): Promise<T> => within(STALL_SECONDS, `writing ${to}`, work);
  try {
    for await (const chunk of measured.through(chunks)) await awake(() => file.writeFile(chunk));
    await awake(() => file.sync());
  } finally {
    await awake(() => file.close());
  }
  return measured.result();
}

/** A file's hash from the disk (or the NAS) that holds it, not from what this machine still remembers of writing it. */
export async function hashFromDisk(exec: Exec, nas: Nas, path: string): Promise<string> {
  // GNU's dd asks the kernel to forget the file; where there is another dd, the hash is of what the kernel has.
  if (process.platform === 'linux')
    await exec.run(['dd', `if=${path}`, 'iflag=nocache', 'count=0', 'status=none'], { deadline: 60 });
  return (await nas.measure(path)).sha256;
}
