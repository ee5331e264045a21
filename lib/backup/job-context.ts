import type { Backup, PostgresServer } from '../config/schema.ts';
import { within } from '../deadline.ts';
import { DeadlineError } from '../errors.ts';
import type { Exec } from '../ports/types.ts';
import type { Installation } from './clients.ts';
import { type Nas, whileItAnswers } from './nas.ts';
import type { Reached } from './reach.ts';

/** What a backup of one server needs; how the server is reached is not the engine's business. */
export type JobContext = {
  exec: Exec;
  nas: Nas;
  lab: string;
  backup: Backup;
  server: PostgresServer;
  installations: readonly Installation[];
  reach: () => Promise<Reached>;
  /** The target, looked at anew. @throws HomelabError when it is not there, or not ours */
  target: () => Promise<{ root: string; freeBytes: number }>;
  now: () => Date;
  /** Until the deadline of the whole run. */
  secondsLeft: () => number;
};

/** Seconds that programs have to end after the deadline of the run. */
const GRACE = 15;
const RUN_FIX = 'see what took so long; backup.deadlines.run_seconds is for all of a run';

/** Does `work` within the deadline of the run, and while the NAS answers; programs end a little earlier, and say more. */
export function withinRun<T>(
  { backup, nas, secondsLeft, server }: JobContext,
  root: string,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return within(
    Math.max(0, secondsLeft()) + GRACE,
    `${what} of ${server.name}`,
    (late) =>
      whileItAnswers(nas, root, backup.deadlines.nas_seconds, (silent) => work(AbortSignal.any([late, silent]))),
    { fix: RUN_FIX },
  );
}

/** Seconds for one program: its own deadline, or what is left of the run's. @throws DeadlineError when nothing is left */
export function programSeconds({ backup, secondsLeft, server }: JobContext): number {
  const left = secondsLeft();
  if (left <= 0)
    throw new DeadlineError(`the backup of ${server.name}`, backup.deadlines.run_seconds, { fix: RUN_FIX });
  return Math.min(left, backup.deadlines.program_seconds);
}
