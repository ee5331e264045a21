import type { Ora } from 'ora';
import type { StepResult } from './apply.ts';
import { HomelabError, messageOf } from './errors.ts';
import type { Secrets } from './secret.ts';
import type { Note, Plan, Proof, Step } from './step.ts';

/** Seconds between two lines about what goes on, where there is no terminal. */
const PLAIN = 30;

/** Everything that is said to a person while a script runs: on stderr, redacted. stdout is for results. */
export class Talk {
  readonly #secrets: Secrets;
  readonly #verbose: boolean;
  readonly #running = new Map<string, number>();
  #spinner: Ora | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #aside = 0;

  constructor(secrets: Secrets, verbose: boolean) {
    this.#secrets = secrets;
    this.#verbose = verbose;
  }

  say(text: string): void {
    this.#spinner?.clear();
    process.stderr.write(`${this.#secrets.redact(text)}\n`);
  }

  detail(text: string): void {
    if (this.#verbose) this.say(text);
  }

  /** Shows that `what` goes on while `work` does. */
  async during<T>(what: string, work: Promise<T>): Promise<T> {
    await this.#show(what);
    try {
      return await work;
    } finally {
      this.#hide(what);
    }
  }

  /** While `work` lets another program talk on this terminal, nothing is drawn on it: two live lines garble each other. */
  async aside<T>(work: () => Promise<T>): Promise<T> {
    this.#aside += 1;
    this.#spinner?.stop();
    this.#spinner = undefined;
    try {
      return await work();
    } finally {
      this.#aside -= 1;
    }
  }

  stepStart(step: Step): void {
    this.detail(`… ${label(step)}`);
    void this.#show(label(step));
  }

  stepEnd(step: Step, result: StepResult): void {
    this.#hide(label(step));
    const mark = { done: '✓', failed: '✗', skipped: '–' }[result.outcome];
    this.say(
      `${mark} ${label(step)}${result.outcome === 'skipped' ? ' (skipped: what it is after failed)' : `  ${result.seconds.toFixed(1)} s`}`,
    );
  }

  proof({ claim, ok, skipped, detail }: Proof): void {
    const more = detail && !claim.includes(detail) ? `: ${detail}` : '';
    this.say(`${skipped ? '–' : ok ? '✓' : '✗'} ${claim}${more}`);
  }

  /** What failed, the end of its output, the likely cause, what to do. */
  failure(error: unknown): void {
    this.say(failureText(error));
  }

  /** On a terminal a live line, from the second second on; elsewhere a plain line each half minute. */
  async #show(what: string): Promise<void> {
    this.#running.set(what, Date.now());
    if (this.#ticker) return;
    // A terminal without a width cannot be drawn on.
    if (process.stderr.isTTY && process.stderr.columns > 0) return this.#draw();
    this.#ticker = setInterval(() => {
      if (this.#aside > 0) return;
      for (const [running, since] of this.#running) {
        const seconds = Math.round((Date.now() - since) / 1000);
        if (seconds >= PLAIN) this.say(`… ${running}  ${seconds} s`);
      }
    }, PLAIN * 1000);
    this.#ticker.unref();
  }

  /** ora is loaded only where there is a terminal to draw on. */
  async #draw(): Promise<void> {
    const { default: ora } = await import('ora');
    if (this.#ticker) return;
    this.#ticker = setInterval(() => {
      const [first] = this.#running;
      if (!first || this.#aside > 0) return;
      const [oldest, since] = first;
      const seconds = Math.round((Date.now() - since) / 1000);
      if (seconds < 1) return;
      this.#spinner ??= ora({ stream: process.stderr, discardStdin: false }).start();
      const others = this.#running.size > 1 ? ` and ${this.#running.size - 1} more` : '';
      this.#spinner.text = `${oldest}${others}  ${seconds} s`;
    }, 250);
    this.#ticker.unref();
  }

  #hide(what: string): void {
    this.#running.delete(what);
    if (this.#running.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
    this.#spinner?.stop();
    this.#spinner = undefined;
  }
}

function label(step: Step): string {
  return step.host ? `${step.host}: ${step.title}` : step.title;
}

/** An error as a person reads it; one that was not foreseen is shown as a defect, with its stack. */
export function failureText(error: unknown): string {
  if (!(error instanceof HomelabError)) {
    const fix = systemFix(error);
    if (fix) return `error: ${messageOf(error)}\nto fix: ${fix}`;
    return `defect: ${error instanceof Error ? (error.stack ?? error.message) : messageOf(error)}`;
  }
  const parts = [`error: ${error.message}`];
  if (error.output) parts.push(error.output.replaceAll(/^/gm, '  | '));
  if (error.likelyCause) parts.push(`probable cause: ${error.likelyCause}`);
  if (error.fix) parts.push(`to fix: ${error.fix}`);
  return parts.join('\n');
}

/** What to do about what this machine refused; undefined where that is no common case. */
function systemFix(error: unknown): string | undefined {
  if (!(error instanceof Error && 'syscall' in error && 'code' in error)) return undefined;
  return SYSTEM_FIXES[String(error.code)];
}

const SYSTEM_FIXES: Record<string, string> = {
  ENOSPC: 'make room on this disk, and run it again',
  EDQUOT: 'make room in your quota, and run it again',
  EFBIG: 'raise the limit for the size of files (ulimit -f), and run it again',
  EROFS: 'it is mounted read-only here: use a copy of the lab that can be written',
  EACCES: 'give yourself access to it, or run this as its owner',
  EPERM: 'give yourself access to it, or run this as its owner',
  EISDIR: 'a folder is where a file must be: move it away',
  ENOTDIR: 'a file is where a folder must be: move it away',
  EMFILE: 'raise the limit for open files (ulimit -n)',
};

/** A plan as a person reads it. */
export function planText(script: string, plan: Plan): string {
  const lines = plan.notes.map(noteText);
  if (plan.steps.length === 0 && plan.notes.some(({ level }) => level === 'blocker'))
    lines.push(`${script}: cannot be planned before that is put right`);
  else if (plan.steps.length === 0) lines.push(`${script}: nothing to do, everything is as homelab.yaml says`);
  else {
    lines.push(`${script}: ${plan.steps.length} step${plan.steps.length === 1 ? '' : 's'}`);
    for (const step of plan.steps) {
      lines.push(`  ${step.destroys ? '-' : '+'} ${label(step)}  (${step.why})`);
      for (const thing of step.does ?? []) lines.push(`      ${thing}`);
      for (const lost of step.destroys ?? []) lines.push(`      is lost: ${lost}`);
    }
  }
  return lines.join('\n');
}

/** A note of a plan, with what to do about it. */
export function noteText({ level, text, fix }: Note): string {
  return `${level === 'info' ? 'note' : level}: ${text}${fix ? `; ${fix}` : ''}`;
}
