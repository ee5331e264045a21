import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { commandLine, quote } from '../lib/quote.ts';
import { nasty } from './nasty.ts';

const test = suite('quote');

const SHELLS: [string, string[]][] = [
  ['/bin/sh', []],
  ['/bin/dash', []],
  // bash takes a socket as stdin for an rshd's and would read ~/.bashrc.
  ['/bin/bash', ['--norc']],
  ['/bin/bash', ['--norc', '--posix']],
  ['/usr/bin/busybox', ['sh']],
];

for (const [shell, before] of SHELLS.filter(([path]) => existsSync(path)))
  test(`${[shell, ...before].join(' ')} gets each word byte for byte`, () => {
    fc.assert(
      fc.property(fc.array(nasty, { minLength: 1, maxLength: 8 }), (words) => {
        const line = commandLine(['printf', '%s\\0', ...words]);
        const { stdout, stderr } = spawnSync(shell, [...before, '-c', line], { env: { PATH: '/usr/bin:/bin' } });
        assert.is(stderr.toString(), '');
        assert.equal(stdout.toString('utf8').split('\0').slice(0, -1), words);
      }),
      { numRuns: 60 },
    );
  });

test('a nasty first word is a command that is not found, never an assignment or an expansion', () => {
  fc.assert(
    fc.property(nasty, (word) => {
      // Dots and slashes could name what exists; a dash alone is taken for an option of nothing.
      fc.pre(!/^[\w./:[-]*$/.test(word) && !word.includes('/') && !/^(true|false|!)$/.test(word));
      const line = `${commandLine([`x${word}`, 'y'])}; printf %s "$?"`;
      const { stdout } = spawnSync('/bin/sh', ['-c', line], { env: { PATH: '/nowhere' } });
      assert.is(stdout.toString(), '127');
    }),
    { numRuns: 40 },
  );
});

for (const [word, quoted] of [
  ['plain-word_1.2:3@4/5', 'plain-word_1.2:3@4/5'],
  ['', "''"],
  ['a b', "'a b'"],
  ["it's", "'it'\\''s'"],
  ['ü', "'ü'"],
] as const)
  test(`${JSON.stringify(word)} becomes ${quoted}`, () => assert.is(quote(word), quoted));

test('NAME=value as the command is not taken for an assignment', () => assert.is(commandLine(['A=b', 'c']), "'A=b' c"));

test('a NUL byte is refused', () => assert.throws(() => quote('a\0b'), /NUL/));

test.run();
