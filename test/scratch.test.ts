import { chmodSync, mkdirSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeScratch, scratchBase } from '../lib/backup/scratch.ts';

const test = suite('scratch');
const open = mkdtempSync('/tmp/scratch-test-');
chmodSync(open, 0o755);
const closed = join(open, 'closed');
mkdirSync(join(closed, 'in'), { recursive: true });
chmodSync(closed, 0o700);

for (const [what, wanted, isRoot, expected] of [
  ['TMPDIR is used', open, false, open],
  ['by root too', open, true, open],
  ['not by root where only root may enter it', closed, true, '/tmp'],
  ['nor in one that only root may enter', join(closed, 'in'), true, '/tmp'],
  ['somebody else may use a folder of their own', closed, false, closed],
  ['a path that is too long for a socket', `/${'x'.repeat(60)}`, false, '/tmp'],
] as const)
  test(what, () => assert.is(scratchBase(wanted, isRoot), expected));

test('a TMPDIR that is not there is an error that names it', () => {
  const before = process.env.TMPDIR;
  process.env.TMPDIR = join(open, 'absent');
  try {
    assert.throws(makeScratch, /the temporary folder \S+\/absent cannot be used: ENOENT/);
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
});

test.run();
