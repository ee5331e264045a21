import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TOOLKIT } from '../lib/paths.ts';
import { compile } from './compile.ts';
import { COMPILED, nodeArgv, SOURCE_MAPS } from './node-argv.ts';
import { privateTmp } from './private-tmp.ts';

/**
 * Runs test files, each in a process of its own: nothing that one leaves behind (an environment variable, a
 * timer, a signal handler) reaches another. A file in which no test ran has failed, whatever its exit code:
 * uvu counts a forgotten `.run()`, and a process that ends while it waits, as success.
 *
 *     npm test                          all of test/
 *     npm test -- ledger config         files with these words in their names
 *     npm test -- /path/x.test.ts       a file anywhere
 *
 * What is in test/ is compiled before (test/compile.ts). `node --import tsx test/x.test.ts` runs one file without that.
 */

/** Files side by side: each waits for somebody a third of its time, so one more than there are cores. */
const SIDE_BY_SIDE = Math.min(availableParallelism() + 1, 6);
/** Files that take long are begun first: at the end none of them is left to run alone. */
const LONG =
  /^(backup-(call-killed|copies|cronjob-lab|disk-faults|exits|faults|killed|lineage|nas-faults)|canary|real-.*|rehearsal-kill|restore-disk)\.test\.ts$/;
/** Seconds after which a file is ended; the slowest take two minutes on two cores, and five beside other work. */
const DEADLINE = 600;

/**
 * So many files that failed beside others are run once more, alone: deadlines and races are real here, and a machine that
 * was busy elsewhere for some seconds breaks them. Both runs are printed, and it is said at the end. More of them than
 * this are no accident.
 */
const AGAIN = 3;

export type Verdict = { passed: number; failed: number; skipped: number; why?: string };
type Ran = { file: string; verdict: Verdict; output: string; seconds: number };

/** What uvu's summary and the exit code of one file amount to. */
export function judge(output: string, code: number | null): Verdict {
  const text = output.replaceAll(/\u001b\[[0-9;]*m/g, '');
  const count = (word: string): number | undefined => {
    const found = [...text.matchAll(new RegExp(`^ {2}${word}: +(\\d+)$`, 'gm'))].at(-1);
    return found && Number(found[1]);
  };
  const total = count('Total');
  const skipped = count('Skipped') ?? 0;
  const passed = count('Passed') ?? 0;
  if (total === undefined) return { passed: 0, failed: 1, skipped: 0, why: `no test ran (exit code ${code})` };
  if (total + skipped === 0) return { passed: 0, failed: 1, skipped: 0, why: 'no test ran: is `.run()` missing?' };
  const failed = total - passed;
  if (code !== 0 && failed === 0) return { passed, failed: 1, skipped, why: `ended with exit code ${code}` };
  return { passed, failed, skipped };
}

/** The test files that `words` select. */
export function select(folder: string, words: readonly string[]): string[] {
  const named = words.filter((word) => word.endsWith('.test.ts')).map((word) => resolve(word));
  const parts = words.filter((word) => !word.endsWith('.test.ts'));
  if (named.length > 0 && parts.length === 0) return named;
  const all = readdirSync(folder).filter((name) => name.endsWith('.test.ts'));
  const wanted = all.filter((name) => parts.length === 0 || parts.some((part) => name.includes(part)));
  return [...named, ...wanted.sort().map((name) => join(folder, name))];
}

async function main(words: readonly string[]): Promise<number> {
  const tests = dirname(fileURLToPath(import.meta.url));
  const waiting = select(tests, words);
  if (waiting.length === 0) {
    console.log(`no test file matches ${words.join(' ')}`);
    return 1;
  }
  const isLong = (file: string): number => Number(LONG.test(basename(file)));
  waiting.sort((a, b) => isLong(b) - isLong(a));
  const own = waiting.filter((file) => dirname(file) === tests);
  if (own.length > 0) {
    // Beside the packages, which some of it needs; not in /tmp, of which some tests have one of their own.
    const cache = join(TOOLKIT, 'node_modules', '.cache');
    mkdirSync(cache, { recursive: true });
    const folder = mkdtempSync(join(cache, 'homelab-test-'));
    process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
    await compile(folder, own);
    process.env[COMPILED] = folder;
  }
  const before = privateTmp();
  const run = async (file: string): Promise<Ran> => {
    const ran = await runFile(file, own.includes(file) ? before : []);
    report(ran);
    return ran;
  };
  const ran: Ran[] = [];
  const all = waiting.length;
  const worker = async (): Promise<void> => {
    for (let file = waiting.shift(); file; file = waiting.shift()) ran.push(await run(file));
  };
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker));

  const bad = (): Ran[] => ran.filter(({ verdict }) => verdict.failed > 0);
  const again = all > 1 && bad().length <= AGAIN ? bad() : [];
  for (const first of again) ran[ran.indexOf(first)] = await run(first.file);
  for (const { file, verdict } of bad()) console.log(`✗ ${named(file)}: ${verdict.why ?? `${verdict.failed} failed`}`);
  for (const { file } of again)
    if (!bad().some((still) => still.file === file))
      console.log(`! ${named(file)}: passed only when nothing ran beside it`);
  const sum = (count: 'passed' | 'failed' | 'skipped'): number => ran.reduce((n, { verdict }) => n + verdict[count], 0);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`);
  return sum('failed') > 0 ? 1 : 0;
}

const named = (file: string): string => basename(file, '.test.ts');

/** One file's line, and all that it printed where it failed. */
function report({ file, verdict, output, seconds }: Ran): void {
  const counts = `${verdict.passed} passed${verdict.skipped ? `, ${verdict.skipped} skipped` : ''}`;
  console.log(`${verdict.failed ? '✗' : '✓'} ${named(file).padEnd(28)} ${counts}  ${seconds.toFixed(1)} s`);
  if (verdict.failed > 0) console.log(`${output.trimEnd()}\n`);
}

/** Files under way, by process group. */
const running = new Set<number>();

function end(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** @param before what comes before the command */
function runFile(file: string, before: readonly string[]): Promise<Ran> {
  const began = performance.now();
  return new Promise((done) => {
    const [node = '', ...started] = nodeArgv(file);
    const [program = '', ...argv] = [...before, node, SOURCE_MAPS, ...started];
    const child = spawn(program, argv, {
      // A process group of its own, so that what a file has started ends with it.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    });
    if (child.pid !== undefined) running.add(child.pid);
    let output = '';
    const keep = (chunk: Buffer): void => {
      output += chunk.toString();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      if (child.pid !== undefined) end(child.pid);
    }, DEADLINE * 1000);
    child.on('exit', () => {
      if (child.pid !== undefined) end(child.pid);
      // Whoever left the group and holds our pipe open is not waited for.
      setTimeout(() => child.stdout.destroy(), 2000).unref();
      setTimeout(() => child.stderr.destroy(), 2000).unref();
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      if (child.pid !== undefined) running.delete(child.pid);
      const verdict = judge(output, code);
      if (late) verdict.why = `not done within ${DEADLINE} s`;
      done({ file, verdict, output, seconds: (performance.now() - began) / 1000 });
    });
  });
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      for (const group of running) end(group);
      process.exit(130);
    });
  process.exitCode = await main(process.argv.slice(2));
}
