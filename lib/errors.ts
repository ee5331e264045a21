/** Exit codes that users and cron jobs may rely on (docs/ARCHITECTURE.md, "Exit codes"). */
export const EXIT = { ok: 0, failed: 1, usage: 2, pending: 3, locked: 75 } as const;
export type ExitCode = number;

export type Explanation = {
  /** What to do about it, as a sentence or a command. */
  fix?: string;
  /** The likely cause, when it is not the message itself. */
  cause?: string;
  /** The last lines of output of what failed. */
  output?: string;
  exit?: ExitCode;
};

/**
 * An error that was foreseen: its message names value and place, `fix` says what to do.
 * Anything else that is thrown is a defect of ours and is shown with its stack.
 */
export class HomelabError extends Error {
  readonly exit: ExitCode;
  readonly fix?: string;
  readonly likelyCause?: string;
  readonly output?: string;

  constructor(message: string, { fix, cause, output, exit = EXIT.failed }: Explanation = {}) {
    super(message);
    this.name = 'HomelabError';
    this.exit = exit;
    this.fix = fix;
    this.likelyCause = cause;
    this.output = output;
  }
}

/** The configuration or the call is wrong; nothing was started. Exit code 2. */
export class UsageError extends HomelabError {
  constructor(message: string, explanation: Omit<Explanation, 'exit'> = {}) {
    super(message, { ...explanation, exit: EXIT.usage });
    this.name = 'UsageError';
  }
}

/** A wait reached its deadline. `what` is what was waited for, `seconds` for how long. */
export class DeadlineError extends HomelabError {
  constructor(what: string, seconds: number, explanation: Explanation = {}) {
    super(`${what}: not within ${seconds < 10 ? Number(seconds.toPrecision(2)) : Math.round(seconds)} s`, explanation);
    this.name = 'DeadlineError';
  }
}

/** The message of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
