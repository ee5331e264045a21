import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { labPaths } from '../lib/paths.ts';
import { shownPath } from '../lib/plan/shown-path.ts';
import { Secrets } from '../lib/secret.ts';
import type { Step } from '../lib/step.ts';
import { planText, Talk } from '../lib/talk.ts';
import { captured } from './fixtures/capture.ts';

const test = suite('talk');

test('a proof says what was seen, unless the claim says it', async () => {
  const { stderr } = await captured(async () => {
    const talk = new Talk(new Secrets(), { verbose: false });
    talk.proof({ claim: 'cp-01 has 10.0.0.1', ok: true, detail: '10.0.0.1' });
    talk.proof({ claim: 'the page answers', ok: false, detail: '404' });
    talk.proof({ claim: 'nas can be used', ok: false, skipped: true, detail: 'not tried' });
    return 0;
  });
  assert.is(stderr, '✓ cp-01 has 10.0.0.1\n✗ the page answers: 404\n– nas can be used: not tried\n');
});

test('work that talks by itself gives its answer, and its failure', async () => {
  const talk = new Talk(new Secrets(), { verbose: false });
  assert.is(await talk.aside(async () => 7), 7);
  try {
    await talk.aside(async () => {
      throw new Error('it failed');
    });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'it failed');
  }
});

test('a plan says the one reason of all its steps once, and different ones with each step', () => {
  const step = (id: string, why: string): Step => ({
    ...{ id, title: `stop ${id}`, why, host: 'cp-01', after: [] },
    action: { kind: 'operation', name: 'stop', args: {}, deadline: 5 },
  });
  const text = (...whys: string[]): string =>
    planText('restore', { steps: whys.map((why, i) => step('abc'[i] ?? '', why)), notes: [] });
  const [a, b, c] = ['a', 'b', 'c'].map((id) => `  + cp-01: stop ${id}`);
  assert.is(text('old'), `restore: 1 step\n${a}  (old)`);
  assert.is(text('old', 'old'), `restore: 2 steps\n${a}  (old)\n${b}  (old)`);
  assert.is(text('old', 'old', 'old'), `restore: 3 steps  (old)\n${a}\n${b}\n${c}`);
  assert.is(text('old', 'new', 'old'), `restore: 3 steps\n${a}  (old)\n${b}  (new)\n${c}  (old)`);
});

test('titles show paths from the lab’s folder', () => {
  const lab = { paths: labPaths('/srv/lab/homelab.yaml', 'small') };
  const cases: [string, string][] = [
    ['/srv/lab/.state/small/kubeconfig', '.state/small/kubeconfig'],
    ['/srv/laboratory/x', '/srv/laboratory/x'],
    ['/mnt/backups', '/mnt/backups'],
  ];
  for (const [path, shown] of cases) assert.is(shownPath(lab, path), shown);
});

test('a command that is named in short: the way to it is said at the end, once', async () => {
  const said = async (text: string, config?: string): Promise<string> =>
    (
      await captured(async () => {
        const talk = new Talk(new Secrets(), { verbose: false });
        talk.warn(text);
        talk.remind(config);
        return 0;
      })
    ).stderr.replace(text, '');
  const list = 'there is no set x; backup-postgres list says which there are; backup-postgres run makes one';
  assert.is(await said(list), '\n(to run backup-postgres …: npx tsx scripts/backup-postgres.ts …)\n');
  assert.is(
    await said('restore-postgres --server main --all', '/srv/my lab/homelab.yaml'),
    "\n(to run restore-postgres …: npx tsx scripts/restore-postgres.ts … --config '/srv/my lab/homelab.yaml')\n",
  );
  for (const text of ['backup-postgres-run: 5 changes', 'npx tsx scripts/backup-postgres.ts list'])
    assert.is(await said(text), '\n', text);
});

test.run();
