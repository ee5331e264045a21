import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkExit, driftFindings, findingsText, type Look } from '../lib/plan/check.ts';
import type { Note } from '../lib/step.ts';

const test = suite('what check finds');

function look(...notes: Note[]): Look {
  return { script: 'install-k3s', plan: { steps: [], notes } };
}

test('a warning that homelab.yaml has already is said once; a blocker always', () => {
  const warned = ['homelab.yaml:9:5: k3s.nodes: 2 K3s servers; make it three'];
  const cases: [Note, string[]][] = [
    [{ level: 'warning', text: '2 K3s servers' }, ['ok']],
    [{ level: 'warning', text: 'the clock of cp-01 is late' }, ['warning']],
    [{ level: 'blocker', text: '2 K3s servers' }, ['broken']],
    [{ level: 'info', text: 'as an aside' }, ['ok']],
  ];
  for (const [note, levels] of cases)
    assert.equal(
      driftFindings([look(note)], warned).map(({ level }) => level),
      levels,
      note.text,
    );
});

test('a script that could not look is broken, and decides the exit code', () => {
  const findings = driftFindings([look(), { script: 'provision', error: 'no answer', fix: 'turn it on' }]);
  assert.is(checkExit(findings), 1);
  assert.is(
    findingsText(findings),
    '✓ install-k3s  as homelab.yaml says\n✗ provision    no answer; turn it on\n1 broken, 0 drifted, 0 warnings, 1 as wanted',
  );
});

test.run();
