import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { type Explanation, HomelabError } from '../errors.ts';
import type { FilesReader } from '../ports/types.ts';
import { NAS_HELPER } from './nas-helper.ts';

/**
 * Calls to the target, made by a process of their own. A NAS that does not answer holds whoever asks it, in the kernel,
 * where no signal ends it: that must not be us, for a process whose threads hang there cannot even exit. Each call has a
 * deadline; when it passes, the helper is given up, and the error says which call on which path does not come back.
 */
export type Nas = FilesReader & {
  /** What a list needs to know of a set, in one call: lists have thousands of them. */
  peek(folder: string): Promise<Peek>;
  /** Of a file; undefined when there is none. */
  bytes(path: string): Promise<number | undefined>;
  /** One folder, mode 0700; one that is there is fine, one whose parent is not there is an error (ENOENT). */
  makeFolder(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** With all that is in it; nothing there is fine. */
  remove(path: string): Promise<void>;
  /** A new file, mode 0600, on disk. */
  create(path: string, text: string): Promise<void>;
  /**
   * A file, mode 0600, in place of what is there: the old one is whole until the new one is on disk.
   * @param by the folder of the same file system in which it is written first; default: its own
   */
  replace(path: string, text: string, by?: string): Promise<void>;
  /** Only its owner may read it, and it is on disk: closing and fsync is where a NAS tells of what it could not write. */
  settleFile(path: string): Promise<void>;
  /** Names in a folder are on disk. */
  settleFolder(path: string): Promise<void>;
  /** Size and SHA-256, of what was read back. */
  measure(path: string): Promise<{ bytes: number; sha256: string }>;
  /** A new file, mode 0600, on disk, with the content of another. @returns what was read */
  copy(from: string, to: string): Promise<{ bytes: number; sha256: string }>;
};

export type Peek = {
  /** SHA-256 of manifest.json, where there is one. */
  hash?: string;
  /** Text of verify.json. */
  proof?: string;
  pinned: boolean;
};

type Call = {
  what: string;
  timer: NodeJS.Timeout;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
};
type Answer = { id: number; value?: unknown; error?: { code?: string; message: string }; busy?: true };

const known = new WeakMap<FilesReader, Map<string, Nas>>();

/**
 * One a run and target, started when it is first asked: where one of two targets hangs, the other must not.
 * @param files what is of this machine: where a folder is mounted
 * @param seconds that a call may go without an answer
 */
export function nasOf(files: FilesReader, seconds: number, which: 'first' | 'second' = 'first'): Nas {
  const ours = known.get(files) ?? new Map<string, Nas>();
  known.set(files, ours);
  const key = `${which} ${seconds}`;
  const nas = ours.get(key) ?? openNas(files, seconds);
  ours.set(key, nas);
  return nas;
}

/**
 * Does `work` while the NAS answers, which is asked every `seconds`: a program that writes to one that hangs would
 * otherwise be waited for until its own deadline, which is hours away.
 * @param work is told by its signal that nobody waits for it any more
 * @throws what the NAS's silence is called
 */
export async function whileItAnswers<T>(
  nas: Nas,
  folder: string,
  seconds: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    const next = (): void => {
      timer = setTimeout(() => {
        // The free space is never answered from a cache of this machine's.
        nas.freeBytes(folder).then(next, (error) => {
          reject(error);
          controller.abort();
        });
      }, seconds * 1000);
    };
    next();
  });
  try {
    return await Promise.race([work(controller.signal), silence]);
  } finally {
    clearTimeout(timer);
    controller.abort();
  }
}

function openNas(files: FilesReader, seconds: number): Nas {
  const open = new Map<number, Call>();
  let helper: ChildProcess | undefined;
  let queue: { id: number; name: string; args: string[] }[] = [];
  let count = 0;

  const settle = (id: number): Call | undefined => {
    const call = open.get(id);
    open.delete(id);
    clearTimeout(call?.timer);
    return call;
  };
  /** The helper hangs, or is gone: nothing that was asked of it will be answered. */
  const giveUp = (error: Error): void => {
    helper?.removeAllListeners();
    helper?.on('error', () => {}); // what it says from now on is of no interest
    helper?.kill('SIGKILL');
    if (helper?.connected) helper.disconnect();
    helper = undefined;
    queue = [];
    for (const id of [...open.keys()]) settle(id)?.reject(error);
  };
  const deadline = (what: string): NodeJS.Timeout => setTimeout(() => giveUp(silent(what, seconds)), seconds * 1000);
  const hear = (answers: Answer[]): void => {
    for (const { id, value, error, busy } of answers) {
      if (busy) open.get(id)?.timer.refresh();
      else if (error) {
        const call = settle(id);
        call?.reject(failure(call.what, error));
      } else settle(id)?.resolve(value);
    }
  };
  const start = (): ChildProcess => {
    // In a group of its own, so that Ctrl-C leaves it to us; with our end its channel closes, and it ends too.
    const child = spawn(process.execPath, ['--input-type=module', '--eval', NAS_HELPER], {
      ...{ stdio: ['ignore', 'ignore', 'ignore', 'ipc'], detached: true, cwd: '/', env: {} },
    });
    child.on('message', (answers) => hear(answers as Answer[]));
    child.on('error', (error) => giveUp(error));
    child.on('exit', (code, signal) => giveUp(new Error(`what talks to the NAS ended (${signal ?? code})`)));
    // Whoever waits has a timer, which keeps this process going; an idle helper must not.
    child.unref();
    child.channel?.unref();
    return child;
  };
  const flush = (): void => {
    const batch = queue.splice(0);
    helper ??= start();
    if (batch.length > 0) helper.send(batch, (error) => error && giveUp(error));
  };
  const ask = <T>(name: string, ...args: string[]): Promise<T> => {
    const what = `${WORDS[name] ?? name} ${args[0]}`;
    const id = count++;
    return new Promise<T>((resolve, reject) => {
      open.set(id, { what, timer: deadline(what), resolve: resolve as (value: unknown) => void, reject });
      // Calls of one moment travel together: a target with thousands of sets asks for thousands of small files.
      if (queue.length === 0) setImmediate(flush);
      queue.push({ id, name, args });
    });
  };

  return {
    ...files,
    text: (path) => ask('text', path),
    exists: (path) => ask('exists', path),
    list: (path) => ask('list', path),
    sha256: (path) => ask('sha256', path),
    peek: (path) => ask('peek', path),
    bytes: (path) => ask('bytes', path),
    freeBytes: (path) => ask('freeBytes', path),
    makeFolder: (path) => ask('makeFolder', path),
    rename: (from, to) => ask('rename', from, to),
    remove: (path) => ask('remove', path),
    create: (path, text) => ask('create', path, text),
    replace: (path, text, by = dirname(path)) =>
      ask('replace', path, text, join(by, `.${randomBytes(6).toString('hex')}.tmp`)),
    settleFile: (path) => ask('settleFile', path),
    settleFolder: (path) => ask('settleFolder', path),
    measure: (path) => ask('measure', path),
    copy: (from, to) => ask('copy', from, to),
  };
}

/** What a call does, where its name does not say it. */
const WORDS: Record<string, string> = {
  text: 'reading',
  exists: 'looking for',
  list: 'listing',
  sha256: 'reading',
  peek: 'reading',
  bytes: 'looking for',
  freeBytes: 'asking for the free space of',
  makeFolder: 'making',
  rename: 'renaming',
  remove: 'removing',
  create: 'writing',
  replace: 'writing',
  settleFile: 'writing to disk (fsync)',
  settleFolder: 'writing to disk (fsync)',
  measure: 'reading back',
  copy: 'copying',
};

/** What a NAS answers, and what to do about it. */
const TROUBLE: Record<string, Explanation> = {
  ENOSPC: { cause: 'the target is full', fix: 'make room on the NAS, or lower backup.keep' },
  EDQUOT: { cause: 'the quota of the target is used up', fix: 'raise it on the NAS, or lower backup.keep' },
  EROFS: { cause: 'the target is mounted read-only', fix: 'mount it for writing' },
  EACCES: { cause: 'this user may not write there', fix: 'see who owns the folder, and what the export squashes' },
  EPERM: { cause: 'this user may not do that there', fix: 'see who owns the folder, and what the export squashes' },
  EIO: { cause: 'the NAS could not write or read its disk', fix: "look at the NAS's own log and its disks" },
  ESTALE: { cause: 'the export was moved or made anew under its mount', fix: 'umount and mount it' },
  ENOTCONN: { cause: 'what is mounted there has gone away', fix: 'umount and mount it' },
};

function failure(what: string, { code = '', message }: { code?: string; message: string }): HomelabError {
  return Object.assign(new HomelabError(`${what}: ${message}`, TROUBLE[code] ?? {}), { code });
}

function silent(what: string, seconds: number): HomelabError {
  return new HomelabError(`the NAS does not answer: ${what} hangs, for ${seconds} s now`, {
    cause: 'the NAS is down, or the way to it; what was asked of it may or may not have been done',
    fix: 'see whether the NAS answers; then mount it anew (umount -f -l, mount), and run this again',
  });
}
