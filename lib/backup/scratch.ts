import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isAlive } from '../alive.ts';

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

/** A new folder, mode 0700, with a path short enough for a socket. */
export function makeScratch(): Scratch {
  if (!atExit) process.once('exit', () => open.forEach(discard));
  atExit = true;
  const path = mkdtempSync(join(base(), PREFIX));
  writeFileSync(join(path, OWNER), String(process.pid), { mode: 0o600 });
  open.add(path);
  return { path, remove: () => discard(path) };
}

/** Removes what runs that are gone have left, their servers included. */
export function sweepScratch(): void {
  for (const name of readdirSync(base())) {
    const path = join(base(), name);
    const owner = name.startsWith(PREFIX) ? number(join(path, OWNER)) : undefined;
    if (owner !== undefined && !isAlive(owner)) discard(path);
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

/** As root a server runs as somebody else, who may not enter root's own temporary folder. */
function base(): string {
  return process.getuid?.() === 0 || tmpdir().length > LONGEST - PREFIX.length - 6 ? '/tmp' : tmpdir();
}

function number(file: string): number | undefined {
  try {
    const value = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return value > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}
