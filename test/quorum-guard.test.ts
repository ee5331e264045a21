import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { guardQuorum, type Member } from '../lib/plan/quorum-guard.ts';

const test = suite('quorum guard');

/** "a b -c": a and b are ready, c is down. */
const members = (text: string): Member[] =>
  text.split(' ').flatMap((word) => (word ? [{ name: word.replace('-', ''), ready: !word.startsWith('-') }] : []));

const CASES: ['restart' | 'removal', string, string, boolean, boolean, string?][] = [
  // what, who leaves, members, ok, stops, fix
  ['restart', 'a', 'a', true, true],
  ['restart', 'a', 'a b', true, true],
  ['restart', 'a', 'a -b', false, true, 'start b first'],
  ['restart', 'b', 'a -b', true, true],
  ['restart', 'a b', 'a b', false, true, 'take one after another: a, then b'],
  ['restart', 'a', 'a b c', true, false],
  ['restart', 'a', 'a b -c', false, true, 'start c first'],
  ['restart', 'c', 'a b -c', true, false],
  ['restart', 'a b', 'a b c', false, true, 'take one after another: a, then b'],
  ['restart', 'a', 'a b c d', true, false],
  ['restart', 'a b', 'a b c d e', true, false],
  ['restart', 'agent', 'a b', true, false],
  ['restart', 'a', '', true, false],
  ['removal', 'b', 'a b', true, false],
  [
    'removal',
    'b',
    'a -b',
    false,
    false,
    'etcd has no majority now: start b; if that is gone for good, make its VM anew (provision) and run install-k3s: it shows the way out',
  ],
  ['removal', 'c', 'a b -c', true, false],
  ['removal', 'a', 'a b -c', false, true, 'start c first'],
  ['removal', 'a', 'a', true, true],
];

for (const [absence, leaving, all, ok, stops, fix] of CASES) {
  test(`${absence} of ${leaving} in [${all}]: ${ok ? 'let go' : 'refused'}${stops ? ', it stops' : ''}`, () => {
    const verdict = guardQuorum(absence, leaving.split(' '), members(all));
    assert.is(verdict.ok, ok, verdict.arithmetic);
    if (members(all).length > 0 && leaving !== 'agent') assert.is(verdict.stops, stops, verdict.arithmetic);
    assert.is(verdict.fix, fix);
  });
}

test('the arithmetic is said', () => {
  assert.is(
    guardQuorum('restart', ['a'], members('a b')).arithmetic,
    'etcd: 2 members, 2 needed (⌊2/2⌋+1), 2 ready; without a 1 is left: it stops',
  );
  assert.is(
    guardQuorum('removal', ['c'], members('a b -c')).arithmetic,
    'etcd: 3 members, 2 needed (⌊3/2⌋+1), 2 ready; without c 2 are left of 2, 2 needed then',
  );
});

test.run();
