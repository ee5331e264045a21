import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isAlive } from '../alive.ts';
import { HomelabError, messageOf } from '../errors.ts';

/**
 * Folders for what must not outlive a run: password files, throw-away servers. Removed at the end, at exit, and,
 * where a run was killed, by the next one.
 */

export type Scratch = { path: string; remove(): void };

const PREFIX = 'homelab-pg-';
const OWNER = 'owner.pid';
/** A Unix socket's whole path has at most 103 bytes on macOS; the socket's own name takes 30 of them. */
const LONGEST = 70;
const open = new Set<string>();
let atExit = false;

/**
 * A new folder, mode 0700, with a path short enough for a socket.
 * @throws HomelabError where the temporary folder cannot be used
 */
export function makeScratch(): Scratch {
  if (!atExit) process.once('exit', () => open.forEach(discard));
  atExit = true;
  const path = make(join(scratchBase(), PREFIX));
  writeFileSync(join(path, OWNER), `${process.pid}\n${namespace()}\n`, { mode: 0o600 });
  open.add(path);
  return { path, remove: () => discard(path) };
}

/** Removes what runs that are gone have left, their servers included. */
export function sweepScratch(): void {
  const base = scratchBase();
  for (const name of namesIn(base)) {
    const path = join(base, name);
    const owner = name.startsWith(PREFIX) ? number(join(path, OWNER)) : undefined;
    if (owner !== undefined && !isAlive(owner) && isOfHere(join(path, OWNER))) discard(path);
  }
}

/** The process of the server on `data`, if its file names one that lives. */
export function postmasterOf(data: string): number | undefined {
  const pid = number(join(data, 'postmaster.pid'));
  return pid !== undefined && isAlive(pid) ? pid : undefined;
}

function discard(path: string): void {
  const postmaster = postmasterOf(join(path, 'data'));
  try {
    if (postmaster !== undefined) process.kill(postmaster, 'SIGQUIT');
  } catch {
    // It has ended by itself.
  }
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  } catch {
    return; // A server that is ending still writes; the next run sweeps.
  }
  open.delete(path);
}

/** Where process ids mean something: in another container that shares this folder, the same id is another process. */
function namespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return ''; // macOS has none.
  }
}

function isOfHere(file: string): boolean {
  return readFileSync(file, 'utf8').split('\n')[1] === namespace();
}

/**
 * TMPDIR, or /tmp where that cannot be: too long for a socket; or, as root, a folder that not everybody may enter
 * (pam_tmpdir gives root one), for the server then runs as somebody else.
 */
export function scratchBase(wanted = tmpdir(), isRoot = process.getuid?.() === 0): string {
  if (wanted.length > LONGEST - PREFIX.length - 6) return '/tmp';
  return isRoot && !forEverybody(wanted) ? '/tmp' : wanted;
}

/** Whether anybody may enter a folder, and each that it is in. One that is not there is told when it is used. */
function forEverybody(folder: string): boolean {
  try {
    let path = realpathSync(folder);
    while ((statSync(path).mode & 0o001) !== 0) {
      if (path === dirname(path)) return true;
      path = dirname(path);
    }
    return false;
  } catch {
    return true;
  }
}

function make(prefix: string): string {
  try {
    return mkdtempSync(prefix);
  } catch (error) {
    throw new HomelabError(`the temporary folder ${dirname(prefix)} cannot be used: ${messageOf(error)}`, {
      fix: 'set TMPDIR to a folder that is there, may be written, and has room for the databases',
    });
  }
}

/** Nothing has been left in a folder that is not there. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function number(file: string): number | undefined {
  try {
    const value = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return value > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}
