import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HomelabError } from '../lib/errors.ts';
import { type Holder, takeLock } from '../lib/run-lock.ts';

const test = suite('the lock of a lab');
const base = mkdtempSync(join(tmpdir(), 'homelab-'));
const holder = new URL('./fixtures/lock-holder.ts', import.meta.url).pathname;
const children = new Set<ChildProcess>();
test.after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(base, { recursive: true });
});

/** A process that takes the lock and holds it (`hold`), or takes it again and again (`fight`). */
function start(
  folder: string,
  what: 'hold' | 'fight',
): { child: ChildProcess; said: Promise<string>; ended: Promise<number | null> } {
  const child = spawn(process.execPath, ['--import', 'tsx', holder, folder, what], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.add(child);
  const said = new Promise<string>((done) =>
    child.stdout!.once('data', (chunk: Buffer) => done(chunk.toString().trim())),
  );
  const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
  return { child, said, ended };
}

test('is one at a time; it names owner, reason and since when', async () => {
  const folder = join(base, 'two');
  const other = start(folder, 'hold');
  assert.is(await other.said, 'held');
  const error = refusal(folder);
  assert.is(error.exit, 75);
  assert.match(error.message, /^the lab is locked: provision of \S+@\S+ \(process \d+\) runs since \d{4}-/);
  assert.match(error.message, `process ${other.child.pid}`);
  assert.is(error.fix, 'wait until it has ended');

  other.child.kill('SIGKILL');
  await other.ended;
  const lock = takeLock(folder, 'install-k3s');
  assert.is(read(folder).pid, process.pid, 'the lock of a dead process is taken over');
  lock.release();
  assert.not(existsSync(join(folder, 'lock')));
});

test('is never two at a time, whoever comes', async () => {
  const folder = join(base, 'many');
  const codes = await Promise.all(['a', 'b', 'c'].map(() => start(folder, 'fight').ended));
  assert.equal(codes, [0, 0, 0]);
});

test('of another machine is never taken over', () => {
  const folder = written('other', { user: 'ann', host: 'elsewhere', pid: 1, script: 'provision', since: '2026-11-23' });
  const error = refusal(folder);
  assert.is(error.exit, 75);
  assert.is(error.message, 'the lab is locked: provision of ann@elsewhere (process 1) runs since 2026-11-23');
  assert.is(error.fix, `wait until it has ended; if elsewhere is gone for good, delete ${join(folder, 'lock')}`);
});

test('that nobody can read is refused, and left', () => {
  for (const text of ['', '{', '[]', '{"pid":"1"}']) {
    const folder = join(base, `bad-${text.length}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'lock'), text);
    assert.is(refusal(folder).message, `${join(folder, 'lock')} is not a lock of ours`);
    assert.is(readFileSync(join(folder, 'lock'), 'utf8'), text);
  }
});

test('with our own process number is from before a restart, and is taken over', () => {
  const me = { user: 'ann', host: hostname(), pid: process.pid, script: 'provision', since: '2020-01-01' };
  const lock = takeLock(written('restart', me), 'check');
  assert.is(read(join(base, 'restart')).script, 'check');
  lock.release();
});

test('is released by its owner only', () => {
  const folder = join(base, 'released');
  const lock = takeLock(folder, 'provision');
  writeFileSync(join(folder, 'lock'), JSON.stringify({ ...read(folder), since: 'later' }));
  lock.release();
  assert.ok(existsSync(join(folder, 'lock')));
});

test('is for its owner only', () => {
  const folder = join(base, 'mode');
  const lock = takeLock(folder, 'provision');
  assert.is(statSync(join(folder, 'lock')).mode & 0o777, 0o600);
  assert.is(statSync(folder).mode & 0o777, 0o700);
  lock.release();
});

function written(name: string, other: Holder): string {
  const folder = join(base, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'lock'), JSON.stringify(other));
  return folder;
}

function read(folder: string): Holder {
  return JSON.parse(readFileSync(join(folder, 'lock'), 'utf8')) as Holder;
}

function refusal(folder: string): HomelabError {
  try {
    takeLock(folder, 'install-k3s').release();
  } catch (error) {
    if (error instanceof HomelabError) return error;
    throw error;
  }
  throw new Error('the lock was given');
}

test.run();
