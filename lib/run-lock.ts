import { closeSync, linkSync, mkdirSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { isAlive } from './alive.ts';
import { EXIT, HomelabError } from './errors.ts';

/** Who holds the lab's lock, and why. */
export type Holder = { user: string; host: string; pid: number; script: string; since: string };

export type RunLock = { release(): void };

/**
 * One writer a lab at a time: a file .state/<lab>/lock with owner and reason.
 * A lock whose process is gone from this machine is taken over; one of another machine never is.
 * @throws HomelabError with exit code 75 when somebody else holds it
 */
export function takeLock(stateFolder: string, script: string): RunLock {
  mkdirSync(stateFolder, { recursive: true, mode: 0o700 });
  const file = join(stateFolder, 'lock');
  const me: Holder = { user: userName(), host: hostname(), pid: process.pid, script, since: new Date().toISOString() };
  for (let attempt = 0; attempt < 5; attempt++) {
    if (create(file, me)) return { release: () => releaseOwn(file, me) };
    const holder = read(file);
    if (holder === undefined) continue; // it was released between the two looks
    if (!isGone(holder)) throw held(file, holder);
    moveAside(file, holder);
  }
  throw new HomelabError(`${file}: the lock changes hands too quickly; try again`, { exit: EXIT.locked });
}

function held(file: string, holder: Holder | 'unreadable'): HomelabError {
  if (holder === 'unreadable')
    return new HomelabError(`${file} is not a lock of ours`, {
      exit: EXIT.locked,
      fix: `look at it, and delete it when no run is under way`,
    });
  const { user, host, pid, script, since } = holder;
  return new HomelabError(`the lab is locked: ${script} of ${user}@${host} (process ${pid}) runs since ${since}`, {
    exit: EXIT.locked,
    fix:
      host === hostname()
        ? 'wait until it has ended'
        : `wait until it has ended; if ${host} is gone for good, delete ${file}`,
  });
}

/** Linked into place whole: nobody ever reads half a lock, and only one link succeeds. */
function create(file: string, me: Holder): boolean {
  const temporary = `${file}.${me.pid}`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, JSON.stringify(me));
    linkSync(temporary, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    closeSync(fd);
    unlinkSync(temporary);
  }
}

function read(file: string): Holder | 'unreadable' | undefined {
  try {
    const holder: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return isHolder(holder) ? holder : 'unreadable';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : 'unreadable';
  }
}

function isHolder(value: unknown): value is Holder {
  return (
    typeof value === 'object' &&
    value !== null &&
    'pid' in value &&
    typeof value.pid === 'number' &&
    'host' in value &&
    typeof value.host === 'string'
  );
}

function isGone(holder: Holder | 'unreadable'): boolean {
  if (holder === 'unreadable' || holder.host !== hostname()) return false;
  // Our own number is from before a restart of the machine.
  return holder.pid === process.pid || !isAlive(holder.pid);
}

/** Takes a dead holder's lock away; puts it back when, between look and rename, somebody living took it. */
function moveAside(file: string, dead: Holder | 'unreadable'): void {
  const aside = `${file}.dead-${process.pid}`;
  try {
    renameSync(file, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (JSON.stringify(read(aside)) !== JSON.stringify(dead)) {
    try {
      linkSync(aside, file);
    } catch {
      // A third one has it by now; its lock stands.
    }
  }
  unlinkSync(aside);
}

function releaseOwn(file: string, me: Holder): void {
  const holder = read(file);
  if (typeof holder === 'object' && holder.pid === me.pid && holder.host === me.host && holder.since === me.since)
    unlinkSync(file);
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.getuid?.() ?? '?'}`;
  }
}
