import { constants } from 'node:os';
import { endPrograms, killPrograms, programsRun } from './ports/exec.ts';
import type { Talk } from './talk.ts';

/** Seconds that an interrupted run has to tidy up: Terraform writes its state, Packer removes its VM. */
const TIDY_UP = 30;
/** A second signal counts after so many milliseconds. */
const AGAIN_MS = 700;

/**
 * Ctrl-C, a closed terminal, a shutdown. The first signal asks programs to end and tidies up, and holds the lock meanwhile; the second ends at once.
 * @param last what remains to be done when nothing runs any more
 */
export function onInterrupt(
  interrupted: AbortController,
  talk: Talk,
  end: () => Promise<void>,
  last: (exit: number, signal: NodeJS.Signals) => void,
): () => void {
  const leave = (signal: NodeJS.Signals): never => {
    killPrograms();
    const exit = 128 + (constants.signals[signal] ?? 15);
    last(exit, signal);
    process.exit(exit);
  };
  let first = 0;
  const handle = (signal: NodeJS.Signals): void => {
    // npm and tsx pass on what the terminal sends to everybody: the same Ctrl-C may come twice.
    if (interrupted.signal.aborted && performance.now() - first > AGAIN_MS) leave(signal);
    if (interrupted.signal.aborted) return;
    first = performance.now();
    interrupted.abort();
    const wait = programsRun() ? `; programs have ${TIDY_UP} s to end (the same again: at once)` : '';
    talk.say(`\n${signal}: stopped${wait}; run the same command again to go on`);
    setTimeout(() => leave(signal), (TIDY_UP + 1) * 1000);
    void Promise.all([endPrograms(TIDY_UP), end()]).finally(() => leave(signal));
  };
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, handle);
  return () => {
    for (const signal of signals) process.off(signal, handle);
  };
}
