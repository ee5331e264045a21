import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
// Not all of zx: what it has beside `$` is larger than the rest of a script.
import { $ } from 'zx/core';
import { DeadlineError } from '../errors.ts';
import { quote } from '../quote.ts';
import type { Exec, Outcome, RunOptions } from './types.ts';

/** Variables of the caller that a program gets; everything else, secrets above all, stays out. */
const KEPT = [
  ...['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'TERM', 'SSH_AUTH_SOCK'],
  ...['SSL_CERT_FILE', 'SSL_CERT_DIR'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'],
  ...['TF_CLI_CONFIG_FILE', 'TF_PLUGIN_CACHE_DIR', 'PACKER_PLUGIN_PATH'],
];

/** Terraform and Packer ask their makers for a newer version whenever they start; nothing of ours calls home. */
const QUIET = { CHECKPOINT_DISABLE: '1' };

/** Seconds that a program has to end after its deadline, and then, killed, to be gone. */
const GRACE = 5;

/** Programs under way, so that an interrupted run ends what it started. */
const running = new Set<number>();

/** Programs of this machine. @param environment of which they get what KEPT names, and nothing else */
export function realExec(environment: NodeJS.ProcessEnv = process.env): Exec {
  return {
    run: (argv, options = {}) => run(argv, options, environment),
    which: (program) => which(program, environment.PATH ?? ''),
  };
}

/** In a process group of its own, so that a deadline ends its children too. */
async function run(argv: readonly string[], options: RunOptions, environment: NodeJS.ProcessEnv): Promise<Outcome> {
  const { cwd, env = {}, stdin = '', deadline, signal: given, onLine } = options;
  const kept = Object.fromEntries(
    KEPT.flatMap((name) => (environment[name] === undefined ? [] : [[name, environment[name]]])),
  );
  const input = typeof stdin === 'string' ? stdin : Buffer.from(stdin);
  // zx goes through a shell; ours is the POSIX one, with our quoting, so that argv arrives as it is.
  const child = $({
    cwd,
    env: { ...kept, ...QUIET, ...env },
    input,
    shell: '/bin/sh',
    prefix: 'exec ',
    postfix: '',
    quote,
    detached: true,
    nothrow: true,
    quiet: true,
  })`${argv}`;
  const { pid } = child;
  // A program need not read what it is given (EPIPE); its exit code says what came of it.
  child.stdin?.on('error', () => {});
  if (pid !== undefined) running.add(pid);
  const drop = (): void => endGroup(pid, 'SIGKILL');
  if (given?.aborted) drop();
  given?.addEventListener('abort', drop, { once: true });
  if (onLine) void forEachLine(child, onLine);
  const what = argv.slice(0, 2).join(' ');
  let late = false;
  const timers: NodeJS.Timeout[] = [];
  const hangs = new Promise<never>((_, reject) => {
    const after = (seconds: number, work: () => void): void => {
      timers.push(setTimeout(work, seconds * 1000));
    };
    if (!deadline) return;
    after(deadline, () => {
      late = true;
      endGroup(pid, 'SIGTERM');
      after(GRACE, () => endGroup(pid, 'SIGKILL'));
      // The kernel does not let it go: it waits for a disk, or a NAS, that does not answer.
      after(2 * GRACE, () => reject(new DeadlineError(what, deadline, UNKILLABLE)));
    });
  });
  const { exitCode, signal, stdout, stderr } = await Promise.race([child, hangs]).finally(() => {
    for (const timer of timers) clearTimeout(timer);
    given?.removeEventListener('abort', drop);
    if (pid !== undefined) running.delete(pid);
  });
  if (late) throw new DeadlineError(what, deadline ?? 0, { output: lastLines(stderr || stdout) });
  return { code: exitCode ?? (signal ? 128 + 9 : 1), stdout, stderr };
}

const UNKILLABLE = {
  cause: 'it cannot be ended: it waits in the kernel for a disk or a NAS that does not answer',
  fix: 'see whether the NAS answers; then mount it anew (umount -f -l, mount)',
};

/** Asks all programs under way to end, and ends those that have not after `seconds`. */
export async function endPrograms(seconds: number): Promise<void> {
  const signalled = new Set<number>();
  const end = Date.now() + seconds * 1000;
  while (running.size > 0 && Date.now() < end) {
    for (const pid of running) {
      if (!signalled.has(pid)) endGroup(pid, 'SIGTERM');
      signalled.add(pid);
    }
    await new Promise((done) => setTimeout(done, 50));
  }
  killPrograms();
}

/** Ends all programs under way, without asking. */
export function killPrograms(): void {
  for (const pid of running) endGroup(pid, 'SIGKILL');
}

export function programsRun(): boolean {
  return running.size > 0;
}

function endGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // It has ended by itself.
  }
}

async function forEachLine(child: AsyncIterable<string>, onLine: (line: string) => void): Promise<void> {
  for await (const line of child) onLine(line);
}

/** The end of an output, for errors. */
export function lastLines(text: string, count = 15): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

function which(program: string, path: string): string | undefined {
  for (const folder of path.split(delimiter)) {
    const file = join(folder || '.', program);
    try {
      accessSync(file, constants.X_OK);
      if (statSync(file).isFile()) return file;
    } catch {
      // not here
    }
  }
  return undefined;
}
