import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parseTrace, readTrace } from '../lib/observe/etcd-restore.ts';
import { parseNas, parseServer } from '../lib/observe/etcd-snapshots.ts';
import { courseOf, planRestoreSnapshot, type RestoreArgs } from '../lib/plan/etcd-restore.ts';
import type { RestoreSeen, RestoreState, Trace } from '../lib/plan/etcd-restore-seen.ts';
import { planInstallSnapshots, planSaveSnapshot, staleness } from '../lib/plan/etcd-snapshots.ts';
import type { NasSnapshot, ServerSnapshots, SnapshotsSeen } from '../lib/plan/etcd-snapshots-seen.ts';
import type { SshReader } from '../lib/ports/types.ts';
import { snapshotStatusReport } from '../lib/render/etcd-snapshot-report.ts';
import { intervalHours, snapshotCron } from '../lib/render/etcd-snapshots.ts';
import type { Plan } from '../lib/step.ts';
import { planText } from '../lib/talk.ts';
import { labWith, seenConverged, TOKEN_HASH, withFacts } from './k3s-fixtures.ts';

/** What is decided about snapshots of etcd, without a machine. */
const test = suite('etcd snapshots: plans');
const lab = labWith();
const SCRIPT = '#!/bin/sh\n';
const NOW = 1_800_000_000;
const HOUR = 3600;

const server = (change: Partial<ServerSnapshots> = {}): ServerSnapshots => ({
  script: createHash('sha256').update(SCRIPT).digest('hex'),
  ...{ nfsClient: true, cronRuns: true, unit: 'active', local: [] },
  ...change,
});
const snapshot = (name: string, age: number, change: Partial<NasSnapshot> = {}): NasSnapshot => ({
  name: `homelab-${name}-${NOW - age}`,
  ...{ server: name, bytes: 1, time: NOW - age, whole: true },
  ...change,
});
/** Everything as it should be. */
const good: SnapshotsSeen = {
  now: NOW,
  servers: Object.fromEntries(
    ['k3s-cp-01', 'k3s-cp-02'].map((name) => [name, { ok: true, value: server({ cron: snapshotCron(lab, name) }) }]),
  ),
  nas: { ok: true, value: [snapshot('k3s-cp-01', HOUR), snapshot('k3s-cp-02', HOUR)] },
};
const withServer = (name: string, value: Partial<ServerSnapshots>): SnapshotsSeen => {
  const before = good.servers[name];
  if (!before?.ok) throw new Error(name);
  return { ...good, servers: { ...good.servers, [name]: { ok: true, value: { ...before.value, ...value } } } };
};
const ids = ({ steps }: Plan): string[] => steps.map(({ id }) => id);
const blockers = ({ notes }: Plan): string[] =>
  notes.filter(({ level }) => level === 'blocker').map(({ text }) => text);
const install = (seen: SnapshotsSeen): Plan => planInstallSnapshots(lab, seen, SCRIPT);

const installs: [what: string, seen: SnapshotsSeen, steps: string[]][] = [
  ['as it should be', good, []],
  ['another script', withServer('k3s-cp-01', { script: 'x' }), ['k3s-cp-01/script']],
  ['another schedule', withServer('k3s-cp-02', { cron: 'x' }), ['k3s-cp-02/cron']],
  [
    'nothing there',
    withServer('k3s-cp-01', { script: undefined, cron: undefined }),
    ['k3s-cp-01/script', 'k3s-cp-01/cron'],
  ],
  ['none on the NAS', { ...good, nas: { ok: true, value: [snapshot('k3s-cp-01', HOUR)] } }, ['k3s-cp-02/snapshot']],
  [
    'one that is too old, and one that says that it is of next week',
    {
      ...good,
      nas: {
        ok: true,
        value: [snapshot('k3s-cp-01', HOUR), snapshot('k3s-cp-02', 13 * HOUR), snapshot('k3s-cp-02', -7 * 24 * HOUR)],
      },
    },
    ['k3s-cp-02/snapshot'],
  ],
  [
    'one that is too old, and one that is not whole',
    {
      ...good,
      nas: {
        ok: true,
        value: [snapshot('k3s-cp-01', 12 * HOUR + 60), snapshot('k3s-cp-02', HOUR, { whole: false })],
      },
    },
    ['k3s-cp-01/snapshot', 'k3s-cp-02/snapshot'],
  ],
];
for (const [what, seen, steps] of installs)
  test(`install: ${what}`, () => {
    const plan = install(seen);
    assert.equal([ids(plan), blockers(plan)], [steps, []]);
  });

const obstacles: [what: string, seen: SnapshotsSeen, said: RegExp][] = [
  ['no K3s', withServer('k3s-cp-01', { unit: undefined }), /^K3s is not installed on k3s-cp-01$/],
  ['K3s is down', withServer('k3s-cp-01', { unit: 'failed' }), /^k3s on k3s-cp-01 is failed/],
  ['no NFS client', withServer('k3s-cp-02', { nfsClient: false }), /^k3s-cp-02 has no NFS client/],
  ['no cron', withServer('k3s-cp-02', { cronRuns: false }), /^cron does not run on k3s-cp-02/],
  [
    'a silent server',
    { ...good, servers: { ...good.servers, 'k3s-cp-02': { ok: false, reason: 'no answer' } } },
    /^k3s-cp-02 is not reachable: no answer$/,
  ],
  [
    'a NAS that denies',
    { ...good, nas: { ok: false, reason: 'access denied' } },
    /^synology:\/volume1\/k3s-backups\/etcd\/homelab cannot be reached: access denied$/,
  ],
];
for (const [what, seen, said] of obstacles)
  test(`install, blocked: ${what}`, () => {
    const [text = '', ...more] = blockers(install(seen));
    assert.match(text, said);
    assert.equal(more, []);
  });

test('a run that failed is told, also where the newest is young enough', () => {
  const failed = { time: NOW - 60, code: 32, snapshot: 'x', said: 'mount: access denied' };
  const { notes, steps } = install(withServer('k3s-cp-01', { lastRun: failed }));
  assert.equal(steps, []);
  assert.match(notes[0]?.text ?? '', /^the last snapshot of k3s-cp-01 that was to go to the NAS failed: mount: access/);
});

test('without k3s.etcd_snapshots what is there is removed, and nothing else is done', () => {
  const without = labWith((config) => {
    delete config.k3s.etcd_snapshots;
  });
  assert.equal(ids(planInstallSnapshots(without, { ...good, nas: undefined }, SCRIPT)), [
    'k3s-cp-01/remove',
    'k3s-cp-02/remove',
  ]);
  const clean = withServer('k3s-cp-01', { script: undefined, cron: undefined }).servers['k3s-cp-01'];
  const seen = { ...good, nas: undefined, servers: { 'k3s-cp-01': clean ?? { ok: false as const, reason: '' } } };
  assert.equal(ids(planInstallSnapshots(without, seen, SCRIPT)), []);
  assert.throws(() => planSaveSnapshot(without, good, SCRIPT, {}), /has no `k3s.etcd_snapshots`/);
});

test('save: the first server that can; the one that is named, or why not', () => {
  assert.equal(ids(planSaveSnapshot(lab, good, SCRIPT, {})), ['k3s-cp-01/snapshot']);
  const down = withServer('k3s-cp-01', { unit: 'inactive' });
  assert.equal(ids(planSaveSnapshot(lab, down, SCRIPT, {})), ['k3s-cp-02/snapshot']);
  assert.match(blockers(planSaveSnapshot(lab, down, SCRIPT, { server: 'k3s-cp-01' }))[0] ?? '', /^k3s on k3s-cp-01 is/);
});

test('save: a name of its own, not that of the scheduled ones, which are pruned', () => {
  const named = planSaveSnapshot(lab, good, SCRIPT, { name: 'homelab-2' });
  assert.match(named.steps[0]?.title ?? '', 'homelab-2-…, which is not pruned');
  assert.throws(
    () => planSaveSnapshot(lab, good, SCRIPT, { name: 'homelab' }),
    /"homelab" is what scheduled snapshots are called: yours would be pruned/,
  );
});

test('the longest time between two runs of a schedule', () => {
  for (const [schedule, hours] of [
    ['30 */6 * * *', 6],
    ['0 3 * * *', 24],
    ['0 9-17 * * 1-5', 64],
    ['*/15 * * * *', 0.25],
  ] as const)
    assert.is(intervalHours(schedule, NOW), hours, schedule);
});

test('cron gets a line that it understands, also with a "%" or a blank in the path', () => {
  const odd = labWith((config) => {
    for (const nas of config.nas) for (const one of nas.exports) one.path = '/volume 1/100%';
  });
  const [, , line = ''] = snapshotCron(odd, 'k3s-cp-01').split('\n');
  assert.is(
    line,
    "30 */6 * * * root timeout 1800 /usr/local/sbin/homelab-etcd-snapshots save '10.20.11.10:/volume 1/100\\%' nfsvers=4.1,soft,timeo=150,retrans=3,retry=0 etcd/homelab k3s-cp-01 28 >/dev/null 2>&1",
  );
});

test('what the NAS holds: times from names, and what is whole', () => {
  const lines = [
    ...['k3s-cp-01/homelab-k3s-cp-01-1800000000 10 1800000009.5', 'k3s-cp-01/homelab-k3s-cp-01-1800000000.sha256 80 1'],
    ...['k3s-cp-01/homelab-k3s-cp-01-1800000000.token 80 1', 'k3s-cp-01/copied by hand 5 1700000000', 'x'],
    'k3s-cp-02/etcd-snapshot-k3s-cp-02-1800000001.zip 7 1800000002.0',
  ];
  assert.equal(parseNas(lines.join('\n')), [
    { server: 'k3s-cp-01', name: 'homelab-k3s-cp-01-1800000000', bytes: 10, time: 1_800_000_000, whole: true },
    { server: 'k3s-cp-01', name: 'copied by hand', bytes: 5, time: 1_700_000_000, whole: false },
    {
      server: 'k3s-cp-02',
      name: 'etcd-snapshot-k3s-cp-02-1800000001.zip',
      bytes: 7,
      time: 1_800_000_001,
      whole: false,
    },
  ]);
});

test('what a server says; an answer that broke off is none', () => {
  const state = Buffer.from('time=5\ncode=32\nsnapshot=s\nsaid=a=b; c\n').toString('base64');
  const said = `script=abc\nstate=${state}\nnfs=install ok installed\ndaemon=active\nunit=active\nlocal=on-demand-x-1800000000 3 1.5\n`;
  assert.equal(parseServer(`${said}end=yes\n`), {
    ...{ script: 'abc', cron: undefined, nfsClient: true, cronRuns: true, unit: 'active' },
    lastRun: { time: 5, code: 32, snapshot: 's', said: 'a=b; c' },
    local: [{ name: 'on-demand-x-1800000000', bytes: 3, time: 1_800_000_000 }],
  });
  assert.is(parseServer(said), undefined);
});

test('a snapshot that is dated in the future is not taken for the newest', () => {
  const value = [snapshot('k3s-cp-01', HOUR), snapshot('k3s-cp-01', -100 * HOUR), snapshot('k3s-cp-02', -100 * HOUR)];
  const odd = { ...good, nas: { ok: true as const, value } };
  const { text, exit } = snapshotStatusReport(lab, odd);
  assert.match(text, `k3s-cp-01: fresh: homelab-k3s-cp-01-${NOW - HOUR} is 1 h old`);
  assert.match(text, 'k3s-cp-02: STALE');
  assert.is(exit, 3);
  assert.is(staleness(lab, odd, 'k3s-cp-02'), 'its are dated in the future: is its clock right?');
});

test('status: 3 when one is stale, 1 when nobody can tell', () => {
  assert.is(snapshotStatusReport(lab, good).exit, undefined);
  assert.is(snapshotStatusReport(lab, { ...good, now: NOW + 12 * HOUR }).exit, 3);
  assert.is(snapshotStatusReport(lab, { ...good, nas: { ok: false, reason: 'gone' } }).exit, 1);
  assert.is(staleness(lab, { ...good, nas: { ok: false, reason: 'gone' } }, 'k3s-cp-01'), undefined);
});

// ---- restore

const NAME = `homelab-k3s-cp-01-${NOW - HOUR}`;
const args: RestoreArgs = { snapshot: NAME, without: [] };
const seen: RestoreSeen = {
  k3s: seenConverged(lab),
  snapshots: good,
  traces: {},
  tokenHash: { ok: true, value: TOKEN_HASH },
};
const state = (id: string, target: string, stage: RestoreState['stage'], name = NAME): RestoreState => ({
  id,
  target,
  stage,
  snapshot: name,
});
const ID = '20270115T070000Z';
const OLD = '20270113T070000Z';
const trace = (change: Partial<Trace>): Trace => ({ kept: [], dataDir: [], disks: [], ...change });
/** Who was stopped by a restore, and has no data but what that gave it. */
const held = { units: { k3s: { state: 'inactive', enabled: false } } };
const bare = { ...held, etcdData: false };
type Facts = Record<string, Parameters<typeof withFacts>[2]>;
const changed = (facts: Facts): RestoreSeen['k3s'] =>
  Object.entries(facts).reduce((k3s, [name, change]) => withFacts(k3s, name, change), seen.k3s);

test('restore: everything, in its order', () => {
  const plan = planRestoreSnapshot(lab, seen, args, SCRIPT);
  assert.equal(blockers(plan), []);
  assert.equal(ids(plan), [
    ...['k3s-cp-01/fetch', 'k3s-cp-01/stop', 'k3s-cp-02/stop', 'k3s-cp-01/aside', 'k3s-cp-01/reset'],
    ...['k3s-cp-01/enable', 'k3s-cp-01/start', 'k3s-cp-01/api', 'k3s-cp-01/passwords', 'k3s-cp-01/ready'],
    ...['k3s-cp-02/aside', 'k3s-cp-02/enable', 'k3s-cp-02/start', 'k3s-cp-02/ready', 'k3s-gpu-01/back'],
    ...['k3s-cp-02/tidy', 'k3s-cp-01/tidy'],
  ]);
  const reset = plan.steps.find(({ id }) => id === 'k3s-cp-01/reset');
  assert.equal(reset?.after, ['k3s-cp-01/aside']);
  const aside = plan.steps.find(({ id }) => id === 'k3s-cp-01/aside');
  assert.equal(aside?.after, ['k3s-cp-01/stop', 'k3s-cp-02/stop'], 'all are stopped before anything is moved');
});

test('restore: who is stopped does not start with its machine, before it joins the restored one', () => {
  const { steps } = planRestoreSnapshot(lab, seen, args, SCRIPT);
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) {
    const argv = (part: string): unknown => {
      const action = steps.find(({ id }) => id === `${name}/${part}`)?.action;
      return action?.kind === 'remote' && action.argv;
    };
    assert.equal(argv('stop'), ['systemctl', 'disable', '--now', 'k3s']);
    assert.equal(argv('enable'), ['systemctl', 'enable', 'k3s']);
  }
  const off = changed({ 'k3s-cp-02': { units: { k3s: { state: 'inactive', enabled: true } } } });
  assert.ok(ids(planRestoreSnapshot(lab, { ...seen, k3s: off }, args, SCRIPT)).includes('k3s-cp-02/stop'));
});

/** A restore that was killed, by how far it had come. */
const killed: Record<string, [traces: RestoreSeen['traces'], facts: Facts]> = {
  stopped: [{}, { 'k3s-cp-01': held, 'k3s-cp-02': held }],
  'noted, and not moved': [
    { 'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'aside') }) },
    { 'k3s-cp-01': held, 'k3s-cp-02': held },
  ],
  aside: [
    { 'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'aside'), kept: [ID] }) },
    { 'k3s-cp-01': bare, 'k3s-cp-02': held },
  ],
  reset: [
    { 'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'reset'), kept: [ID], restored: ID }) },
    { 'k3s-cp-01': held, 'k3s-cp-02': held },
  ],
  'the second moved': [
    {
      'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'reset'), kept: [ID], restored: ID }),
      'k3s-cp-02': trace({ state: state(ID, 'k3s-cp-01', 'aside'), kept: [ID] }),
    },
    { 'k3s-cp-02': bare },
  ],
  'the second tidied': [
    {
      'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'reset'), kept: [ID], restored: ID }),
      'k3s-cp-02': trace({ kept: [ID] }),
    },
    {},
  ],
};
const at = (point: string, more: Facts = {}): RestoreSeen => {
  const [traces, facts] = killed[point] ?? [{}, {}];
  return { ...seen, traces, k3s: changed({ ...facts, ...more }) };
};

const goesOn: [point: string, destroys: string[], steps: string[]][] = [
  [
    'stopped',
    ['k3s-cp-01/aside'],
    ['01/aside', '01/reset', '01/enable', '01/start', '02/aside', '02/enable', '02/start'],
  ],
  [
    'noted, and not moved',
    ['k3s-cp-01/aside'],
    ['01/aside', '01/reset', '01/enable', '01/start', '02/aside', '02/enable', '02/start'],
  ],
  ['aside', ['k3s-cp-01/reset'], ['01/reset', '01/enable', '01/start', '02/aside', '02/enable', '02/start']],
  ['reset', ['k3s-cp-02/aside'], ['01/enable', '01/start', '02/aside', '02/enable', '02/start']],
  ['the second moved', [], ['02/enable', '02/start']],
  ['the second tidied', [], []],
];
for (const [point, destroys, steps] of goesOn)
  test(`restore, after a run that was killed (${point}): what is left is done, and asked for before data is moved`, () => {
    const plan = planRestoreSnapshot(lab, at(point), args, SCRIPT);
    assert.equal(
      ids(plan)
        .filter((id) => /(stop|aside|reset|enable|start)$/.test(id))
        .map((id) => id.replace('k3s-cp-', '')),
      steps,
    );
    assert.equal(
      plan.steps.filter((one) => one.destroys).map(({ id }) => id),
      destroys,
    );
    assert.is(blockers(plan).join(), '');
  });

test('restore: once its snapshot is in, going on needs it no more, nor the NAS', () => {
  const nowhere = [
    { ...good, nas: { ok: true as const, value: [] } },
    { ...good, nas: { ok: false as const, reason: 'no answer' } },
  ];
  for (const snapshots of nowhere) {
    const gone = { snapshots, tokenHash: undefined };
    const plan = planRestoreSnapshot(lab, { ...at('reset'), ...gone }, args, SCRIPT);
    assert.equal(blockers(plan), []);
    assert.equal(ids(plan), ids(planRestoreSnapshot(lab, at('reset'), args, SCRIPT)));
    assert.throws(() => planRestoreSnapshot(lab, { ...at('aside'), ...gone }, args, SCRIPT), /there is no snapshot/);
  }
});

test('restore: why is said once, not with each step', () => {
  const text = planText('etcd-snapshot restore', planRestoreSnapshot(lab, seen, args, SCRIPT));
  assert.is(text.match(/is restored\b/g)?.length, 1, text);
});

test('restore: what is lost is said by the first step that stops a server', () => {
  const { steps } = planRestoreSnapshot(lab, seen, args, SCRIPT);
  const [first, ...more] = steps.filter(({ destroys }) => destroys);
  assert.equal([first?.id, more], ['k3s-cp-01/stop', []]);
  assert.match(first?.destroys?.[0] ?? '', /everything in the cluster that was made, changed or deleted since 20\d\d-/);
  // The restored cluster runs; what is moved is what the second one has.
  const [late] = planRestoreSnapshot(lab, at('reset'), args, SCRIPT).steps.filter(({ destroys }) => destroys);
  assert.match(late?.destroys?.[0] ?? '', /^what k3s-cp-02 had beside the restored cluster/);
});

const NEW = /^20270115T080000Z$/;
const EARLIER = /^20270115T070000Z$/;
const active = { units: { k3s: { state: 'active', enabled: true } } };
const courses: [what: string, seen: RestoreSeen, id: RegExp, done: object][] = [
  ['nothing begun', seen, NEW, {}],
  ['moved aside', at('aside'), EARLIER, { 'k3s-cp-01': 'aside' }],
  ['noted, and not moved', at('noted, and not moved'), NEW, {}],
  ['moved aside, and K3s was started since', at('aside', { 'k3s-cp-01': { ...bare, ...active } }), NEW, {}],
  [
    'moved aside, and it starts again and again',
    at('aside', { 'k3s-cp-01': { units: { k3s: { state: 'activating', enabled: true } }, etcdData: false } }),
    NEW,
    {},
  ],
  ['moved aside, and data was put there since', at('aside', { 'k3s-cp-01': held }), NEW, {}],
  [
    'moved aside, and the folder that keeps it was moved since',
    { ...at('aside'), traces: { 'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'aside') }) } },
    NEW,
    {},
  ],
  ['reset, and the second one moved', at('the second moved'), EARLIER, { 'k3s-cp-01': 'reset', 'k3s-cp-02': 'aside' }],
  [
    'the second one has joined and is tidy',
    at('the second tidied'),
    EARLIER,
    { 'k3s-cp-01': 'reset', 'k3s-cp-02': 'aside' },
  ],
  [
    'reset, and the old data was put back since',
    { ...at('reset'), traces: { 'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'reset') }) } },
    NEW,
    {},
  ],
  [
    'reset, by another restore',
    { ...at('reset'), traces: { 'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'reset'), restored: OLD }) } },
    NEW,
    {},
  ],
  [
    'one of another snapshot',
    { ...seen, traces: { 'k3s-cp-01': trace({ state: state(ID, 'k3s-cp-01', 'reset', 'other'), restored: ID }) } },
    NEW,
    {},
  ],
  [
    'one of two days ago',
    { ...seen, traces: { 'k3s-cp-01': trace({ state: state(OLD, 'k3s-cp-01', 'reset'), restored: OLD }) } },
    NEW,
    {},
  ],
  [
    'what only the second one was left with',
    { ...seen, traces: { 'k3s-cp-02': trace({ state: state(ID, 'k3s-cp-01', 'aside'), kept: [ID] }) } },
    NEW,
    {},
  ],
];
for (const [what, before, id, done] of courses)
  test(`restore, after a run that was interrupted: ${what}`, () => {
    const course = courseOf(lab, before, args);
    assert.match(course.id, id);
    assert.equal(course.done, done);
    assert.is(course.target, 'k3s-cp-01');
  });

test('restore: what it has left on a server; an answer that broke off is none', () => {
  const said = `id=${ID}\nsnapshot=s\ntarget=t\nstage=aside\nrestored=${OLD}\nkept=${OLD}\nkept=${ID}\ndata-dir=/etc/x.yaml\ndisk=/d\n`;
  assert.equal(parseTrace(`${said}end=yes\n`), {
    state: { id: ID, snapshot: 's', target: 't', stage: 'aside' },
    ...{ restored: OLD, kept: [OLD, ID], dataDir: ['/etc/x.yaml'], disks: ['/d'] },
  });
  assert.equal(parseTrace('end=yes\n'), { state: undefined, restored: undefined, kept: [], dataDir: [], disks: [] });
  assert.is(parseTrace(said), undefined);
});

test('restore: what it has left that cannot be read is not taken for nothing', async () => {
  const said = async (answer: object): Promise<string> =>
    readTrace('k3s-cp-02', { read: async () => answer } as unknown as SshReader).then(
      () => '',
      (error: Error) => error.message,
    );
  const answered = (stdout: string): object => ({ ok: true, value: { code: 0, stdout, stderr: '' } });
  assert.is(await said(answered('end=yes\n')), '');
  assert.is(
    await said(answered('kept=x\n')),
    'what restores have left on k3s-cp-02 cannot be read: the answer broke off',
  );
  assert.match(await said({ ok: false, reason: 'no answer' }), /cannot be read: no answer$/);
});

test('restore, blocked: data that lies elsewhere, a server that is left out and runs', () => {
  const file = '/etc/rancher/k3s/config.yaml.d/own.yaml';
  const moved = { ...seen, traces: { 'k3s-cp-02': trace({ dataDir: [file] }) } };
  assert.equal(blockers(planRestoreSnapshot(lab, moved, args, SCRIPT)), [
    `${file} on k3s-cp-02 sets data-dir: etcd's data is not where it is looked for`,
  ]);
  const disk = '/var/lib/rancher/k3s/server/db/etcd';
  const own = { ...seen, traces: { 'k3s-cp-01': trace({ disks: [disk] }) } };
  assert.match(
    blockers(planRestoreSnapshot(lab, own, args, SCRIPT)).join(),
    `${disk} on k3s-cp-01 is a disk of its own`,
  );
  const without = { ...args, without: ['k3s-cp-02'] };
  assert.match(blockers(planRestoreSnapshot(lab, seen, without, SCRIPT)).join(), /^--without k3s-cp-02: it answers/);
});

test('restore, blocked: a server that homelab.yaml does not name would go on with the data of now', () => {
  const { cluster } = seen.k3s;
  if (!cluster.answers) throw new Error('no cluster');
  const like = cluster.nodes.find(({ name }) => name === 'k3s-cp-02');
  if (!like) throw new Error('no node');
  const withThird = (change: Partial<typeof like>): RestoreSeen['k3s'] => ({
    ...seen.k3s,
    cluster: { ...cluster, nodes: [...cluster.nodes, { ...like, name: 'k3s-cp-03', ...change }] },
  });
  const said = (before: RestoreSeen): string => blockers(planRestoreSnapshot(lab, before, args, SCRIPT)).join();
  assert.match(said({ ...seen, k3s: withThird({}) }), /^k3s-cp-03 is a server of the cluster, and homelab.yaml has no/);
  assert.is(said({ ...seen, k3s: withThird({ ready: false }) }), '');
  assert.is(said({ ...seen, k3s: withThird({ member: false }) }), '', 'an agent takes no part in it');
  // The snapshot may remember it as Ready; by then it is another cluster's.
  assert.is(said({ ...at('the second tidied'), k3s: withThird({}) }), '');
});

test('restore, blocked: a server that was moved aside, and then began a cluster of its own', () => {
  const before = at('the second tidied');
  const nodes = before.k3s.cluster.answers ? before.k3s.cluster.nodes : [];
  const said = (uid: string): string => {
    const views = { 'k3s-cp-01': nodes, 'k3s-cp-02': nodes.map((node) => ({ ...node, uid: uid || node.uid })) };
    return blockers(planRestoreSnapshot(lab, { ...before, k3s: { ...before.k3s, views } }, args, SCRIPT)).join();
  };
  assert.is(said(''), '');
  assert.match(said('other'), /^k3s on k3s-cp-02 was started meanwhile, and is a cluster beside the restored one/);
});

test('restore: a majority that is left out would be the old cluster, were it to come back', () => {
  const third = labWith(({ k3s }) => {
    const gpu = k3s.nodes.find(({ name }) => name === 'k3s-gpu-01');
    if (gpu) gpu.role = 'server';
  });
  const gone = { reachable: false as const, reason: 'no answer' };
  const k3s = { ...seen.k3s, hosts: { ...seen.k3s.hosts, 'k3s-cp-02': gone, 'k3s-gpu-01': gone } };
  const warned = (...without: string[]): string[] =>
    planRestoreSnapshot(third, { ...seen, k3s }, { ...args, without }, SCRIPT)
      .notes.filter(({ level }) => level === 'warning')
      .map(({ text }) => text);
  assert.match(warned('k3s-cp-02', 'k3s-gpu-01').join(), /^k3s-cp-02, k3s-gpu-01 are left out, and have a majority/);
  assert.match(
    warned('k3s-cp-02').join(),
    /^k3s-cp-02 is left out: were it to come back with its old data, it could not/,
  );
});

test('restore: a server that would start a cluster of its own is told whom to join', () => {
  const config = 'cluster-init: true\n';
  const plan = planRestoreSnapshot(lab, { ...seen, k3s: withFacts(seen.k3s, 'k3s-cp-02', { config }) }, args, SCRIPT);
  const join = plan.steps.find(({ id }) => id === 'k3s-cp-02/join');
  assert.match(JSON.stringify(join?.action), 'cluster-init: false\\nserver: https://10.20.11.80:6443');
});

test('restore: one that lies on a server only is restored there', () => {
  const local = withServer('k3s-cp-02', { local: [{ name: 'on-demand-k3s-cp-02-1', bytes: 1, time: NOW - 60 }] });
  const from = { ...seen, snapshots: local, tokenHash: undefined };
  const course = courseOf(lab, from, { snapshot: 'on-demand-k3s-cp-02-1', without: [] });
  assert.equal([course.target, course.others], ['k3s-cp-02', ['k3s-cp-01']]);
  assert.throws(() => courseOf(lab, from, { snapshot: 'on-demand-k3s-cp-01-1', without: [] }), /there is no snapshot/);
});

test('restore, blocked: another token, no K3s, a server that does not answer', () => {
  const said = (change: Partial<RestoreSeen>): string =>
    blockers(planRestoreSnapshot(lab, { ...seen, ...change }, args, SCRIPT)).join();
  assert.match(
    said({ tokenHash: { ok: true, value: 'other' } }),
    /is of a cluster with another token than k3s-cp-01 has/,
  );
  const hosts = { ...seen.k3s.hosts, 'k3s-cp-02': { reachable: false as const, reason: 'no answer' } };
  assert.match(
    said({ k3s: { ...seen.k3s, hosts } }),
    /^k3s-cp-02 is not reachable: no answer; if its K3s runs, it goes on/,
  );
  assert.match(
    said({ k3s: withFacts(withFacts(seen.k3s, 'k3s-cp-01', { units: {} }), 'k3s-cp-02', { units: {} }) }),
    /K3s is not installed on k3s-cp-01/,
  );
  // After an uninstall there is no token, or that of another cluster: a cluster that gets one would have to go again.
  const none = withFacts(withFacts(seen.k3s, 'k3s-cp-01', { units: {} }), 'k3s-cp-02', { units: {} });
  const fix = (tokenHash: string | undefined): string =>
    planRestoreSnapshot(lab, { ...seen, k3s: { ...none, tokenHash } }, args, SCRIPT)
      .notes.map((note) => note.fix)
      .join();
  assert.match(
    fix(undefined),
    /^first put the part after "::server:" of .*\/homelab-k3s-cp-01-\d+\.token into .*install-k3s/,
  );
  assert.match(fix('other'), /^first put/);
  assert.match(fix(TOKEN_HASH), /^run install-k3s: it makes an empty cluster/);
});

test('restore: a snapshot that is not whole is refused', () => {
  const torn = { ...good, nas: { ok: true as const, value: [snapshot('k3s-cp-01', HOUR, { whole: false })] } };
  assert.throws(
    () => courseOf(lab, { ...seen, snapshots: torn }, args),
    /is not whole: its SHA-256 or its token is missing/,
  );
});

test.run();
