import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Manifest, ProofReport } from '../lib/backup/manifest.ts';
import { setName } from '../lib/backup/names.ts';
import type { BackupSet } from '../lib/backup/sets.ts';
import type { Backup } from '../lib/config/schema.ts';
import type { SeenBackup, SeenSecond } from '../lib/observe/backup.ts';
import { planLook, planRun, planVerify } from '../lib/plan/backup.ts';
import { alarmsBySums } from '../lib/plan/backup-alarms.ts';
import { missingCopies } from '../lib/plan/backup-copies.ts';
import { listReport } from '../lib/render/backup-report.ts';
import { secondStatus, secondStatusLine } from '../lib/render/backup-second.ts';
import { inOrder, type Plan } from '../lib/step.ts';

/** What follows a proof: which sets are copied and encrypted, in which order, and what is told. */
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 23, 12);
// Only whether there is one counts here.
const PLAIN = { databases: {} } as unknown as Manifest;
const ENCRYPTED = { recipients: ['age1x'] } as unknown as BackupSet['encrypted'];

const set = (hours: number, more: Partial<BackupSet> = {}): BackupSet => {
  const time = NOW - hours * HOUR;
  const name = setName(new Date(time), '0a1b2c3d');
  const blank = { pinned: false, bytes: 0, databases: [], manifest: PLAIN };
  return { name, time, server: 'main', lineage: '7', folder: `/t/${name}`, state: 'proven', ...blank, ...more };
};
const sealed = (hours: number, more: Partial<BackupSet> = {}): BackupSet =>
  set(hours, { manifest: undefined, encrypted: ENCRYPTED, leftovers: [], ...more });
const OURS = { id: 'i', lab: 'homelab', created: '' };
const second = (sets: BackupSet[], more: Partial<SeenSecond> = {}): SeenSecond => ({
  ...{ target: { ok: true, root: '/s', sentinel: OURS, freeBytes: 1 }, remembered: true, newId: 'n' },
  ...{ sets: { main: sets }, ...more },
});
const AWAY = { target: { ok: false as const, reason: '/mnt/usb is no mount point', fix: 'attach it' } };
const seen = (sets: BackupSet[], there: SeenSecond | undefined): SeenBackup => ({
  ...{ now: NOW, remembered: true, newId: 'n', installations: [] },
  target: { ok: true, root: '/t', sentinel: OURS, freeBytes: 1 },
  servers: [
    {
      ...{ name: 'main', sets },
      database: {
        ...{ ok: true, systemIdentifier: '7', version: '15.1', major: 15, superuser: true },
        ...{ bootstrapRole: 'postgres', roles: [], databases: [] },
      },
    },
  ],
  second: there,
});
const backup = (more: Partial<Backup> = {}, encrypt_to?: string[]): Backup => ({
  ...{ target: { export: 'n/e', path: 'p', require_nfs: true, encrypt_to }, schedule: '0 3 * * *', max_age_hours: 26 },
  deadlines: { run_seconds: 1, program_seconds: 1, nas_seconds: 1 },
  ...{ keep: { last: 20, daily: 0, weekly: 0, monthly: 0 }, postgresql: [] },
  second_target: { folder: '/mnt/usb', path: 'postgresql', require_nfs: true },
  ...more,
});
const plan = (config: Backup, sets: BackupSet[], there?: SeenSecond, ifStale = true): Plan =>
  planRun(config, seen(sets, there), { ifStale });
const ids = ({ steps }: Plan): string[] => {
  // The plan is one that can be carried out.
  inOrder({ steps, notes: [] });
  return steps.map(({ id }) => id);
};
const afterOf = ({ steps }: Plan, id: string): string[] | undefined => steps.find((step) => step.id === id)?.after;
const notes = ({ notes: all }: Plan): string => all.map(({ text }) => text).join('\n');
const [ONE = '', TWO = ''] = [1, 2].map((hours) => set(hours).name);

const test = suite('backup: plans of copies');
test('where every set is copied there is nothing to do', () => {
  assert.equal(ids(plan(backup(), [set(1)], second([set(1)]))), []);
});
test('a new set is copied once it is proven, and proven there; copies are pruned when it raised no alarm', () => {
  const all = plan(backup(), [set(1)], second([set(1)]), false);
  assert.equal(ids(all).slice(5), ['main/copy', 'main/prove-copy', 'main/prune-copies']);
  assert.equal(afterOf(all, 'main/copy'), ['main/prove']);
  assert.equal(afterOf(all, 'main/prove-copy'), ['main/copy']);
  assert.equal(afterOf(all, 'main/prune-copies'), ['main/compare', 'main/prove-copy']);
});
test('nothing of the first target waits for the second', () => {
  const { steps } = plan(backup(), [set(1)], second([]), false);
  const own = ['main/dump', 'main/publish', 'main/prove', 'main/compare', 'main/prune'];
  for (const { id, after } of steps)
    if (own.includes(id))
      assert.ok(
        (after ?? []).every((one) => own.includes(one)),
        id,
      );
});
test('what is missing is copied newest first, a few a run, and the rest is told', () => {
  const sets = Array.from({ length: 8 }, (_, i) => set(i + 1));
  const all = plan(backup(), sets, second([]));
  const copies = all.steps.filter(({ id }) => id.startsWith('main/copy/'));
  assert.equal(
    copies.map(({ id }) => id),
    sets.slice(0, 5).map(({ name }) => `main/copy/${name}`),
  );
  assert.match(notes(all), /main: 3 older sets will be copied to the second target by the next runs/);
});
for (const [what, first, there, missing] of [
  ['not proven on the first', [set(1, { state: 'unproven' })], [], []],
  ['not proven on the second', [set(1)], [set(1, { state: 'unproven' })], [ONE]],
  ['damaged on the second', [set(1)], [set(1, { state: 'damaged' })], [ONE]],
  ['of another lineage', [set(1, { lineage: '8' })], [set(1)], [ONE]],
  [
    'pruned at once',
    Array.from({ length: 21 }, (_, i) => set(i + 1)),
    Array.from({ length: 20 }, (_, i) => set(i + 1)),
    [],
  ],
] as const)
  test(`a set that is ${what}: ${missing.length === 0 ? 'not copied' : 'copied'}`, () => {
    assert.equal(
      missingCopies(backup(), first, there, NOW).map(({ name }) => name),
      [...missing],
    );
  });
test('a second target that is away has its steps, and is told; those of the first stand by themselves', () => {
  const due = plan(backup(), [set(1)], second([], AWAY), false);
  assert.equal(due.steps.length, 8);
  assert.match(notes(due), /the second target: \/mnt\/usb is no mount point/);
  const fresh = plan(backup(), [set(1)], second([], AWAY));
  assert.equal(
    fresh.steps.map(({ id }) => id),
    ['main/copy', 'main/prove-copy', 'main/prune-copies'],
  );
});
test('a new second target is marked first', () => {
  const empty = second([], { target: { ok: true, root: '/s', freeBytes: 1 } });
  const all = plan(backup(), [set(1)], empty);
  assert.is(all.steps[0]?.id, 'second/mark');
  assert.equal(afterOf(all, `main/copy/${ONE}`), ['second/mark']);
  assert.equal(plan(backup(), [], empty).steps.filter(({ id }) => id === 'second/mark').length, 1);
});
test('the first target is encrypted after the comparison, and copied then', () => {
  const config = backup({}, ['age1x']);
  const all = plan(config, [sealed(1)], second([sealed(1)]), false);
  assert.equal(ids(all).slice(5), ['main/encrypt', 'main/copy', 'main/prove-copy', 'main/prune-copies']);
  assert.equal([afterOf(all, 'main/encrypt'), afterOf(all, 'main/copy')], [['main/compare'], ['main/encrypt']]);
});
test('sets that are still plain, or half so, are encrypted by the next run, and copied after that', () => {
  const config = backup({}, ['age1x']);
  const all = plan(config, [set(1), sealed(2, { leftovers: ['app.dump'] }), sealed(3)], second([sealed(3)]));
  assert.equal(all.steps.map(({ id, why }) => `${id}: ${why}`).slice(0, 2), [
    `main/encrypt/${ONE}: it is plain`,
    `main/encrypt/${TWO}: plain files are left of it`,
  ]);
  assert.equal(afterOf(all, `main/copy/${ONE}`), [`main/encrypt/${ONE}`]);
});
test('copies from before encrypt_to are told', () => {
  const config = backup({ second_target: { folder: '/mnt/usb', path: 'p', require_nfs: true, encrypt_to: ['age1x'] } });
  assert.match(
    notes(plan(config, [set(1)], second([set(1)]))),
    /main: 1 copy on the second target, made before encrypt_to/,
  );
  assert.is(notes(plan(config, [set(1)], second([sealed(1)]))).includes('encrypt_to'), false);
});
test('no plan names a recipient, nor anything secret', () => {
  const all = plan(backup({}, ['age1x']), [set(1)], second([]), false);
  assert.not.match(JSON.stringify(all), /age1x|SECRET/);
});
test.run();

const report = suite('backup: what is said of copies');
for (const [what, there, line] of [
  ['fresh', second([set(1)]), /^main, second target: fresh: the copy \S+ is proven, 1\.0 h old; 1 copy$/],
  ['old', second([set(30)]), /STALE: the copy \S+ is proven, 30\.0 h old; 1 copy; at most 26 h are allowed$/],
  [
    'unproven',
    second([set(1, { state: 'unproven' })]),
    /STALE: there is no proven copy; 1 copy, 1 of them not proven; at most 26 h/,
  ],
  ['away', second([], AWAY), /^main, second target: AWAY: \/mnt\/usb is no mount point$/],
] as const)
  report(`status: ${what}`, () => {
    const status = secondStatus(backup(), seen([], there), 'main');
    assert.ok(status);
    assert.match(secondStatusLine('main', status), line);
    assert.is(status.stale, what !== 'fresh');
  });
report('a disk that is attached once a week has an age of its own', () => {
  const weekly = backup({ second_target: { folder: '/mnt/usb', path: 'p', require_nfs: true, max_age_hours: 192 } });
  assert.is(secondStatus(weekly, seen([], second([set(100)])), 'main')?.stale, false);
});
report('without a second target nothing is said of it', () => {
  assert.is(secondStatus(backup({ second_target: undefined }), seen([], undefined), 'main'), undefined);
});
const sums = (databases: number, tables: number, rows: number): Pick<ProofReport, 'databases' | 'tables' | 'rows'> => ({
  ...{ databases, tables, rows },
});
const manifest = (rows: number): Manifest =>
  ({ excluded: [], databases: { a: { tables: { t: { rows, hash: '' } } } } }) as unknown as Manifest;
for (const [what, before, found] of [
  ['the same', sums(1, 1, 100), 0],
  ['a fifth of the rows gone', sums(1, 1, 130), 1],
  ['a database gone', sums(2, 1, 100), 1],
  ['tables gone', sums(1, 2, 100), 1],
] as const)
  report(`alarm by sums: ${what}`, () => assert.is(alarmsBySums(manifest(100), before).length, found));
report('list: a key that opens every copy is said once; --from second lists them as the sets that they are', () => {
  const encrypted = {
    ...{ format: 1 as const, set: 's', server: 'main', system_identifier: '7', manifest_sha256: '' },
    ...{ recipients: [`age1${'q'.repeat(58)}`], files: [] },
  };
  const copies = [set(1, { encrypted }), set(25, { encrypted })];
  const beside = listReport(backup(), seen([set(1)], second(copies))).text;
  assert.match(beside, /\n {2}second target: 2 copies, encrypted to age1\S+\n {2}SET /);
  assert.is(beside.split('encrypted to').length, 2);
  const alone = listReport(backup(), { ...seen(copies, second([])), second: undefined }, 'second').text;
  assert.match(
    alone,
    /^main: 2 copies on the second target, newest first\n {2}system identifier \S+, encrypted to age1/,
  );
});
report('a first target that is away: list and verify say how to read the second one', () => {
  const away = { ...seen([], second([set(1)])), ...AWAY };
  assert.match(planLook(away).notes[0]?.fix ?? '', /; backup-postgres list --from second shows the copies$/);
  assert.match(
    planVerify(away, undefined).notes[0]?.fix ?? '',
    /; backup-postgres verify --from second proves a copy$/,
  );
  assert.not.match(planLook({ ...away, second: second([], AWAY) }).notes[0]?.fix ?? '', /second/);
});
report.run();
