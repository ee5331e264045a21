import { parse, stringify } from 'yaml';
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
    raw = readText(text);
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
  return [
    '# Written by the scripts; commit it. Leases of addresses, and hashes of downloads.',
    '# Give an address back with: npx tsx scripts/network.ts release NAME',
    stringify({ version: lock.version, lab: lock.lab }, { lineWidth: 0 }).trimEnd(),
    lock.leases.length > 0 ? 'leases:' : 'leases: []',
    ...lock.leases.map(leaseLine),
    stringify({ downloads }, { lineWidth: 0 }),
  ].join('\n');
}

/** A lease a line: a change of one is one line in a diff. */
function leaseLine({ name, address, role, since }: Lease): string {
  const plain = /^(?!(?:null|true|false|yes|no|on|off|y|n)$)[a-z][a-z0-9-]*$/;
  // An IPv6 address may end with a colon, which would make it a key.
  return `  - { name: ${word(name, plain)}, address: ${word(address, IPV4)}, role: ${role}, since: ${word(since, DAY)} }`;
}

const IPV4 = /^\d+\.\d+\.\d+\.\d+$/;
const DAY = /^\d{4}-\d\d-\d\d$/;

/** Quoted unless it is of that form: a file that somebody edited is written back whole, whatever is in it. */
function word(text: string, plain: RegExp): string {
  return plain.test(text) ? text : JSON.stringify(text);
}

const LEASE_LINE =
  /^ {2}- \{ name: ([a-z][a-z0-9-]*), address: (?:([0-9.]+)|"([0-9a-f:]+)"), role: (server|agent), since: (\d{4}-\d\d-\d\d) \}$/;

/**
 * The text as data. YAML needs seconds for ten thousands of leases; lines that are exactly as leaseLine
 * writes them are read directly, and whatever else the file holds by the YAML parser.
 */
function readText(text: string): unknown {
  const lines = text.split('\n');
  const start = lines.indexOf('leases:') + 1;
  const leases: Lease[] = [];
  for (let match = lines[start]?.match(LEASE_LINE); start > 0 && match; ) {
    const [, name = '', v4, v6, role = '', since = ''] = match;
    leases.push({ name, address: v4 ?? v6 ?? '', role: role === 'server' ? 'server' : 'agent', since });
    match = lines[start + leases.length]?.match(LEASE_LINE);
  }
  const end = start + leases.length;
  // Another entry follows that is written differently: somebody edited it, and all of it is YAML's.
  if (leases.length === 0 || /^\s*(-|#|$)/.test(lines[end] ?? '')) return parse(text);
  const rest: unknown = parse([...lines.slice(0, start - 1), ...lines.slice(end)].join('\n'));
  if (rest === null || typeof rest !== 'object' || 'leases' in rest) return parse(text);
  return { ...rest, leases };
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
    const write = async (): Promise<void> => {
      const changed = change(this.#lock);
      await this.#files.write(this.#file, renderLockFile(changed));
      this.#lock = changed;
    };
    // A write that failed is its step's failure, and not that of the next.
    this.#writing = this.#writing.then(write, write);
    return this.#writing;
  }

  /** Records the hash of a URL that was downloaded for the first time. */
  async record(url: string, sha256: string): Promise<void> {
    if (this.#lock.downloads[url] === sha256) return;
    await this.update((lock) => ({ ...lock, downloads: { ...lock.downloads, [url]: sha256 } }));
  }
}
