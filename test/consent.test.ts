import { PassThrough } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ask } from '../lib/consent.ts';

const test = suite('consent');

for (const [what, keys, answer] of [
  ['an answer', 'y\r', 'y'],
  ['Ctrl-C', '\u0003', ''],
  ['Ctrl-D', '\u0004', ''],
  ['Ctrl-C after half a name', 'home\u0003', ''],
] as const)
  test(`at a question on a terminal: ${what}`, async () => {
    const input = new PassThrough();
    const output = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
    const asked = ask('go on? ', input, output);
    input.write(keys);
    assert.is(await asked, answer);
  });

test.run();
