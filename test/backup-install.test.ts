import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { resultIn, resultLine } from '../lib/backup/pod-result.ts';
import type { Config } from '../lib/config/schema.ts';
import { readCrontab } from '../lib/observe/backup-install.ts';
import { installOperations } from '../lib/operations/backup-install.ts';
import { cronJobFindings } from '../lib/plan/backup-cronjob-findings.ts';
import { crontabWith, holdsBlock, planCrontab } from '../lib/plan/backup-crontab.ts';
import { fingerprint, planInstallCronJob, planRemoveCronJob } from '../lib/plan/backup-install.ts';
import type { ClusterSeen } from '../lib/plan/backup-install-seen.ts';
import { lookAtJob } from '../lib/plan/backup-job.ts';
import { realExec } from '../lib/ports/exec.ts';
import { majorOfImage, PROVEN } from '../lib/render/backup-cronjob.ts';
import type { KubeObject, Plan } from '../lib/step.ts';
import { object } from './cluster-fixture.ts';
import { labWith } from './k3s-fixtures.ts';
import { backupSeen } from './kube-objects.ts';

const test = suite('backup-postgres install');

const lab = labWith();
const said = ({ steps, notes }: Plan): string[] => [
  ...steps.map(({ id, why }) => `${id}: ${why}`),
  ...notes.map(({ level, text }) => `${level}: ${text}`),
];
const ids = ({ steps }: Plan): string[] => steps.map(({ id }) => id);

/** The cluster after everything was applied and proven. */
function installed(
  config: Config = lab.config,
  change: (objects: KubeObject[]) => KubeObject[] = (same) => same,
): ClusterSeen {
  const seen = backupSeen({ ...lab, config });
  const { steps } = planInstallCronJob(config, seen);
  const applied = steps.flatMap(({ action }) =>
    action.kind === 'kube'
      ? action.objects
      : action.kind === 'operation'
        ? [(action.args as { cronJob: KubeObject }).cronJob]
        : [],
  );
  const objects = applied.map((each): KubeObject => {
    if (each.kind === 'CronJob')
      return {
        ...each,
        metadata: { ...each.metadata, annotations: { [PROVEN]: `${fingerprint(each)} a-set` } },
        status: { lastSuccessfulTime: new Date(0).toISOString() },
      };
    return each.kind.startsWith('PersistentVolume') ? { ...each, status: { phase: 'Bound' } } : each;
  });
  const namespace = objects.find(({ kind }) => kind === 'Namespace');
  const ours = change(objects.filter(({ metadata }) => metadata.labels?.['homelab/backup']));
  return { ...seen, cluster: { ok: true, value: { namespace, objects: ours, passwords: 'same' } } };
}
const changed = (kind: string, change: (object: KubeObject) => KubeObject): ClusterSeen =>
  installed(lab.config, (all) => all.map((each) => (each.kind === kind ? change(each) : each)));

test('from nothing: everything in its order, the proof last, and no secret in the plan', () => {
  const plan = planInstallCronJob(lab.config, backupSeen(lab));
  assert.equal(
    ids(plan).map((id) => id.replace(/-[0-9a-f]{6}$/, '')),
    ['namespace', 'volume/backup-synology-k3s-backups', 'code', 'target', 'passwords', 'main/cronjob'],
  );
  const passwords = plan.steps.find(({ id }) => id === 'passwords');
  assert.equal(passwords?.action.kind === 'kube' && passwords.action.secrets, {
    POSTGRES_MAIN_PASSWORD: { secret: 'POSTGRES_MAIN_PASSWORD' },
  });
});

test('converged: nothing to do', () => assert.equal(said(planInstallCronJob(lab.config, installed())), []));

const AGAIN: [what: string, seen: ClusterSeen, steps: RegExp][] = [
  [
    'suspended',
    changed('CronJob', (each) => ({ ...each, spec: { ...(each.spec as object), suspend: true } })),
    /^main\/cronjob: somebody suspended it; spec.suspend differs$/,
  ],
  [
    'not proven yet',
    changed('CronJob', (each) => ({ ...each, metadata: { ...each.metadata, annotations: {} } })),
    /^main\/cronjob: no Job of it has proven a set yet$/,
  ],
  [
    'proven with another version',
    changed('CronJob', (each) => ({ ...each, metadata: { ...each.metadata, annotations: { [PROVEN]: 'other set' } } })),
    /^main\/cronjob: no Job of it has proven a set yet$/,
  ],
  [
    'its claim deleted: the volume is made anew, what is on the NAS stays',
    installed(lab.config, (all) =>
      all
        .filter(({ kind }) => kind !== 'PersistentVolumeClaim')
        .map((each) => (each.kind === 'PersistentVolume' ? { ...each, status: { phase: 'Released' } } : each)),
    ),
    /^old\/PersistentVolume\/.*: its claim was\nvolume\/.*: absent\nmain\/cronjob: what it runs with has changed$/,
  ],
  [
    'another engine',
    { ...installed(), bundle: 'a newer one' },
    /^code: absent\nmain\/cronjob: .*volumes.*differs\nold\/ConfigMap\/backup-postgres-\w+: nothing of homelab.yaml uses it any more$/,
  ],
  [
    'another password',
    { ...installed(), cluster: withPasswords(installed(), 'differ') },
    /^passwords: differ\nmain\/cronjob: what it runs with has changed$/,
  ],
];
for (const [what, seen, steps] of AGAIN)
  test(`again, ${what}`, () => assert.match(said(planInstallCronJob(lab.config, seen)).join('\n'), steps));

function withPasswords({ cluster }: ClusterSeen, passwords: 'differ' | 'absent'): ClusterSeen['cluster'] {
  return cluster.ok ? { ok: true, value: { ...cluster.value, passwords } } : cluster;
}

test('a namespace that others made keeps its labels', () => {
  const seen = backupSeen(lab);
  const namespace = object('v1', 'Namespace', 'homelab-backup', undefined, {});
  const cluster = { ok: true as const, value: { namespace, objects: [], passwords: 'absent' as const } };
  assert.not.ok(ids(planInstallCronJob(lab.config, { ...seen, cluster })).includes('namespace'));
});

test('a server that homelab.yaml no longer names loses its CronJob, nothing on the target', () => {
  const { config } = labWith((draft) => {
    const [main] = draft.backup!.postgresql;
    draft.backup!.postgresql = [main!, { ...main!, name: 'second' }];
  });
  const cluster = installed(config);
  const plan = planInstallCronJob(lab.config, cluster);
  assert.ok(said(plan).includes('old/CronJob/backup-second: nothing of homelab.yaml uses it any more'));
});

const AWAY: ClusterSeen['databases'] = { main: { ok: false, reason: 'no route' } };
const IMAGES: [what: string, image: string | undefined, databases: ClusterSeen['databases'], said: RegExp][] = [
  ['as the server says', undefined, backupSeen(lab).databases, /^$/],
  [
    'older than the server',
    'postgres:14.9-bookworm',
    backupSeen(lab).databases,
    /^blocker: PostgreSQL main is version 15\.18; the image postgres:14\.9-bookworm has 14, and pg_dump must not be older/,
  ],
  [
    'newer than the server',
    'registry.lan:5000/postgres:16.2-bookworm',
    backupSeen(lab).databases,
    /^warning: .* has 16: proofs run in another version$/,
  ],
  [
    'unknown, as the server is away',
    undefined,
    AWAY,
    /^blocker: PostgreSQL main cannot be reached: no route; its version decides which image dumps it$/,
  ],
  [
    'named, and the server is away',
    'postgres:15-bookworm',
    AWAY,
    /^warning: .* the CronJob keeps postgres:15-bookworm$/,
  ],
];
for (const [what, image, databases, expected] of IMAGES)
  test(`the image: ${what}`, () => {
    const { config } = labWith((draft) => Object.assign(draft.backup!.cronjob!, { postgres_image: image }));
    const { notes } = planInstallCronJob(config, { ...backupSeen({ ...lab, config }), databases });
    assert.match(notes.map(({ level, text }) => `${level}: ${text}`).join('\n'), expected);
  });

test('a server that is away keeps the image that its CronJob has', () => {
  const seen = installed();
  seen.databases = AWAY;
  assert.match(
    said(planInstallCronJob(lab.config, seen)).join('\n'),
    /^warning: .*the CronJob keeps postgres:15\.18-bookworm$/,
  );
});

test('the major of an image is that of its tag, not of a registry’s port', () => {
  for (const [image, major] of [
    ['postgres:15.18-bookworm', 15],
    ['registry.lan:5000/db/postgres:17-bookworm', 17],
    ['registry.lan:5000/postgres@sha256:00', undefined],
    [`postgres:16.4@sha256:${'0'.repeat(64)}`, 16],
  ] as const)
    assert.is(majorOfImage(image), major, image);
});

test('pods run on the nodes only that may mount the export', () => {
  const planned = (...clients: string[]): string => {
    const { config } = labWith((draft) => {
      const found = draft.nas.flatMap(({ exports }) => exports).find(({ name }) => name === 'k3s-backups');
      found!.clients = clients;
    });
    return JSON.stringify(planInstallCronJob(config, backupSeen({ ...lab, config })).steps);
  };
  assert.match(planned('k3s-cp-02'), /"kubernetes.io\/hostname","operator":"In","values":\["k3s-cp-02"\]/);
  assert.match(planned('k3s-servers'), /"values":\["k3s-cp-01","k3s-cp-02"\]/);
  assert.not.match(planned('k3s'), /nodeAffinity/);
});

test('nothing of the pod is root’s, unbounded, or the host’s', () => {
  const text = JSON.stringify(planInstallCronJob(lab.config, backupSeen(lab)));
  for (const word of ['"hostPath"', '"privileged"', '"hostNetwork"', '"emptyDir":{}'])
    assert.not.ok(text.includes(word), word);
  for (const word of [
    ...['"runAsNonRoot":true', '"readOnlyRootFilesystem":true', '"automountServiceAccountToken":false'],
    ...['"concurrencyPolicy":"Forbid"', '"restartPolicy":"Never"', '"persistentVolumeReclaimPolicy":"Retain"'],
    ...['"drop":["ALL"]', '"timeZone":"Etc/UTC"', '"activeDeadlineSeconds":21600', '"nfs":{"server":"10.20.11.10"'],
  ])
    assert.ok(text.includes(word), word);
});

test('--remove takes all of it, in an order in which nothing waits for the next', () => {
  const kinds = planRemoveCronJob(lab.config, installed()).steps.map(({ id }) => id.split('/')[1]);
  assert.equal([...new Set(kinds)], ['CronJob', 'Secret', 'ConfigMap', 'PersistentVolumeClaim', 'PersistentVolume']);
  const nothing = { ...backupSeen(lab) };
  assert.equal(said(planRemoveCronJob(lab.config, nothing)), []);
});

// ---- what check says

const HOUR = 3_600_000;
const FINDINGS: [what: string, seen: ClusterSeen, text: RegExp][] = [
  ['as wanted', { ...installed(), now: HOUR }, /^ok CronJob homelab-backup\/backup-main is as homelab.yaml says$/],
  ['absent', { ...backupSeen(lab), now: HOUR }, /^warning .* is not there: nothing backs main up by itself$/],
  [
    'long ago',
    { ...installed(), now: 30 * HOUR },
    /^warning .* its last Job that ended well did 30 h ago \(at most 26 h\)$/,
  ],
  [
    'never',
    { ...changed('CronJob', ({ status: _, ...each }) => each as KubeObject), now: HOUR },
    /^warning .*: no Job of it has ended well yet$/,
  ],
  [
    'another major',
    { ...installed(), now: HOUR, databases: upgraded() },
    /^warning .* has the image postgres:15\.18-bookworm; the server is version 16\.4$/,
  ],
];
for (const [what, seen, text] of FINDINGS)
  test(`check, ${what}`, () => {
    const found = cronJobFindings(lab.config, seen).map((one) => `${one.level} ${one.text}`);
    assert.match(found.join('\n'), text);
  });

function upgraded(): ClusterSeen['databases'] {
  const { main } = backupSeen(lab).databases;
  return main?.ok ? { main: { ...main, version: '16.4', major: 16 } } : {};
}

// ---- what is seen of a Job

const job = (status: object = {}): KubeObject => object('batch/v1', 'Job', 'j', 'n', { status });
const pod = (status: object): KubeObject => object('v1', 'Pod', 'p', 'n', { status });
const waitingFor = (reason: string, message = ''): object => ({
  phase: 'Pending',
  containerStatuses: [{ name: 'c', image: 'i:1', state: { waiting: { reason, message } } }],
});
const event = (reason: string, message: string): KubeObject =>
  object('v1', 'Event', 'e', 'n', { reason, message, involvedObject: { name: 'p' } });
const unschedulable = (message: string): object => ({
  phase: 'Pending',
  conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }],
});
const failed = (reason: string): object => ({ conditions: [{ type: 'Failed', status: 'True', reason, message: 'm' }] });

const LOOKS: [what: string, look: Parameters<typeof lookAtJob>, said: RegExp][] = [
  ['no Job', [undefined, [], [], 1], /^waiting .*not there yet/],
  ['done', [job({ conditions: [{ type: 'Complete', status: 'True' }] }), [], [], 1], /^succeeded/],
  ['failed', [job(failed('BackoffLimitExceeded')), [], [], 1], /^failed .*BackoffLimitExceeded: m/],
  ['too late', [job(failed('DeadlineExceeded')), [], [], 1], /^failed .*deadline_hours/],
  ['no pod', [job(), [], [], 1], /^waiting .*no pod yet/],
  [
    'a pod that is refused',
    [
      job(),
      [],
      [
        object('v1', 'Event', 'e', 'n', {
          reason: 'FailedCreate',
          message: 'exceeded quota',
          involvedObject: { name: 'j' },
        }),
      ],
      30,
    ],
    /^failed .*its pod is refused: exceeded quota/,
  ],
  [
    'a pod that never starts',
    [job(), [pod({ phase: 'Pending' })], [], 901],
    /^failed .*pod p has not started after 900 s/,
  ],
  ['runs', [job(), [pod({ phase: 'Running' })], [], 1], /^waiting .*Running/],
  ['a first pull that fails', [job(), [pod(waitingFor('ErrImagePull'))], [], 1], /^waiting .*ErrImagePull/],
  [
    'no image',
    [job(), [pod(waitingFor('ImagePullBackOff', 'not found'))], [], 1],
    /^failed .*not found.*i:1 cannot be pulled.*node_image/,
  ],
  ['no key', [job(), [pod(waitingFor('CreateContainerConfigError', 'no key x'))], [], 1], /^failed .*no key x/],
  [
    'a mount that may come',
    [job(), [pod({ phase: 'Pending' })], [event('FailedMount', 'timed out')], 5],
    /^waiting .*timed out/,
  ],
  [
    'mount denied',
    [job(), [pod({ phase: 'Pending' })], [event('FailedMount', 'access denied by server')], 70],
    /^failed .*does not let this node mount.*setup-nfs/,
  ],
  [
    'no NAS',
    [job(), [pod({ phase: 'Pending' })], [event('FailedMount', 'Connection timed out')], 70],
    /^failed .*does not answer from this node/,
  ],
  [
    'no export',
    [job(), [pod({ phase: 'Pending' })], [event('FailedMount', 'No such file or directory')], 70],
    /^failed .*no such export/,
  ],
  [
    'no room',
    [job(), [pod(unschedulable('0/3 nodes are available: 3 Insufficient memory.'))], [], 60],
    /^failed .*Insufficient memory.*has enough left/,
  ],
  [
    'cordoned',
    [job(), [pod(unschedulable('3 node(s) were unschedulable'))], [], 60],
    /^failed .*cordoned, tainted or down/,
  ],
  ['a node that may come back', [job(), [pod(unschedulable('3 node(s) were unschedulable'))], [], 5], /^waiting/],
];
for (const [what, look, expected] of LOOKS)
  test(`a Job, ${what}`, () => {
    const found = lookAtJob(...look);
    assert.match([found.state, ...Object.values(found)].join(' '), expected);
  });

test('the result is the last line that says so', () => {
  const result = { server: 'main', exit: 0, set: 's' };
  assert.equal(resultIn(`talk\n${resultLine({ server: 'main', exit: 1 })}\n${resultLine(result)}\nmore\n`), result);
  assert.is(resultIn('talk\n'), undefined);
  assert.is(resultIn('homelab-backup-result {cut of'), undefined);
});

// ---- this user's crontab

const LINES = 'CRON_TZ=UTC\n0 3 * * * run';
const OTHERS = '# mine\nMAILTO=me\n5 4 * * * /usr/bin/true';

test('a crontab keeps its other lines, and gets the block once', () => {
  const once = text(crontabWith('home', `${OTHERS}\n`, LINES));
  assert.ok(once.startsWith(`${OTHERS}\n# begin: backup-postgres of the lab home`));
  assert.ok(once.endsWith('# end: backup-postgres of the lab home\n'));
  assert.is(text(crontabWith('home', once, LINES)), once);
  assert.ok(holdsBlock('home', once, LINES) && !holdsBlock('home', once, `${LINES} x`));
  // Somebody added lines below: CRON_TZ must not count for them.
  const below = text(crontabWith('home', `${once}7 7 * * * /usr/bin/false\n`, LINES));
  assert.ok(below.startsWith(`${OTHERS}\n7 7 * * * /usr/bin/false\n# begin`));
  assert.is(text(crontabWith('home', once, undefined)), `${OTHERS}\n`);
  assert.is(text(crontabWith('home', '', undefined)), '');
  const two = text(crontabWith('other', once, LINES));
  assert.is(text(crontabWith('home', two, undefined)), text(crontabWith('other', `${OTHERS}\n`, LINES)));
});

test('a block that lost one of its lines is not guessed at', () => {
  const once = text(crontabWith('home', OTHERS, LINES));
  for (const broken of [once.replace(/# end.*/, ''), once.replace(/# begin.*/, ''), once + once]) {
    const plan = planCrontab('home', { home: 'cron', crontab: { ok: true, text: broken } }, LINES);
    assert.equal(plan.steps, []);
    assert.match(plan.notes[0]?.text ?? '', /no pair any more/);
  }
});

function text(wanted: ReturnType<typeof crontabWith>): string {
  if ('broken' in wanted) throw new Error(wanted.broken);
  return wanted.text;
}

test('crontab(1) is asked and told: none yet, some lines, one that refuses, no program', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-crontab-'));
  try {
    const table = join(folder, 'table');
    const program = (body: string): void => {
      writeFileSync(join(folder, 'crontab'), `#!/bin/sh\n${body}`);
      chmodSync(join(folder, 'crontab'), 0o755);
    };
    // As Debian's: -l says on stderr that there is none, and `-` reads a new table.
    program(
      `case "$1" in -l) cat '${table}' 2>/dev/null || { echo "no crontab for root" >&2; exit 1; };; -) cat > '${table}';; esac`,
    );
    const exec = realExec({ ...process.env, PATH: `${folder}:/usr/bin:/bin` });
    const operation = installOperations(lab).crontab!;
    const write = (lines: string | null) =>
      operation({ lines }, { ports: { exec } } as unknown as Parameters<typeof operation>[1]);
    assert.equal(await readCrontab(exec), { ok: true, text: '' });
    writeFileSync(table, `${OTHERS}\n`);
    await write(LINES);
    assert.ok(holdsBlock(lab.config.name, readFileSync(table, 'utf8'), LINES));
    await write(null);
    assert.is(readFileSync(table, 'utf8'), `${OTHERS}\n`);
    program('echo "you are not allowed to use this program" >&2; exit 1');
    const refused = await readCrontab(exec);
    assert.match(refused.ok ? '' : refused.reason, /not allowed/);
    const none = await readCrontab(realExec({ PATH: folder.replace('crontab', 'nothing') }));
    assert.match(none.ok ? '' : none.reason, /this machine has no crontab/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
