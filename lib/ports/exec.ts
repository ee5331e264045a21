import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { $ } from 'zx';
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
  const { cwd, env = {}, stdin = '', deadline, onLine } = options;
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
  if (pid !== undefined) running.add(pid);
  if (onLine) void forEachLine(child, onLine);
  let late = false;
  const timer = deadline
    ? setTimeout(() => {
        late = true;
        endGroup(pid, 'SIGTERM');
        setTimeout(() => endGroup(pid, 'SIGKILL'), 5000).unref();
      }, deadline * 1000)
    : undefined;
  const { exitCode, signal, stdout, stderr } = await child;
  clearTimeout(timer);
  if (pid !== undefined) running.delete(pid);
  if (late) throw new DeadlineError(argv.slice(0, 2).join(' '), deadline ?? 0, { output: lastLines(stderr || stdout) });
  return { code: exitCode ?? (signal ? 128 + 9 : 1), stdout, stderr };
}

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
