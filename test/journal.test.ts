import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openJournal } from '../lib/journal.ts';
import { Secrets } from '../lib/secret.ts';

const test = suite('journal');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
test.after(() => rmSync(folder, { recursive: true }));
const VALUE = 'canary"with\\quotes';

function secrets(): Secrets {
  const all = new Secrets();
  all.add('TOKEN', VALUE);
  return all;
}

test('one file a run, that only its owner can read, in a folder that only its owner can enter', () => {
  const umask = process.umask(0);
  const journal = openJournal(join(folder, 'state'), 'provision', secrets(), new Date('2026-11-23T12:00:00.123Z'));
  process.umask(umask);
  journal.close();
  assert.is(basename(journal.file!), `2026-11-23T12-00-00-123Z-provision-${process.pid}.jsonl`);
  assert.is(statSync(journal.file!).mode & 0o777, 0o600);
  assert.is(statSync(dirname(journal.file!)).mode & 0o777, 0o700);
});

test('a JSON line each, on disk at once, redacted wherever a secret slipped in', () => {
  const journal = openJournal(folder, 'provision', secrets());
  const events = [
    { event: 'start', script: 'provision', lab: 'small', args: ['--token', VALUE], mode: 'apply' },
    { event: 'step-start', id: 'a', host: 'cp-01', title: `write ${VALUE}\nand a second line` },
    {
      event: 'step-end',
      id: 'a',
      outcome: 'failed',
      seconds: 0.5,
      changed: true,
      error: Buffer.from(VALUE).toString('base64'),
    },
    { event: 'proof', claim: 'it works', ok: true, detail: encodeURIComponent(VALUE) },
    { event: 'end', exit: 1, seconds: 1.5 },
  ] as const;
  for (const event of events) {
    journal.write(event as Parameters<typeof journal.write>[0]);
    assert.ok(readFileSync(journal.file!, 'utf8').endsWith('}\n'), 'written before the next thing happens');
  }
  journal.close();
  const text = readFileSync(journal.file!, 'utf8');
  assert.not.match(text, /canary|Y2FuYXJ5/);
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { t: string; event: string });
  assert.equal(
    lines.map(({ event }) => event),
    events.map(({ event }) => event),
  );
  for (const { t } of lines) assert.match(t, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(JSON.parse(text.split('\n')[0]!).args, ['--token', '[secret TOKEN]']);
});

const DAY = 86_400_000;
const NOW = new Date('2026-11-27T02:00:00.000Z');
const at = (days: number): Date => new Date(NOW.getTime() - days * DAY);

/** The journal of a run so many days ago, last written to then, or `written` days ago. */
function journalOf(state: string, days: number, { written = days, script = 'provision' } = {}): string {
  const journal = openJournal(state, script, secrets(), at(days));
  journal.close();
  utimesSync(journal.file!, at(written), at(written));
  return basename(journal.file!);
}

test('journals older than 90 days go, when there are 50 newer ones; nothing else in the folder does', () => {
  const state = join(folder, 'long');
  const runs = join(state, 'runs');
  mkdirSync(runs, { recursive: true });
  const old = [91, 120, 700].map((days) => journalOf(state, days));
  const busy = journalOf(state, 100, { written: 1 });
  const young = journalOf(state, 89);
  const others = ['notes.jsonl', '2020-01-01T00-00-00-000Z-kept.txt', '2020-01-01T00-00-00-000Z-a-folder-1.jsonl'];
  for (const name of others.slice(0, 2)) writeFileSync(join(runs, name), '');
  mkdirSync(join(runs, others[2]!));
  for (const name of others) utimesSync(join(runs, name), at(900), at(900));
  const last = Array.from({ length: 45 }, (_, i) => journalOf(state, i + 1));

  assert.equal(readdirSync(runs).sort(), [...old, busy, young, ...others, ...last].sort(), 'there are 50');
  const today = [0.4, 0.3, 0.2, 0].map((days) => journalOf(state, days));
  assert.equal(
    readdirSync(runs).sort(),
    [busy, young, ...others, ...last, ...today].sort(),
    'what is young, or was written to since, or no journal, stays',
  );
  journalOf(state, -200);
  assert.is(readdirSync(runs).filter((name) => !others.includes(name)).length, 50, 'the newest 50 stay, however old');
});

test.run();
