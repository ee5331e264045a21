import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { nasOf } from '../lib/backup/nas.ts';
import { sha256 } from '../lib/backup/sets.ts';
import { sideBySide } from '../lib/backup/side-by-side.ts';
import { HomelabError } from '../lib/errors.ts';
import { realFiles } from '../lib/ports/files.ts';

/** The process that touches the NAS, on a folder of this machine; real hangs of a kernel are in backup-nas-faults. */
const test = suite('backup: calls to the NAS');
const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const nas = nasOf(realFiles(), 20);
const at = (name: string): string => join(folder, name);
const refusal = async (work: Promise<unknown>): Promise<HomelabError> => {
  try {
    await work;
  } catch (error) {
    if (error instanceof HomelabError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};

test('what is not there is a value', async () => {
  assert.equal(
    [await nas.text(at('no')), await nas.exists(at('no')), await nas.list(at('no'))],
    [undefined, false, []],
  );
  await nas.remove(at('no'));
});
test('a file is made once, 0600; a folder as often as one likes, 0700, but not its parents', async () => {
  await nas.create(at('a'), 'ä');
  assert.is(await nas.text(at('a')), 'ä');
  assert.is(statSync(at('a')).mode & 0o777, 0o600);
  assert.match((await refusal(nas.create(at('a'), 'b'))).message, /^writing \/.*\/a: EEXIST/);
  await nas.makeFolder(at('f'));
  await nas.makeFolder(at('f'));
  assert.is(statSync(at('f')).mode & 0o777, 0o700);
  assert.match((await refusal(nas.makeFolder(at('x/y')))).message, /^making .*ENOENT/);
});
test('a file is replaced by way of another folder, and nothing is left there', async () => {
  await nas.replace(at('a'), 'new', at('f'));
  assert.is(readFileSync(at('a'), 'utf8'), 'new');
  await refusal(nas.replace(at('no/a'), 'new', at('f')));
  assert.equal(readdirSync(at('f')), []);
});
test('what is measured is what was read back', async () => {
  const text = 'x'.repeat(3_000_000);
  writeFileSync(at('big'), text);
  assert.equal(await nas.measure(at('big')), { bytes: text.length, sha256: sha256(text) });
});
test('thousands of calls at once', async () => {
  const found = await Promise.all(Array.from({ length: 5000 }, () => nas.text(at('a'))));
  assert.ok(found.every((text) => text === 'new'));
});
test('a call that hangs is named, takes what waits behind it with it, and the next one finds a helper that answers', async () => {
  const impatient = nasOf(realFiles(), 1);
  execFileSync('mkfifo', [at('fifo')]);
  // Nobody writes: opening it does not come back.
  const calls = Array.from({ length: 6 }, () => refusal(impatient.text(at('fifo'))));
  const behind = refusal(impatient.text(at('a')));
  for (const call of calls)
    assert.match((await call).message, /the NAS does not answer: reading .*fifo hangs, for 1 s/);
  assert.match((await behind).fix ?? '', /mount it anew/);
  assert.is(await impatient.text(at('a')), 'new');
});

test('side by side: results in order, a width that is kept, and after a failure nothing more is begun', async () => {
  let running = 0;
  let most = 0;
  const begun: number[] = [];
  const work = async (n: number): Promise<number> => {
    begun.push(n);
    most = Math.max(most, ++running);
    await new Promise((done) => setTimeout(done, 5));
    running -= 1;
    if (n === 3) throw new Error('three');
    return n * 2;
  };
  assert.equal(await sideBySide([1, 2, 4, 5], 2, work), [2, 4, 8, 10]);
  assert.is(most, 2);
  begun.length = 0;
  try {
    await sideBySide([1, 3, 4, 5, 6, 7], 2, work);
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, 'three');
  }
  assert.is(running, 0, 'what was under way has ended');
  assert.ok(begun.length < 6);
});

test.run();
