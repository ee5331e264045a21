import { hostname } from 'node:os';
import { isAlive } from '../alive.ts';
import { EXIT, HomelabError } from '../errors.ts';
import type { Nas } from './nas.ts';

/** Who works on a set, said on the target itself: a machine and a pod of the CronJob have no other lock in common. */

/** A claim, until it is released. */
export type Claim = {
  /** @throws HomelabError where somebody took it over, or removed it */
  assertHeld(): Promise<void>;
  release(): Promise<void>;
};

/** No step takes so long; the clocks of two machines differ by less. */
const ABANDONED_MS = 12 * 3_600_000;
/** For somebody who is just writing it. */
const UNREADABLE_MS = 2000;

/**
 * Makes `file`, which only one of several can.
 * @param what is being done, for whoever comes second
 * @throws HomelabError with exit code 75 while another one holds it
 */
export async function claim(nas: Nas, file: string, what: string): Promise<Claim> {
  const own = JSON.stringify({ host: hostname(), pid: process.pid, since: new Date().toISOString() });
  for (let attempt = 0; attempt < 5; attempt++) {
    try {
      await nas.create(file, own);
      return {
        async assertHeld() {
          if ((await nas.text(file)) !== own) throw lost(what, file);
        },
        async release() {
          if ((await nas.text(file)) === own) await nas.remove(file);
        },
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        await nas.remove(file).catch(() => {});
        throw error;
      }
    }
    const holder = await holderIn(nas, file);
    if (holder && !isAbandoned(holder)) throw held(what, file, holder);
    await nas.remove(file);
  }
  throw new HomelabError(`${file} changes hands too quickly`, { exit: EXIT.locked, fix: 'try again' });
}

type Holder = { host: string; pid: number; since: string };

/** Undefined where nobody holds it, or nobody can say who: its writer was killed while it wrote. */
async function holderIn(nas: Nas, file: string): Promise<Holder | undefined> {
  for (const pause of [UNREADABLE_MS, 0]) {
    const text = await nas.text(file);
    if (text === undefined) return undefined;
    try {
      const { host, pid, since } = JSON.parse(text) as Partial<Holder>;
      if (host !== undefined && pid !== undefined && since !== undefined) return { host, pid, since };
    } catch {
      // Half of it, or nothing yet.
    }
    await new Promise((done) => setTimeout(done, pause));
  }
  return undefined;
}

function isAbandoned({ host, pid, since }: Holder): boolean {
  if (host === hostname()) return pid === process.pid || !isAlive(pid);
  return !(Math.abs(Date.now() - Date.parse(since)) <= ABANDONED_MS);
}

function held(what: string, file: string, { host, pid, since }: Holder): HomelabError {
  return new HomelabError(`${what} by ${host} (process ${pid}) since ${since}`, {
    exit: EXIT.locked,
    fix: `wait until that has ended; if ${host} was killed meanwhile, delete ${file}`,
  });
}

function lost(what: string, file: string): HomelabError {
  return new HomelabError(`${what} by somebody else too: ${file} is not ours any more`, {
    exit: EXIT.locked,
    fix: 'nothing was deleted; run it again',
  });
}
