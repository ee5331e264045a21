import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { labPaths } from '../lib/paths.ts';
import { shownPath } from '../lib/plan/shown-path.ts';
import { Secrets } from '../lib/secret.ts';
import { Talk } from '../lib/talk.ts';
import { captured } from './fixtures/capture.ts';

const test = suite('talk');

test('a proof says what was seen, unless the claim says it', async () => {
  const { stderr } = await captured(async () => {
    const talk = new Talk(new Secrets(), false);
    talk.proof({ claim: 'cp-01 has 10.0.0.1', ok: true, detail: '10.0.0.1' });
    talk.proof({ claim: 'the page answers', ok: false, detail: '404' });
    talk.proof({ claim: 'nas can be used', ok: false, skipped: true, detail: 'not tried' });
    return 0;
  });
  assert.is(stderr, '✓ cp-01 has 10.0.0.1\n✗ the page answers: 404\n– nas can be used: not tried\n');
});

test('work that talks by itself gives its answer, and its failure', async () => {
  const talk = new Talk(new Secrets(), false);
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

test('titles show paths from the lab’s folder', () => {
  const lab = { paths: labPaths('/srv/lab/homelab.yaml', 'small') };
  const cases: [string, string][] = [
    ['/srv/lab/.state/small/kubeconfig', '.state/small/kubeconfig'],
    ['/srv/laboratory/x', '/srv/laboratory/x'],
    ['/mnt/backups', '/mnt/backups'],
  ];
  for (const [path, shown] of cases) assert.is(shownPath(lab, path), shown);
});

test.run();
