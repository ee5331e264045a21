import { constants } from 'node:os';
import { EXIT, messageOf } from './errors.ts';
import { endPrograms, killPrograms, programsRun } from './ports/exec.ts';
import type { Talk } from './talk.ts';

/** Seconds that an interrupted run has to tidy up: Terraform writes its state, Packer removes its VM. */
const TIDY_UP = 30;
/** A second signal counts after so many milliseconds. */
const AGAIN_MS = 700;

/** Why a run ends before its time. */
export type Interruption = { exit: number; why: string; signal?: NodeJS.Signals; error?: unknown };

/**
 * Ctrl-C, a closed terminal, a shutdown; or an error that nobody waited for, which is a defect. The first signal asks
 * programs to end, tidies up and tells those who want to know, and holds the lock meanwhile; the second ends at once.
 * @param run.tell has a deadline of its own
 * @param run.last what remains to be done when nothing runs any more
 */
export function onInterrupt(
  interrupted: AbortController,
  talk: Talk,
  run: {
    end: () => Promise<void>;
    tell: (interruption: Interruption) => Promise<void>;
    last: (interruption: Interruption) => void;
  },
): () => void {
  const leave = (interruption: Interruption): never => {
    killPrograms();
    run.last(interruption);
    process.exit(interruption.exit);
  };
  const begin = async (interruption: Interruption): Promise<void> => {
    interrupted.abort();
    const late = new Promise<void>((done) => setTimeout(done, (TIDY_UP + 1) * 1000));
    await Promise.race([Promise.allSettled([endPrograms(TIDY_UP), run.end()]), late]);
    // What it starts to tell somebody must not be ended with the run's own programs.
    await run.tell(interruption).catch(() => {});
    leave(interruption);
  };
  let first = 0;
  const handle = (signal: NodeJS.Signals): void => {
    const interruption = { exit: 128 + (constants.signals[signal] ?? 15), why: signal, signal };
    // npm and tsx pass on what the terminal sends to everybody: the same Ctrl-C may come twice.
    if (interrupted.signal.aborted && performance.now() - first > AGAIN_MS) leave(interruption);
    if (interrupted.signal.aborted) return;
    first = performance.now();
    const wait = programsRun() ? `; programs have ${TIDY_UP} s to end (the same again: at once)` : '';
    talk.say(`\n${signal}: stopped${wait}; run the same command again to go on`);
    void begin(interruption);
  };
  const broken = (error: unknown): void => {
    talk.failure(error);
    if (!interrupted.signal.aborted) void begin({ exit: EXIT.failed, why: messageOf(error), error });
  };
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, handle);
  process.on('uncaughtException', broken);
  return () => {
    for (const signal of signals) process.off(signal, handle);
    process.off('uncaughtException', broken);
  };
}
