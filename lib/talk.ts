import type { Ora } from 'ora';
import type { StepResult } from './apply.ts';
import { HomelabError, messageOf } from './errors.ts';
import { quote } from './quote.ts';
import type { Secrets } from './secret.ts';
import type { Note, Plan, Proof, Step } from './step.ts';

/** Seconds between two lines about what goes on, where there is no terminal. */
const PLAIN = 30;

/** A command of ours as messages and docs name it, to be short. */
const SHORT = /(?<![\w/-])(backup-postgres|restore-postgres) (?:run|list|verify|prune|status|install|--)/g;

/** Everything that is said to a person while a script runs: on stderr, redacted. stdout is for results. */
export class Talk {
  readonly #secrets: Secrets;
  readonly #verbose: boolean;
  /** What was said quietly: told when something goes wrong. */
  #held: string[] | undefined;
  readonly #running = new Map<string, number>();
  /** What those that wait see. */
  readonly #seen = new Map<string, string>();
  #spinner: Ora | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #aside = 0;
  #named = false;
  /** Scripts that were named without the way to them: "backup-postgres list". */
  readonly #short = new Set<string>();

  constructor(secrets: Secrets, { verbose, quiet = false }: { verbose: boolean; quiet?: boolean }) {
    this.#secrets = secrets;
    this.#verbose = verbose;
    this.#held = quiet ? [] : undefined;
  }

  say(text: string): void {
    if (this.#held) this.#held.push(text);
    else this.warn(text);
  }

  /** Said whether quiet or not. */
  warn(text: string): void {
    this.#spinner?.clear();
    this.mark(text);
    process.stderr.write(`${this.#secrets.redact(text)}\n`);
  }

  /** Remembers whether a text names a command of ours, which a person may copy. */
  mark(text: string): string {
    this.#named ||= text.includes('npx tsx scripts/');
    for (const [, name = ''] of text.matchAll(SHORT)) this.#short.add(name);
    return text;
  }

  /**
   * What was named, and is copied as it is, would be done to the lab of this folder's homelab.yaml.
   * @param config that of the run, where it is another one
   */
  remind(config: string | undefined): void {
    if (this.#named && config !== undefined)
      this.warn(`(for this lab, add --config ${quote(config)} to the commands that are named here)`);
    const more = config === undefined ? '' : ` --config ${quote(config)}`;
    for (const name of this.#short) this.warn(`(to run ${name} …: npx tsx scripts/${name}.ts …${more})`);
    this.#short.clear();
  }

  /** Says what a quiet run has kept to itself, and keeps nothing from now on: it is not as it should be. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const text of held) this.warn(text);
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

  stepSeen(step: Step, seen: string): void {
    const text = this.#secrets.redact(seen);
    if (this.#seen.get(label(step)) === text) return;
    this.#seen.set(label(step), text);
    this.detail(`… ${label(step)}: ${text}`);
  }

  stepEnd(step: Step, result: StepResult): void {
    this.#hide(label(step));
    const mark = { done: '✓', failed: '✗', skipped: '–' }[result.outcome];
    this.say(
      `${mark} ${label(step)}${result.outcome === 'skipped' ? ' (skipped: a step before it failed)' : `  ${result.seconds.toFixed(1)} s`}`,
    );
  }

  proof({ claim, ok, skipped, detail }: Proof): void {
    const more = detail && !claim.includes(detail) ? `: ${detail}` : '';
    this.say(`${skipped ? '–' : ok ? '✓' : '✗'} ${claim}${more}`);
  }

  /** What failed, the end of its output, the likely cause, what to do. */
  failure(error: unknown): void {
    this.release();
    this.say(failureText(error));
  }

  /** On a terminal a live line, from the second second on; elsewhere a plain line each half minute. */
  async #show(what: string): Promise<void> {
    this.#running.set(what, Date.now());
    if (this.#ticker || this.#held) return;
    // A terminal without a width cannot be drawn on.
    if (process.stderr.isTTY && process.stderr.columns > 0) return this.#draw();
    this.#ticker = setInterval(() => {
      if (this.#aside > 0) return;
      for (const [running, since] of this.#running) {
        const seconds = Math.round((Date.now() - since) / 1000);
        if (seconds >= PLAIN) this.say(`… ${running}  ${seconds} s${this.#sees(running)}`);
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
      this.#spinner.text = `${oldest}${others}  ${seconds} s${this.#sees(oldest)}`;
    }, 250);
    this.#ticker.unref();
  }

  /** What it waits for, short enough for a line. */
  #sees(what: string): string {
    const seen = this.#seen.get(what);
    return seen ? `  (${seen.length > 100 ? `${seen.slice(0, 100)}…` : seen})` : '';
  }

  #hide(what: string): void {
    this.#running.delete(what);
    this.#seen.delete(what);
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
    // The one reason of them all is said once.
    const reasons = new Set(plan.steps.map(({ why }) => why));
    const shared = plan.steps.length > 2 && reasons.size === 1 ? `  (${[...reasons].join()})` : undefined;
    lines.push(`${script}: ${plan.steps.length} step${plan.steps.length === 1 ? '' : 's'}${shared ?? ''}`);
    for (const step of plan.steps) {
      lines.push(`  ${step.destroys ? '-' : '+'} ${label(step)}${shared === undefined ? `  (${step.why})` : ''}`);
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
