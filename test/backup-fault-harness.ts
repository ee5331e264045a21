import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { sha256 } from '../lib/backup/sets.ts';
import { main } from '../lib/main.ts';
import { TOOLKIT } from '../lib/paths.ts';
import type { Notice } from '../lib/render/backup-notice.ts';
import script from '../scripts/backup-postgres.ts';
import type { BackupLab } from './backup-harness.ts';
import { captured } from './fixtures/capture.ts';
import { nodeArgv } from './node-argv.ts';

/** What the fault tests of backups share: the real script, and what must hold after it has failed. */

/** Exit code and words of a run, and what its owner was told of it. */
export type ScriptRun = { code: number | null; stderr: string; told: Notice[] };

/** The real script with its real ports, in this process. */
export async function runScript({ folder }: BackupLab, command = 'run', ...args: string[]): Promise<ScriptRun> {
  const run = await captured(() => main(script, [command, '--config', join(folder, 'homelab.yaml'), '--yes', ...args]));
  return { ...run, told: noticesIn(folder) };
}

/** The same, in a process of its own. */
export function startScript({ folder }: BackupLab): { child: ChildProcess; ended: Promise<ScriptRun> } {
  const [node = '', ...args] = nodeArgv('scripts/backup-postgres.ts');
  const child = spawn(node, [...args, 'run', '--config', join(folder, 'homelab.yaml'), '--yes'], {
    cwd: TOOLKIT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<ScriptRun>((done) =>
    child.on('exit', (code) => done({ code, stderr, told: noticesIn(folder) })),
  );
  return { child, ended };
}

/** The folder of the only lineage; `root` where the target is looked at from elsewhere than the script. */
export function lineageOf({ root }: Pick<BackupLab, 'root'>): string {
  const main = join(root, 'main');
  return join(main, readdirSync(main)[0] ?? '');
}

export function setsOf(lab: Pick<BackupLab, 'root'>): string[] {
  return readdirSync(join(lineageOf(lab), 'sets')).sort();
}

export function latestOf(lab: Pick<BackupLab, 'root'>): string {
  return readFileSync(join(lineageOf(lab), 'LATEST'), 'utf8').trim();
}

/** What lies on the target: every published file by its hash, and LATEST. */
export type Before = { files: Record<string, string>; latest: string };

export function lookAt(lab: Pick<BackupLab, 'root'>): Before {
  return { files: hashes(join(lineageOf(lab), 'sets')), latest: latestOf(lab) };
}

/**
 * After a run that failed: its exit code, LATEST as it was, every old set byte by byte as it was, and nothing
 * half-done among the sets: what is new there is whole by its own sums, and does not count as proven.
 */
export function holdsAfter(lab: Pick<BackupLab, 'root'>, before: Before, run?: ScriptRun, exit = 1): void {
  if (run) assert.is(run.code, exit, run.stderr);
  if (run) notified(run);
  assert.is(latestOf(lab), before.latest, 'LATEST is as it was');
  const now = hashes(join(lineageOf(lab), 'sets'));
  for (const [file, hash] of Object.entries(before.files)) assert.is(now[file], hash, `${file} is as it was`);
  nothingHalfDone(lab);
}

/** Every set is whole by its own sums, and LATEST names one that was proven. */
export function nothingHalfDone(lab: Pick<BackupLab, 'root'>): void {
  const sets = join(lineageOf(lab), 'sets');
  for (const name of readdirSync(sets)) {
    const sums = readFileSync(join(sets, name, 'SHA256SUMS'), 'utf8')
      .trimEnd()
      .split('\n');
    const listed = sums.map((line) => line.slice(66));
    const found = Object.entries(hashes(join(sets, name)));
    for (const [file, hash] of found) {
      if (['SHA256SUMS', 'verify.json'].includes(file)) continue;
      assert.ok(sums.includes(`${hash}  ${file}`), `${name}/${file} is as its sums say`);
    }
    for (const file of listed) assert.ok(existsSync(join(sets, name, file)), `${name}/${file} is there`);
  }
  assert.ok(proven(join(sets, latestOf(lab))), 'LATEST names a proven set');
}

/** A run after all that: it succeeds, makes a proven set, and leaves nothing unfinished. */
export async function converges(lab: BackupLab, at: Pick<BackupLab, 'root'> = lab): Promise<void> {
  const before = latestOf(at);
  const run = await runScript(lab);
  assert.is(run.code, 0, run.stderr);
  assert.is.not(latestOf(at), before, 'there is a new proven set');
  nothingHalfDone(at);
  assert.equal(readdirSync(join(lineageOf(at), '.incoming')), [], 'nothing unfinished is left');
}

/** What a run that failed tells its owner, beside its exit code. */
function notified({ code, stderr, told }: ScriptRun): void {
  assert.match(stderr, /✗|error|blocker/i, 'it says what failed');
  const last = told.at(-1);
  assert.equal([last?.event, last?.exit], ['failure', code], 'a notification was sent');
  assert.ok(last?.problems[0]?.message, 'and says what failed');
}

/** What the program of backup.notify.failure has written down (test/backup-harness.ts), taken away. */
function noticesIn(folder: string): Notice[] {
  const file = join(folder, 'notices.jsonl');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  rmSync(file, { force: true });
  return lines.map((line) => JSON.parse(line) as Notice);
}

function proven(set: string): boolean {
  const { report } = JSON.parse(readFileSync(join(set, 'verify.json'), 'utf8')) as {
    report: { ok: boolean; manifest_sha256: string };
  };
  return report.ok && report.manifest_sha256 === sha256(readFileSync(join(set, 'manifest.json'), 'utf8'));
}

/** SHA-256 of every file below a folder, by its path in it. */
function hashes(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    names
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(folder, name)))
          .digest('hex'),
      ]),
  );
}

/** Processes of ours by a word in their command line: pg_dump, say. Linux. */
export function childrenNamed(word: string, parent = process.pid): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const its = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return its === parent && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(word);
      } catch {
        return false;
      }
    });
}

/** Random numbers that can be had again: the seed is printed, and taken from HOMELAB_TEST_SEED. */
export function seeded(what: string): () => number {
  let state = Number(process.env.HOMELAB_TEST_SEED ?? Date.now() % 2 ** 31);
  console.log(`${what}: HOMELAB_TEST_SEED=${state}`);
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
