import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { realExec } from '../lib/ports/exec.ts';

const test = suite('programs');

test('get what is kept and what is given, and call nobody: secrets of the caller stay out', async () => {
  const exec = realExec({ PATH: process.env.PATH, HOME: '/home/x', A_SECRET: 'hidden', CHECKPOINT_DISABLE: '' });
  const { stdout } = await exec.run(['env'], { env: { GIVEN: 'a b' } });
  const lines = stdout.split('\n');
  for (const line of ['HOME=/home/x', 'GIVEN=a b', 'CHECKPOINT_DISABLE=1']) assert.ok(lines.includes(line), line);
  assert.not.ok(stdout.includes('hidden'));
});

test('one that is not there is 127', async () => {
  assert.is((await realExec().run(['no-such-program-of-ours'])).code, 127);
});

test.run();
