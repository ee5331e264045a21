import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Event } from '../lib/journal.ts';
import { openLab } from '../lib/lab-context.ts';
import { renderLockFile } from '../lib/ledger/lockfile.ts';
import { smallText } from './fixtures/lab.ts';

/** Signals and closed pipes, at a script that is really a process of its own. */
const test = suite('a run that is interrupted');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
const config = join(folder, 'homelab.yaml');
const state = join(folder, '.state', 'small');
const sleeper = new URL('./fixtures/sleeper.ts', import.meta.url).pathname;
writeFileSync(config, smallText());
const children = new Set<ChildProcess>();
test.before.each(() => rmSync(state, { recursive: true, force: true }));
test.after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

type Started = {
  child: ChildProcess;
  /** Resolves when its program runs. */
  asleep: Promise<void>;
  ended: Promise<{ code: number | null; stderr: string }>;
};

function start(env: Record<string, string>, argv: string[] = []): Started {
  const child = spawn(process.execPath, ['--import', 'tsx', sleeper, '--config', config, '--yes', ...argv], {
    env: { PATH: process.env.PATH, HOME: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  let stderr = '';
  const asleep = new Promise<void>((done) => {
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
      if (stderr.includes('asleep')) setTimeout(done, 250); // the program itself comes a moment later
    });
  });
  const ended = new Promise<{ code: number | null; stderr: string }>((done) =>
    child.once('close', (code) => done({ code, stderr })),
  );
  return { child, asleep, ended };
}

function journal(): Event[] {
  const [name = ''] = readdirSync(join(state, 'runs'));
  const lines = readFileSync(join(state, 'runs', name), 'utf8')
    .trim()
    .split('\n');
  return lines.map((line) => JSON.parse(line) as Event);
}

for (const [beat, signal, exit] of [
  ['observe', 'SIGINT', 130],
  ['apply', 'SIGTERM', 143],
  ['verify', 'SIGHUP', 129],
] as const)
  test(`${signal} while it is in ${beat} ends its programs, its journal and its lock`, async () => {
    const marker = join(folder, `${beat}.pid`);
    const { child, asleep, ended } = start({ SLEEP_IN: beat, SLEEP_HOW: `echo $$ > '${marker}'; exec sleep 60` });
    await asleep;
    assert.ok(existsSync(join(state, 'lock')));
    child.stdout?.resume();
    child.kill(signal);
    const { code, stderr } = await ended;
    assert.is(code, exit, stderr);
    assert.match(stderr, `${signal}: stopped`);
    assert.not(existsSync(join(state, 'lock')), 'the lock is released');
    assert.throws(() => process.kill(Number(readFileSync(marker, 'utf8')), 0), /ESRCH/, 'its program has ended');
    const last = journal().at(-1);
    assert.is(last?.event === 'end' && last.exit === exit && last.error === signal, true, JSON.stringify(last));
    const started = journal().filter((line) => line.event === 'step-start' && line.id === 'never');
    assert.is(started.length, beat === 'verify' ? 1 : 0, 'nothing more is started');
  });

test('holds the lock while a program ends, and leaves at once when told again', async () => {
  const stubborn = `trap 'echo no' TERM; while :; do sleep 0.1; done`;
  const { child, asleep, ended } = start({ SLEEP_IN: 'observe', SLEEP_HOW: stubborn });
  await asleep;
  child.kill('SIGTERM');
  await new Promise((done) => setTimeout(done, 900));
  assert.is(child.exitCode, null, 'it waits for its program');
  assert.ok(existsSync(join(state, 'lock')), 'nobody else may begin');
  child.kill('SIGTERM');
  assert.is((await ended).code, 143);
  assert.not(existsSync(join(state, 'lock')));
});

test('another run is told who holds the lock, and why', async () => {
  const { child, asleep, ended } = start({ SLEEP_IN: 'verify' });
  await asleep;
  const second = start({});
  const { code, stderr } = await second.ended;
  assert.is(code, 75, stderr);
  assert.match(stderr, new RegExp(`the lab is locked: sleeper of \\S+ \\(process ${child.pid}\\) runs since`));
  child.kill('SIGKILL');
  await ended;
  const third = start({});
  third.child.stdout?.resume();
  assert.is((await third.ended).code, 0, 'the lock of a dead process is taken over');
});

for (const [what, close] of [
  ['stdout', (child: ChildProcess) => child.stdout?.destroy()],
  ['stderr', (child: ChildProcess) => child.stderr?.destroy()],
] as const)
  test(`goes on to its end when nobody reads its ${what} any more`, async () => {
    const { child, ended } = start({});
    if (what === 'stderr') child.stdout?.resume();
    close(child);
    const { code, stderr } = await ended;
    assert.is(code, 0, stderr);
    assert.not.match(stderr, 'EPIPE');
    assert.is(journal().at(-1)?.event, 'end');
    assert.not(existsSync(join(state, 'lock')));
  });

test('says so when its result cannot be written', async () => {
  if (!existsSync('/dev/full')) return;
  const shell = `exec "$0" --import tsx "$1" --config "$2" --yes > /dev/full`;
  const child = spawn('/bin/sh', ['-c', shell, process.execPath, sleeper, config], {
    env: { PATH: process.env.PATH, HOME: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise((done) => child.once('close', done));
  assert.is(code, 1);
  assert.match(stderr, /error: ENOSPC.*\nto fix: make room/);
});

test('leases and secrets that another run changed before it had the lock are noticed', () => {
  const { isCurrent, lab } = openLab(config, {});
  assert.is(isCurrent(), true);
  mkdirSync(lab.paths.secrets, { recursive: true });
  writeFileSync(join(lab.paths.secrets, 'k3s-token'), 'made meanwhile');
  assert.is(isCurrent(), false);
  const later = openLab(config, {});
  assert.is(later.isCurrent(), true);
  writeFileSync(lab.paths.lock, renderLockFile({ ...lab.lock, leases: later.lab.newLeases }));
  assert.is(later.isCurrent(), false);
  rmSync(lab.paths.lock);
  mkdirSync(lab.paths.lock);
  assert.throws(() => openLab(config, {}), /homelab\.lock\.yaml cannot be read: EISDIR/);
  rmSync(lab.paths.lock, { recursive: true });
});

test('--limit with nothing in it is not every host', async () => {
  for (const limit of ['', ',,']) {
    const { code, stderr } = await start({}, ['--limit', limit]).ended;
    assert.is(code, 2);
    assert.match(stderr, 'It names no host');
  }
});

test.run();
