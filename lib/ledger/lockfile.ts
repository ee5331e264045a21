import { Document, parse } from 'yaml';
import { z } from 'zod';
import { UsageError } from '../errors.ts';
import type { Files } from '../ports/types.ts';

/**
 * homelab.lock.yaml: what was decided once and must stay. Committed beside homelab.yaml.
 * Leases of addresses, and the hashes of what was downloaded.
 */
const lease = z.strictObject({
  name: z.string(),
  address: z.string(),
  role: z.enum(['server', 'agent']),
  /** The day on which it was given, UTC. */
  since: z.string(),
});
const lockFile = z.strictObject({
  version: z.literal(1),
  lab: z.string(),
  leases: z.array(lease).default([]),
  /** URL → SHA-256 in hex. */
  downloads: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)).default({}),
});

export type Lease = z.output<typeof lease>;
export type LockFile = z.output<typeof lockFile>;

/** The lock file of a lab that has none yet. */
export function emptyLockFile(lab: string): LockFile {
  return { version: 1, lab, leases: [], downloads: {} };
}

/** @throws UsageError when the text is not a lock file, or one of another lab */
export function parseLockFile(text: string, file: string, lab: string): LockFile {
  let raw: unknown;
  try {
    raw = parse(text);
  } catch (error) {
    throw new UsageError(`${file}: ${(error as Error).message}`, {
      fix: 'take it from git again; it is written by the scripts only',
    });
  }
  const parsed = lockFile.safeParse(raw);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new UsageError(`${file}: ${path.join('.')}: ${message}`, {
      fix: 'take it from git again; it is written by the scripts only',
    });
  }
  if (parsed.data.lab !== lab)
    throw new UsageError(`${file} is of the lab "${parsed.data.lab}", homelab.yaml of "${lab}"`, {
      fix: 'put each lab into a folder of its own',
    });
  return parsed.data;
}

/** The text of a lock file; the same content is always the same text. */
export function renderLockFile(lock: LockFile): string {
  const downloads = Object.fromEntries(Object.entries(lock.downloads).sort(([a], [b]) => (a < b ? -1 : 1)));
  const document = new Document({ version: lock.version, lab: lock.lab, leases: lock.leases, downloads });
  document.commentBefore =
    ' Written by the scripts; commit it. Leases of addresses, and hashes of downloads.\n Give an address back with: npx tsx scripts/network.ts release NAME';
  return document.toString({ lineWidth: 0 });
}

/** The lock file while a run goes on: read once, written whole after each change. */
export class LockStore {
  #lock: LockFile;
  readonly #file: string;
  readonly #files: Pick<Files, 'write'>;
  #writing: Promise<void> = Promise.resolve();

  constructor(lock: LockFile, file: string, files: Pick<Files, 'write'>) {
    this.#lock = lock;
    this.#file = file;
    this.#files = files;
  }

  get value(): LockFile {
    return this.#lock;
  }

  /** Changes are written one after another: steps run side by side. */
  update(change: (lock: LockFile) => LockFile): Promise<void> {
    this.#writing = this.#writing.then(() => {
      this.#lock = change(this.#lock);
      return this.#files.write(this.#file, renderLockFile(this.#lock));
    });
    return this.#writing;
  }

  /** Records the hash of a URL that was downloaded for the first time. */
  async record(url: string, sha256: string): Promise<void> {
    if (this.#lock.downloads[url] === sha256) return;
    await this.update((lock) => ({ ...lock, downloads: { ...lock.downloads, [url]: sha256 } }));
  }
}
