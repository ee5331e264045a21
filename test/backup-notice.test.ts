import parsePrometheus from 'parse-prometheus-text-format';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { setName } from '../lib/backup/names.ts';
import { pingOf } from '../lib/backup/ping.ts';
import { type BackupSet, sha256 } from '../lib/backup/sets.ts';
import { HomelabError, UsageError } from '../lib/errors.ts';
import type { SeenBackup } from '../lib/observe/backup.ts';
import type { Outcome } from '../lib/outcome.ts';
import { standingOf } from '../lib/plan/backup-standing.ts';
import { backupFindings } from '../lib/plan/check-backup.ts';
import { merged, metricsText, parseMetrics, type Sample, samplesOf } from '../lib/render/backup-metrics.ts';
import { endNotice, noticeText, problemsOf, startNotice } from '../lib/render/backup-notice.ts';
import { listReport, statusReport } from '../lib/render/backup-report.ts';
import { smallLab } from './fixtures/lab.ts';

/** What is told of backups, and of their runs: decisions only. */
const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 23, 12);
const set = (hours: number, more: Partial<BackupSet> = {}): BackupSet => {
  const time = NOW - hours * HOUR;
  const name = setName(new Date(time), sha256(`${hours}${more.lineage}`).slice(0, 8));
  const own = { name, time, server: 'main', lineage: '7', folder: `/t/${name}`, state: 'proven' as const };
  return { ...own, pinned: false, bytes: 12_900_000, databases: ['app', 'postgres', 'shop'], ...more };
};
const proof = (rows: number): Partial<BackupSet> => ({
  report: {
    ...{ format: 1, set: '', ok: true, checked: '', seconds: 1, server_version: '15.18', manifest_sha256: '' },
    ...{ databases: 3, tables: 5, rows, problems: [], differences: [] },
  },
});
const unproven = (hours: number): BackupSet => set(hours, { state: 'unproven', problem: 'it was never restored' });

const RETIRE = (lineage: string): string =>
  `Where nothing of the other is needed, an empty file RETIRED in main/${lineage} on the target ends this remark`;

const standing = suite('backup: how a server stands');
for (const [what, sets, stale, hours, remarks] of [
  ['never had a set', [], true, undefined, []],
  ['a fresh set', [set(1), set(25)], false, 1, []],
  ['an old set', [set(27)], true, 27, ['older than 26 h']],
  [
    'an old set, and newer ones that are not proven',
    [unproven(3), unproven(5), set(27)],
    true,
    27,
    ['older than 26 h', `2 newer sets are not proven (${unproven(3).name}: it was never restored)`],
  ],
  [
    'a fresh set, and a newer one that is not proven',
    [unproven(3), set(20)],
    false,
    20,
    [`one newer set is not proven (${unproven(3).name}: it was never restored)`],
  ],
  [
    'only a set that is not proven',
    [unproven(3)],
    true,
    undefined,
    [`one set is not proven (${unproven(3).name}: it was never restored)`],
  ],
  [
    'another lineage since, of which nothing is proven: the fresh set of the old one says nothing of today',
    [{ ...unproven(3), lineage: '8' }, set(20, proof(4711))],
    true,
    undefined,
    [
      `one set is not proven (${unproven(3).name}: it was never restored)`,
      `sets of the system identifier 7 are of the server before, or of another one: the newest proven one, ${set(20).name}, has 4711 rows in 12.3 MiB; restore-postgres --server main --all --of 7 restores it. The server of now (8) has no proven set. ${RETIRE('7')}`,
    ],
  ],
  [
    'a lineage that changed long ago, and is neither retired nor away: told, and no more than that',
    [set(1, { ...proof(3), bytes: 9000 }), set(300), set(301, { lineage: '6', ...proof(4711) })],
    false,
    1,
    [
      `sets of the system identifier 6 are of the server before, or of another one: the newest proven one, ${set(301, { lineage: '6' }).name}, has 4711 rows in 12.3 MiB; restore-postgres --server main --all --of 6 restores it. The server of now (7) has 3 rows in 9 KiB. ${RETIRE('6')}`,
    ],
  ],
  ['the same, retired', [set(1), set(301, { lineage: '6', retired: true })], false, 1, []],
  [
    'several, one of them without anything that is proven',
    [set(1, proof(3)), { ...unproven(400), lineage: '5' }, set(500, { lineage: '6', retired: true })],
    false,
    1,
    [
      `sets of the system identifier 5 are of the server before, or of another one: none is proven; backup-postgres verify ${unproven(400).name} tries the newest. The server of now (7) has 3 rows in 12.3 MiB. ${RETIRE('5')}`,
    ],
  ],
  [
    'rows that are gone since a set of this week',
    [set(1, proof(3)), set(25, proof(2)), set(100, proof(500)), set(50, { ...proof(9000), state: 'damaged' })],
    false,
    1,
    [
      `${set(1).name} holds 3 rows; ${set(100).name} held 500. Where that is not meant, restore-postgres ${set(100).name} --server main --database NAME brings a database back`,
    ],
  ],
  [
    'fewer rows than a set of long ago, and a few less than yesterday',
    [set(1, proof(90)), set(25, proof(100)), set(200, proof(500))],
    false,
    1,
    [],
  ],
  ['a set of a clock that is half an hour ahead', [set(-0.5)], false, 0, []],
  [
    'a set from the future beside an old one',
    [set(-5000), set(27)],
    true,
    27,
    [
      'older than 26 h',
      `one set is dated in the future (${set(-5000).name}) and not counted: this machine's clock is wrong, or that of the one that made them was`,
    ],
  ],
] as const)
  standing(what, () => {
    const found = standingOf('main', sets, { now: NOW, maxAgeHours: 26 });
    assert.equal([found.stale, found.hours, found.remarks], [stale, hours, [...remarks]]);
  });
standing.run();

const outcome = (more: Partial<Outcome>): Outcome => ({ exit: 1, seconds: 2, applied: [], proofs: [], ...more });
const failed = (id: string, error: unknown): Outcome['applied'][number] => ({
  ...{ id, outcome: 'failed', seconds: 1, changed: true, error },
});
const done = (id: string): Outcome['applied'][number] => ({ id, outcome: 'done', seconds: 3, changed: true });
const ABOUT = { lab: 'home', run: 'uuid', host: 'cron-01', time: '2026-11-23T12:00:00.000Z' };

const notices = suite('backup: notices');
for (const [what, came, expected] of [
  [
    'a step that failed, with what to do',
    outcome({ applied: [failed('main/dump', new HomelabError('no password', { cause: 'typo', fix: 'set it' }))] }),
    [{ server: 'main', phase: 'dump', message: 'no password', cause: 'typo', fix: 'set it' }],
  ],
  [
    'a target that is not there',
    outcome({ plan: { steps: [], notes: [{ level: 'blocker', text: '/mnt is not there', fix: 'mount it' }] } }),
    [{ phase: 'plan', message: '/mnt is not there', fix: 'mount it' }],
  ],
  [
    'the marking of the target, which is of no server',
    outcome({ applied: [failed('target/mark', new HomelabError('read-only'))] }),
    [{ phase: 'target/mark', message: 'read-only' }],
  ],
  [
    'a configuration that is wrong',
    outcome({ exit: 2, error: new UsageError('homelab.yaml:1:1: no', { fix: 'yes' }) }),
    [{ phase: 'configuration', message: 'homelab.yaml:1:1: no', fix: 'yes' }],
  ],
  [
    'a call that is wrong',
    outcome({ exit: 2, error: new Error("error: unknown option '--x'") }),
    [
      {
        phase: 'configuration',
        message: "unknown option '--x'",
        fix: 'correct the call: --help says what there is',
      },
    ],
  ],
  ['a defect', outcome({ error: new TypeError('x of undefined') }), [{ phase: 'look', message: 'x of undefined' }]],
  [
    'a signal',
    outcome({ exit: 143, signal: 'SIGTERM', running: ['main/prove'] }),
    [
      {
        server: 'main',
        phase: 'prove',
        message: 'ended by SIGTERM during main prove',
        fix: 'find out who ended it (a shutdown, a deadline, a person); the next run begins anew',
      },
    ],
  ],
  [
    'a proof that does not hold',
    outcome({ proofs: [{ claim: 'main is fresh', ok: false, detail: 'there is none' }] }),
    [{ phase: 'verify', message: 'not so: main is fresh', cause: 'there is none' }],
  ],
] as const)
  notices(`${what} is told with its phase`, () =>
    // As it is sent: without what is undefined.
    assert.equal(JSON.parse(JSON.stringify(problemsOf(came))), expected),
  );
notices('of a failure a person reads what, why, what to do, and how the backups stand', () => {
  const error = new HomelabError('connect ECONNREFUSED', { cause: 'it is down', fix: 'start it', output: 'a\nb' });
  const stands = standingOf('main', [set(27)], { now: NOW, maxAgeHours: 26 });
  const notice = endNotice(ABOUT, outcome({ applied: [failed('main/dump', error)] }), [stands]);
  assert.is(notice.event, 'failure');
  assert.is(notice.message, 'backup of home failed (exit code 1): main: dump: connect ECONNREFUSED');
  assert.equal(noticeText(notice).split('\n'), [
    ...['backup of home failed (exit code 1)', '', 'main: dump: connect ECONNREFUSED', '  | a', '  | b'],
    ...['probable cause: it is down', 'to fix: start it', ''],
    `main: STALE: ${set(27).name} is proven, 27.0 h old; older than 26 h`,
    ...['', 'on cron-01, 2026-11-23T12:00:00.000Z, run uuid'],
  ]);
});
notices('a success says so', () => {
  const { event, message, problems } = endNotice(ABOUT, outcome({ exit: 0 }), []);
  assert.equal([event, message, problems], ['success', 'backup of home: all proven', []]);
});
const PUSH = 'https://kuma.home.arpa/api/push/T0ken?status=up&msg=OK&ping=';
for (const [base, event, url] of [
  ['https://hc-ping.com/abc', 'start', 'https://hc-ping.com/abc/start?rid=r'],
  ['https://hc-ping.com/abc/', 'failure', 'https://hc-ping.com/abc/fail?rid=r'],
  ['http://hc.home.arpa/ping/key/slug?create=1', 'success', 'http://hc.home.arpa/ping/key/slug?create=1&rid=r'],
  ['hc-ping.com/abc', 'success', undefined],
  ['ftp://hc-ping.com/abc', 'success', undefined],
  [PUSH, 'start', undefined],
  [PUSH, 'success', 'https://kuma.home.arpa/api/push/T0ken?status=up&msg=all+proven&ping=2500'],
  ['http://a:3001/kuma/api/push/x/', 'failure', 'http://a:3001/kuma/api/push/x?status=down&msg=all+proven&ping=2500'],
  ['https://hc.home.arpa/api/push', 'success', 'https://hc.home.arpa/api/push?rid=r'],
] as const)
  notices(`${event} at ${base}`, () => {
    const notice = { ...startNotice(ABOUT), event, run: 'r', message: 'all proven', seconds: 2.5 };
    const ping = pingOf(base, notice, (text) => text);
    assert.is(typeof ping === 'object' ? ping.url : undefined, url);
    if (typeof ping === 'object') assert.is(ping.body === undefined, base.includes('/api/push/'));
  });
notices("Uptime Kuma's message is one line, cut, without a secret; of more than a day no time is told", () => {
  const message = `${'ü'.repeat(180)}\n  hunter2 and\tmore 😀😀`;
  const notice = { ...startNotice(ABOUT), event: 'failure' as const, message, seconds: 86_401 };
  const ping = pingOf(PUSH, notice, (text) => text.replace('hunter2', '[secret X]'));
  const query = new URL(typeof ping === 'object' ? ping.url : '').searchParams;
  assert.is(query.get('msg'), `${'ü'.repeat(180)} [secret X] and mor…`);
  assert.equal([query.get('status'), query.get('ping')], ['down', '']);
});
notices.run();

const metrics = suite('backup: metrics');
const began = new Date(NOW);
const STATES = { proven: 2, unproven: 1, damaged: 0 };
const seen = (...servers: [string, BackupSet[]][]) => ({
  standings: servers.map(([server, sets]) => ({
    ...standingOf(server, sets, { now: NOW, maxAgeHours: 26 }),
    sets: STATES,
  })),
  ...{ maxAgeHours: 26, freeBytes: 5e12 },
});
const readingOf = (samples: readonly Sample[], name: string, server?: string): number | undefined =>
  samples.find((one) => one.name === name && one.labels.server === server)?.value;

metrics('a Prometheus parser reads what is written: every metric with HELP and TYPE, and values as they are', () => {
  const odd = 'li"ne\\ \nbreak';
  const both = { servers: ['main', odd], began, outcome: outcome({ applied: [done('main/dump')] }) };
  const samples = samplesOf('home', seen(['main', [set(1)]], [odd, [set(30)]]), both);
  const families = parsePrometheus(metricsText(samples));
  assert.equal(
    families.map(({ name }) => name.replace('homelab_backup_', '')),
    [
      ...['last_verified_timestamp_seconds', 'max_age_seconds', 'last_attempt_timestamp_seconds', 'exit_code'],
      ...['phase_seconds', 'rows', 'bytes', 'sets', 'target_free_bytes'],
    ],
  );
  for (const { name, help, type } of families) assert.ok(help.length > 10 && type === 'GAUGE', name);
  const verified = families[0]?.metrics.find(({ labels }) => labels?.server === odd);
  assert.is(Number(verified?.value), (NOW - 30 * HOUR) / 1000);
  assert.is(families.flatMap((family) => family.metrics).length, samples.length);
  assert.equal(parseMetrics(metricsText(samples)).length, samples.length, 'and we read it back');
});
metrics('every line is a comment or a sample, and ends', () => {
  const text = metricsText(
    samplesOf('home', seen(['main', [set(1)]]), { servers: ['main'], began, outcome: outcome({}) }),
  );
  for (const line of text.slice(0, -1).split('\n'))
    assert.match(
      line,
      /^(# (HELP|TYPE) homelab_backup_[a-z_]+ \S.*|homelab_backup_[a-z_]+\{([a-z]+="[^"\n]*",?)+\} [\d.e+-]+)$/,
    );
  assert.ok(text.endsWith('\n'));
});
metrics('a failed run whose target cannot be read keeps what was proven before, of every server', () => {
  const before = samplesOf('home', seen(['main', [set(1)]], ['other', [set(2)]]), {
    ...{ servers: ['main', 'other'], began: new Date(NOW - HOUR), outcome: outcome({ exit: 0 }) },
  });
  const fresh = samplesOf('home', { standings: [] }, { servers: ['main'], began, outcome: outcome({}) });
  const after = merged(parseMetrics(metricsText(before)), fresh, 'home', ['main', 'other']);
  for (const server of ['main', 'other'])
    for (const name of ['last_verified_timestamp_seconds', 'rows', 'bytes'])
      assert.is(readingOf(after, name, server), readingOf(before, name, server), `${name} of ${server}`);
  assert.equal([readingOf(after, 'exit_code', 'main'), readingOf(after, 'exit_code', 'other')], [1, 0]);
  assert.is(readingOf(after, 'last_attempt_timestamp_seconds', 'main'), NOW / 1000);
});
metrics('phases of the run before do not linger', () => {
  const one = (applied: Outcome['applied']): Sample[] =>
    samplesOf('home', { standings: [] }, { servers: ['main'], began, outcome: outcome({ applied }) });
  const after = merged(one([done('main/dump'), done('main/prove')]), one([failed('main/dump', 1)]), 'home', ['main']);
  assert.equal(
    after.filter(({ name }) => name === 'phase_seconds').map(({ labels }) => labels.phase),
    ['dump'],
  );
});
metrics('a server that homelab.yaml has no more goes; where it cannot be read, and of other labs, all stays', () => {
  const before = samplesOf('home', seen(['old', [set(1)]]), { servers: [], began, outcome: outcome({}) });
  assert.is(readingOf(merged(before, [], 'home', ['main']), 'rows', 'old'), undefined);
  assert.is(readingOf(merged(before, [], 'home', undefined), 'rows', 'old'), 0);
  assert.is(readingOf(merged(before, [], 'away', ['main']), 'rows', 'old'), 0);
});
metrics('a phase with several steps is one sample: of two that are alike a collector takes none', () => {
  const copied = [1, 2, 3].map((n) => ({ ...done(`main/copy/set-${n}`), seconds: 0.1 }));
  const samples = samplesOf('home', seen(['main', [set(1)]]), {
    ...{ servers: ['main'], began },
    outcome: outcome({ applied: copied }),
  });
  const lines = metricsText(samples)
    .split('\n')
    .filter((line) => line.includes('phase_seconds{'));
  assert.equal(lines, ['homelab_backup_phase_seconds{lab="home",server="main",phase="copy"} 0.3']);
});

metrics('where the target was read and nothing is proven, it says 0, which alarms', () => {
  const samples = samplesOf('home', seen(['main', [unproven(1)]]), { servers: [], began, outcome: outcome({}) });
  assert.is(readingOf(samples, 'last_verified_timestamp_seconds', 'main'), 0);
});
for (const [what, came, codes] of [
  ['another server failed', outcome({ applied: [done('main/dump'), failed('b/dump', new HomelabError(''))] }), [0, 1]],
  [
    'another server was locked',
    outcome({ applied: [done('main/dump'), failed('b/dump', new HomelabError('', { exit: 75 }))] }),
    [0, 75],
  ],
  ['the target was not there', outcome({}), [1, 1]],
  ['the configuration was wrong', outcome({ exit: 2, error: new Error() }), [2, 2]],
  ['all went well', outcome({ exit: 0, applied: [done('main/dump'), done('b/dump')] }), [0, 0]],
  ['a proof did not hold', outcome({ applied: [done('main/dump'), done('b/dump')] }), [1, 1]],
] as const)
  metrics(`exit codes, server by server: ${what}`, () => {
    const samples = samplesOf('home', { standings: [] }, { servers: ['main', 'b'], began, outcome: came });
    assert.equal([readingOf(samples, 'exit_code', 'main'), readingOf(samples, 'exit_code', 'b')], codes);
  });
metrics.run();

const reports = suite('backup: list and status');
const backup = { ...smallLab().backup!, max_age_hours: 26, keep: { last: 1, daily: 7, weekly: 4, monthly: 2 } };
const target = { ok: true as const, root: '/t', sentinel: { id: 'i', lab: 'home', created: '' }, freeBytes: 1 };
const looked = (sets: BackupSet[], more: Partial<SeenBackup> = {}): SeenBackup => ({
  ...{ now: NOW, remembered: true, newId: 'n', installations: [], target, servers: [{ name: 'main', sets }] },
  ...more,
});
reports('list fits into 80 columns: states, sizes, ages, why a set is not proven, and what keeps it', () => {
  const sets = [
    ...[
      set(-90_000),
      set(1),
      set(3.3, { state: 'damaged', bytes: 0, databases: [], problem: 'manifest.json: it is not JSON '.repeat(9) }),
    ],
    ...[set(25.4, { pinned: true, bytes: 999.9 * 2 ** 30 }), set(26), set(9000, { lineage: '7561234567890123456' })],
  ];
  const { text } = listReport(backup, looked(sets));
  for (const line of text.split('\n')) assert.ok(line.length <= 80, `${line.length}: ${line}`);
  const lines = text.split('\n');
  assert.is(lines[0], 'main: 6 sets, newest first');
  assert.is(lines[1], '  system identifier 7');
  assert.is(lines[2], '  SET                        STATE          SIZE      AGE  DBS  KEPT AS');
  assert.is(lines[3], `  ${set(-90_000).name}  proven     12.3 MiB   future    3  from the future`);
  assert.is(lines[4], `  ${set(1).name}  proven     12.3 MiB    1.0 h    3  last +3`);
  assert.is(lines[5], `  ${set(3.3).name}  damaged       0 KiB    3.3 h    0  not proven`);
  assert.match(lines[6] ?? '', /^ {6}manifest\.json: it is not JSON manifest/);
  assert.match(
    text,
    /\n {2}what is not proven is never pruned: backup-postgres verify SET tries once\n {2}more; or delete its folder in \/t\/main$/,
  );
  assert.not.match(listReport(backup, looked([set(1)])).text, /never pruned/);
  assert.match(text, / 999\.90 GiB +25\.4 h +3 {2}pinned \+2\n/);
  assert.match(text, / 26\.0 h +3 {2}will be pruned\n {2}system identifier 7561234567890123456\n/);
  const [{ remarks } = { remarks: [] }] = listReport(backup, looked(sets)).data as { remarks: { lineage: string }[] }[];
  assert.equal(
    remarks.map(({ lineage }) => lineage),
    ['7561234567890123456'],
  );
  assert.match(text, /\n {4}sets of the system identifier 7561234567890123456 are of /);
  assert.match(text.replaceAll(/\s+/g, ' '), /an empty file RETIRED in main\/7561234567890123456 on the target ends/);
});
reports(
  'status: a verdict a server, in at most 80 columns where it is fresh, and exit code 3 when one is stale',
  () => {
    const both = looked([set(1)], {
      servers: [
        { name: 'main', sets: [set(1)] },
        { name: 'other', sets: [] },
      ],
    });
    const { text, exit, data } = statusReport(backup, both);
    assert.is(
      text,
      `main: fresh: ${set(1).name} is proven, 1.0 h old; 1 set\nother: STALE: there is no proven set; 0 sets`,
    );
    assert.is(exit, 3);
    assert.equal(JSON.parse(JSON.stringify(data)), [
      {
        ...{ server: 'main', stale: false, newest_proven: set(1).name, system_identifier: '7', age_hours: 1 },
        ...{ max_age_hours: 26, sets: 1, not_proven: 0, remarks: [] },
      },
      {
        ...{ server: 'other', stale: true, newest_proven: null, system_identifier: null, age_hours: null },
        ...{ max_age_hours: 26, sets: 0, not_proven: 0, remarks: [] },
      },
    ]);
    assert.is(statusReport(backup, looked([set(1)])).exit, undefined);
  },
);
const told = { hasUrl: true, missing: [] };
const notify = { healthcheck: true, timeout_seconds: 20 };
for (const [what, config, sets, seen, expected] of [
  ['a fresh set, and somebody is told', { ...backup, notify }, [set(1)], told, [['ok', /1\.0 h old/]]],
  ['a stale set', { ...backup, notify }, [set(27)], told, [['warning', /27\.0 h old; older than 26 h/]]],
  [
    'nobody is told',
    backup,
    [set(1)],
    told,
    [
      ['ok', /main/],
      ['warning', /nobody is told when a backup fails/],
    ],
  ],
  [
    'the URL is missing, and a program',
    { ...backup, notify },
    [set(1)],
    { hasUrl: false, missing: ['/x'] },
    [
      ['ok', /main/],
      ['warning', /BACKUP_HEALTHCHECK_URL is not/],
      ['warning', /\/x is not on this machine/],
    ],
  ],
] as const)
  reports(`check: ${what}`, () => {
    const findings = backupFindings(config, looked([...sets]), seen);
    assert.is(findings.length, expected.length);
    for (const [i, [level, text]] of expected.entries()) {
      assert.is(findings[i]?.level, level);
      assert.match(findings[i]?.text ?? '', text);
    }
  });
reports('check: a target that is not there is told as that, not as a stale set', () => {
  const gone = { ok: false as const, reason: '/mnt is not there', fix: 'mount it' };
  const [first] = backupFindings({ ...backup, notify }, looked([], { target: gone }), told);
  assert.equal([first?.level, first?.text, first?.fix], ['warning', '/mnt is not there', 'mount it']);
});
reports.run();
