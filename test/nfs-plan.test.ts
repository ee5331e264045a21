import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Lab } from '../lib/lab-context.ts';
import { planNfs } from '../lib/plan/nfs.ts';
import { collisions } from '../lib/plan/nfs-collisions.ts';
import { allowedOf, setByHand } from '../lib/plan/nfs-exports.ts';
import type { NfsClusterSeen, NfsHostSeen, NfsSeen } from '../lib/plan/nfs-seen.ts';
import type { Answer } from '../lib/ports/types.ts';
import { activeExports, exportsFile } from '../lib/render/exports.ts';
import { helmChart } from '../lib/render/helm-chart.ts';
import { settingsText } from '../lib/render/nas-settings.ts';
import { csiDriverChart, folderOf, IS_DEFAULT, nfsStorageClass, subDir } from '../lib/render/nfs.ts';
import { inOrder, type KubeObject } from '../lib/step.ts';
import { labWith } from './k3s-fixtures.ts';

const lab = labWith();
/** The same lab with a NAS that scripts can set. */
const linux = labWith((config) => {
  config.nas[0]!.kind = 'linux';
});
const unas = lab.config.nas[0]!;
const nfsClass = lab.config.storage_classes[1]!;
const K3S = ['10.20.11.80', '10.20.11.81', '10.20.11.85'];
const PROXMOX = ['10.20.11.11', '10.20.11.12', '10.20.11.13'];

const Render = suite('exports and classes as text');
Render('an export is for those that homelab.yaml names, by address', () => {
  assert.equal(
    allowedOf(lab, unas).map(({ export: { name }, addresses }) => [name, addresses]),
    [
      ['VMStorage', PROXMOX],
      ['K3sStorage', K3S],
    ],
  );
});
Render('the exports file', () => {
  const [first, ...lines] = exportsFile(allowedOf(lab, unas)).split('\n');
  assert.match(first ?? '', /^# .*overwritten/);
  const options = '(rw,sync,no_subtree_check,no_root_squash)';
  assert.equal(lines, [
    `/var/nfs/shared/VMStorage ${PROXMOX.map((a) => a + options).join(' ')}`,
    `/var/nfs/shared/K3sStorage ${K3S.map((a) => a + options).join(' ')}`,
    '',
  ]);
});
Render('a path that exports(5) would split', () => {
  const odd = { export: { ...unas.exports[0]!, path: '/a b"#\\' }, addresses: ['10.0.0.1'] };
  assert.match(exportsFile([odd]), '\n/a\\040b\\042\\043\\134 10.0.0.1(');
  assert.equal(activeExports('/a\\040b 10.0.0.1(rw)'), [{ path: '/a b', client: '10.0.0.1' }]);
});
Render('what exportfs -s says', () => {
  assert.equal(activeExports('/a  10.0.0.1(sync,sec=sys,rw)\n/a  10.0.0.0/24(ro)\n/b  *(ro)\n'), [
    { path: '/a', client: '10.0.0.1' },
    { path: '/a', client: '10.0.0.0/24' },
    { path: '/b', client: '*' },
  ]);
  assert.equal(activeExports(''), []);
});
Render('what to enter by hand: a field a line, each client by its address, of no NAS that is set over SSH', () => {
  const lines = settingsText(setByHand(lab)).split('\n');
  const values = (name: string): string[] =>
    lines.flatMap((line) => (line.trim().startsWith(name) ? [line.trim().slice(name.length).trim()] : []));
  assert.equal(values('Hostname or IP'), K3S.slice(0, 2));
  assert.equal(values('client'), [...PROXMOX, ...K3S]);
  assert.equal([values('Squash'), values('Security'), values('Privilege')], [['No mapping'], ['sys'], ['Read/Write']]);
  assert.equal(values('Maximum NFS protocol'), ['NFSv4.1 or newer']);
  for (const path of ['/var/nfs/shared/VMStorage', '/volume1/k3s-backups'])
    assert.ok(
      lines.some((line) => line.endsWith(path)),
      path,
    );
  assert.not.match(settingsText(setByHand(linux)), 'unas');
});
Render('the folder of a claim', () => {
  assert.is(subDir('{namespace}-{pvc-name}'), '${pvc.metadata.namespace}-${pvc.metadata.name}');
  assert.is(folderOf('{namespace}-{pvc-name}', { namespace: 'a', name: 'b' }), 'a-b');
  assert.is(folderOf('x/{namespace}/{pv-name}', { namespace: 'a', name: 'b' }, 'pvc-1'), 'x/a/pvc-1');
});
Render('the class', () => {
  assert.equal(nfsStorageClass(nfsClass, unas, unas.exports[1]!), {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'nfs-client', annotations: { [IS_DEFAULT]: 'false' } },
    provisioner: 'nfs.csi.k8s.io',
    parameters: {
      server: '10.20.10.20',
      share: '/var/nfs/shared/K3sStorage',
      subDir: '${pvc.metadata.namespace}-${pvc.metadata.name}',
      onDelete: 'retain',
    },
    mountOptions: ['nfsvers=3', 'hard', 'noatime'],
    reclaimPolicy: 'Retain',
    volumeBindingMode: 'Immediate',
  });
});
Render.run();

const Collisions = suite('claims that share a folder');
const tables: [what: string, path: string, claims: string[], folders: string[]][] = [
  ['none', '{namespace}-{pvc-name}', ['a/b', 'a/c', 'b/b'], []],
  ['a dash on either side', '{namespace}-{pvc-name}', ['a/b-c', 'a-b/c', 'x/y'], ['a-b-c: a/b-c a-b/c']],
  ['three of them', '{namespace}-{pvc-name}', ['a/b-c-d', 'a-b/c-d', 'a-b-c/d'], ['a-b-c-d: a/b-c-d a-b/c-d a-b-c/d']],
  ['a slash is not ambiguous', '{namespace}/{pvc-name}', ['a/b-c', 'a-b/c'], []],
  ['only the name', '{pvc-name}', ['a/data', 'b/data'], ['data: a/data b/data']],
  ['volumes are unique', '{pvc-name}-{pv-name}', ['a/data', 'b/data'], []],
];
for (const [what, path, claims, folders] of tables)
  Collisions(what, () => {
    const parsed = claims.map((claim) => ({ namespace: claim.split('/')[0]!, name: claim.split('/')[1]! }));
    const found = collisions(path, parsed).map(
      ({ folder, claims: group }) =>
        `${folder}: ${group.map(({ namespace, name }) => `${namespace}/${name}`).join(' ')}`,
    );
    assert.equal(found, folders);
  });
Collisions.run();

const Planning = suite('plan of setup-nfs');

const localPath = (isDefault: string): KubeObject => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: 'local-path', annotations: { [IS_DEFAULT]: isDefault } },
  provisioner: 'rancher.io/local-path',
});
const wantedClass = nfsStorageClass(nfsClass, unas, unas.exports[1]!);
const chart = helmChart(csiDriverChart('4.13.4'));
const cluster: NfsClusterSeen = {
  chart: { chart, rolledOut: true },
  classes: [localPath('true'), wantedClass],
  claims: [],
  pods: [],
};
const storage = {
  ...{ storage: 'nas-vmstorage', type: 'nfs', server: '10.20.10.20', export: '/var/nfs/shared/VMStorage' },
  content: 'backup,images,iso',
};
const OPEN = ['10.20.10.20 2049', '10.20.10.20 111', '10.20.11.10 2049'];
/** A host with an NFS client that reaches every NAS; `change` what is otherwise. */
const host = (change: Partial<NfsHostSeen> = {}): Answer<NfsHostSeen> => ({
  ok: true,
  value: { client: true, open: OPEN, closed: [], exports: {}, broken: [], ...change },
});
const HOSTS = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01', 'pve-01', 'pve-02', 'pve-03'];
const everywhere = (change: Partial<NfsHostSeen> = {}): NfsSeen['hosts'] =>
  Object.fromEntries(HOSTS.map((name) => [name, host(change)]));
const NOW = Date.parse('2026-11-23T12:00:00Z');
const done: NfsSeen = {
  nas: {},
  hosts: everywhere(),
  applications: [],
  now: NOW,
  storages: { ok: true, value: [storage] },
  cluster: { ok: true, value: cluster },
};
const down = { ok: false as const, reason: 'down' };
const inCluster = (change: Partial<NfsClusterSeen>): Partial<NfsSeen> => ({
  cluster: { ok: true, value: { ...cluster, ...change } },
});
const file = exportsFile(allowedOf(linux, linux.config.nas[0]!));
const active = allowedOf(lab, unas)
  .flatMap(({ export: { path }, addresses }) => addresses.map((address) => `${path}  ${address}(rw)`))
  .join('\n');
const onNas = (change: Partial<{ file: string; active: string; missing: string[] }>): Partial<NfsSeen> => ({
  nas: { unas: { ok: true, value: { file, active, missing: [], ...change } } },
});
const claim = (namespace: string, name: string, storageClassName = 'nfs-client'): KubeObject => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { namespace, name },
  spec: { storageClassName },
});

const hanging = {
  ...{ source: '10.20.10.20:/var/nfs/shared/K3sStorage/a', why: 'Stale file handle' },
  target: '/var/lib/kubelet/pods/u-1/mount',
};
const creating = { containerStatuses: [{ state: { waiting: { reason: 'ContainerCreating' } } }] };
/** A pod of namespace `a` that has a claim. */
const pod = (name: string, more: { metadata?: object; status?: object }, claimName = 'data'): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'a', ...more.metadata }, status: more.status },
  spec: { nodeName: 'k3s-cp-01', volumes: [{ persistentVolumeClaim: { claimName } }] },
});

type Case = [what: string, lab: Lab, seen: Partial<NfsSeen>, steps: string[], notes?: string[]];
const cases: Case[] = [
  ['everything as it should be', lab, {}, []],
  ['the same on a Linux NAS', linux, onNas({}), []],
  [
    'nothing there',
    lab,
    {
      hosts: { ...everywhere(), 'k3s-cp-01': host({ client: false }) },
      storages: { ok: true, value: [] },
      ...inCluster({ chart: { rolledOut: false }, classes: [localPath('true')] }),
    },
    [
      'storage/nas-vmstorage: absent',
      'k3s-cp-01/apt-update: nfs-common is not installed',
      'k3s-cp-01/nfs-common: nfs-common is not installed',
      'csi-driver-nfs/chart: absent',
      'csi-driver-nfs/installed: absent',
      'csi-driver-nfs/rollout: absent',
      'class/nfs-client: absent',
    ],
  ],
  [
    'a new version of the driver',
    lab,
    inCluster({ chart: { chart: helmChart(csiDriverChart('4.13.0')), rolledOut: true } }),
    [
      'csi-driver-nfs/chart: spec.version differs',
      'csi-driver-nfs/installed: spec.version differs',
      'csi-driver-nfs/rollout: spec.version differs',
    ],
  ],
  [
    'interrupted while the chart was installed',
    lab,
    inCluster({ chart: { chart, rolledOut: false } }),
    ['csi-driver-nfs/installed: its workloads are not ready', 'csi-driver-nfs/rollout: not ready'],
  ],
  [
    'the install of the chart failed',
    lab,
    inCluster({
      chart: {
        chart,
        job: { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'x' }, status: { failed: 1 } },
        rolledOut: false,
      },
    }),
    [
      'csi-driver-nfs/retry: its last install failed',
      'csi-driver-nfs/installed: its workloads are not ready',
      'csi-driver-nfs/rollout: not ready',
    ],
  ],
  [
    'the class points elsewhere: it cannot be changed',
    lab,
    inCluster({
      classes: [localPath('true'), { ...wantedClass, parameters: { server: '10.0.0.1', share: '/x' } }],
    }),
    [
      'class/nfs-client/old: parameters.server, parameters.share, parameters.subDir and 1 more differ',
      'class/nfs-client: parameters.server, parameters.share, parameters.subDir and 1 more differ',
    ],
  ],
  [
    'the class has a parameter more',
    lab,
    inCluster({
      classes: [
        localPath('true'),
        { ...wantedClass, parameters: { ...(wantedClass.parameters as object), mountPermissions: '0777' } },
      ],
    }),
    ['class/nfs-client/old: parameters differ', 'class/nfs-client: parameters differ'],
  ],
  [
    'nfs-client was made the default',
    lab,
    inCluster({
      classes: [
        localPath('false'),
        { ...wantedClass, metadata: { name: 'nfs-client', annotations: { [IS_DEFAULT]: 'true' } } },
      ],
    }),
    [`class/nfs-client: metadata.annotations["${IS_DEFAULT}"] differs`, 'class/local-path: it is not'],
  ],
  [
    'a default that homelab.yaml does not know',
    lab,
    inCluster({
      classes: [
        localPath('true'),
        wantedClass,
        { ...localPath('true'), metadata: { name: 'longhorn', annotations: { [IS_DEFAULT]: 'true' } } },
      ],
    }),
    [],
    ['warning: StorageClass longhorn is a default too, and homelab.yaml does not name it'],
  ],
  [
    'no local-path',
    lab,
    inCluster({ classes: [wantedClass] }),
    [],
    ['warning: the cluster has no StorageClass local-path'],
  ],
  [
    'claims that share a folder',
    lab,
    inCluster({ claims: [claim('a', 'b-c'), claim('a-b', 'c'), claim('a', 'b'), claim('a-b', 'c', 'local-path')] }),
    [],
    ['warning: the claims a/b-c and a-b/c share the folder a-b-c of nfs-client'],
  ],
  [
    'claims of applications/ that would share a folder',
    lab,
    {
      ...inCluster({ claims: [claim('a', 'b-c')] }),
      applications: [
        { place: 'applications/x/pvc.yaml', object: claim('a-b', 'c') },
        { place: 'applications/x/again.yaml', object: claim('a', 'b-c') },
        {
          place: 'applications/y/db.yaml',
          object: {
            ...{ apiVersion: 'apps/v1', kind: 'StatefulSet', metadata: { name: 'web', namespace: 'y' } },
            spec: {
              replicas: 2,
              volumeClaimTemplates: [{ metadata: { name: 'data' }, spec: { storageClassName: 'nfs-client' } }],
            },
          },
        },
        { place: 'applications/z/pvc.yaml', object: claim('y-data', 'web-1') },
      ],
    },
    [],
    [
      'warning: the claims a/b-c and a-b/c (applications/x/pvc.yaml) share the folder a-b-c of nfs-client',
      'warning: the claims y/data-web-1 (applications/y/db.yaml) and y-data/web-1 (applications/z/pvc.yaml) share the folder y-data-web-1 of nfs-client',
    ],
  ],
  [
    'a NAS is off: said once, and before anything depends on it',
    lab,
    { hosts: everywhere({ open: [OPEN[2]!], closed: OPEN.slice(0, 2) }) },
    [],
    [`blocker: unas (10.20.10.20): NFS (port 2049) does not answer, asked from ${HOSTS.join(', ')}`],
  ],
  [
    'NFSv3 without a portmapper',
    lab,
    { hosts: everywhere({ closed: ['10.20.10.20 111'] }) },
    [],
    [
      `blocker: unas (10.20.10.20): its portmapper (port 111), which NFSv3 needs, does not answer, asked from ${HOSTS.join(', ')}`,
    ],
  ],
  [
    'a host cannot reach a NAS of which it is a client',
    lab,
    { hosts: { ...everywhere(), 'k3s-cp-02': host({ closed: ['10.20.10.20 2049'] }) } },
    [],
    ['blocker: unas (10.20.10.20): NFS (port 2049) does not answer k3s-cp-02, though it answers others'],
  ],
  [
    'a host cannot reach a NAS that it does not use',
    lab,
    { hosts: { ...everywhere(), 'pve-01': host({ closed: ['10.20.11.10 2049'] }) } },
    [],
  ],
  [
    'a Proxmox node cannot be asked',
    lab,
    { hosts: { ...everywhere(), 'pve-02': down } },
    [],
    ['warning: no answer by SSH from pve-02 (down): what can be mounted there cannot be tried'],
  ],
  [
    'the NAS says that it has no such export',
    lab,
    {
      hosts: {
        ...everywhere(),
        'k3s-cp-01': host({ exports: { '10.20.10.20': [{ path: '/var/nfs/shared/VMStorage', clients: ['*'] }] } }),
      },
    },
    [],
    ['blocker: unas has no export /var/nfs/shared/K3sStorage for k3s-cp-01 (it shows /var/nfs/shared/VMStorage)'],
  ],
  [
    'a NAS that shows each host only what it may mount, asked by who may not mount the other',
    lab,
    {
      hosts: {
        ...everywhere(),
        'pve-01': host({ exports: { '10.20.10.20': [{ path: '/var/nfs/shared/VMStorage', clients: ['*'] }] } }),
      },
    },
    [],
    [],
  ],
  [
    'the same of NFSv4, which may name it from another root: the mount will tell',
    lab,
    {
      hosts: {
        ...everywhere(),
        'k3s-cp-01': host({ exports: { '10.20.11.10': [{ path: '/exports/k3s-backups', clients: ['*'] }] } }),
      },
    },
    [],
    ['warning: synology has no export /volume1/k3s-backups for k3s-cp-01 (it shows /exports/k3s-backups)'],
  ],
  [
    'a mount that hangs after an outage, and the pod that has it',
    lab,
    {
      hosts: { ...everywhere(), 'k3s-cp-01': host({ broken: [hanging] }) },
      ...inCluster({ pods: [pod('web', { metadata: { uid: 'u-1' } })] }),
    },
    [],
    [
      'warning: k3s-cp-01: a mount of unas hangs, though unas answers: /var/lib/kubelet/pods/u-1/mount (Stale file handle)',
    ],
  ],
  [
    'a mount of another NAS is not ours to judge',
    lab,
    { hosts: { ...everywhere(), 'k3s-cp-01': host({ broken: [{ ...hanging, source: '10.9.9.9:/x' }] }) } },
    [],
  ],
  [
    'pods that are stuck with a volume on NFS',
    lab,
    inCluster({
      claims: [claim('a', 'data'), claim('a', 'local', 'local-path')],
      pods: [
        pod('starts', { status: { phase: 'Pending', startTime: '2026-11-23T11:50:00Z', ...creating } }),
        pod('just-starts', { status: { phase: 'Pending', startTime: '2026-11-23T11:58:00Z', ...creating } }),
        pod('ends', { metadata: { deletionTimestamp: '2026-11-23T11:50:00Z' } }),
        pod('just-ends', { metadata: { deletionTimestamp: '2026-11-23T11:59:30Z' } }),
        pod('elsewhere', { metadata: { deletionTimestamp: '2026-11-23T11:50:00Z' } }, 'local'),
        pod('runs', { status: { phase: 'Running', startTime: '2026-11-23T10:00:00Z' } }),
      ],
    }),
    [],
    [
      'warning: Pod a/starts on k3s-cp-01 is stuck (ContainerCreating) with a volume on NFS',
      'warning: Pod a/ends on k3s-cp-01 is stuck (Terminating) with a volume on NFS',
    ],
  ],
  [
    'an unknown placeholder',
    labWith((config) => {
      config.storage_classes[1]!.path = '{namespace}-{name}';
    }),
    inCluster({ classes: [localPath('true')] }),
    ['class/nfs-client: absent'],
    ['blocker: storage_classes: path of nfs-client has {name}, which is unknown'],
  ],
  [
    'no version of the driver',
    labWith((config) => {
      delete config.storage_classes[1]!.csi_driver_nfs;
    }),
    {},
    [],
    ['blocker: storage_classes: csi_driver_nfs is missing'],
  ],
  [
    'the cluster is down',
    lab,
    { cluster: down },
    [
      'csi-driver-nfs/chart: absent',
      'csi-driver-nfs/installed: absent',
      'csi-driver-nfs/rollout: absent',
      'class/nfs-client: absent',
    ],
    ['blocker: the cluster does not answer: down'],
  ],
  [
    'a node is down',
    lab,
    { hosts: { ...everywhere(), 'k3s-cp-02': down } },
    ['k3s-cp-02/apt-update: unknown', 'k3s-cp-02/nfs-common: unknown'],
    ['blocker: no answer by SSH from k3s-cp-02 (down)'],
  ],
  [
    'Proxmox is down',
    lab,
    { storages: down },
    ['storage/nas-vmstorage: absent'],
    ['blocker: the Proxmox API does not answer: down'],
  ],
  [
    'the storage is another export',
    lab,
    { storages: { ok: true, value: [{ ...storage, export: '/other' }] } },
    [],
    ['warning: the Proxmox storage nas-vmstorage is 10.20.10.20:/other, not 10.20.10.20:/var/nfs/shared/VMStorage'],
  ],
  [
    'the storage is a folder',
    lab,
    { storages: { ok: true, value: [{ storage: 'nas-vmstorage', type: 'dir', content: 'iso' }] } },
    [],
    ['warning: the Proxmox storage nas-vmstorage is of type dir, not nfs'],
  ],
  [
    'the storage holds less',
    lab,
    { storages: { ok: true, value: [{ ...storage, content: 'iso,vztmpl' }] } },
    ['storage/nas-vmstorage: it holds iso,vztmpl'],
  ],
  [
    'a Linux NAS without exports',
    linux,
    onNas({ file: undefined, active: '' }),
    ['unas/exports: absent', 'unas/exportfs: the exports change'],
  ],
  [
    'an export changed',
    linux,
    onNas({ file: '# old' }),
    ['unas/exports: differs', 'unas/exportfs: the exports change'],
  ],
  [
    'interrupted before exportfs',
    linux,
    onNas({ active: active.split('\n').slice(1).join('\n') }),
    ['unas/exportfs: not served to 10.20.11.11'],
  ],
  [
    'exported to others by another file',
    linux,
    onNas({ active: `${active}\n/var/nfs/shared/K3sStorage  10.20.11.0/24(ro)\n/srv/mine  *(ro)` }),
    [],
    ['warning: unas exports /var/nfs/shared/K3sStorage to 10.20.11.0/24 too, which homelab.yaml does not allow'],
  ],
  [
    'no folder',
    linux,
    onNas({ missing: ['/var/nfs/shared/K3sStorage'] }),
    [],
    ['blocker: unas has no folder /var/nfs/shared/K3sStorage'],
  ],
  [
    'no NFS server',
    linux,
    onNas({ active: undefined }),
    ['unas/exportfs: not served to 10.20.11.11, 10.20.11.12, 10.20.11.13, 10.20.11.80, 10.20.11.81, 10.20.11.85'],
    ['blocker: unas has no NFS server'],
  ],
  [
    'the NAS is off',
    linux,
    { nas: { unas: down } },
    ['unas/exports: absent', 'unas/exportfs: the exports change'],
    ['blocker: unas does not answer by SSH: down'],
  ],
];
for (const [what, of, seen, steps, notes = []] of cases)
  Planning(what, () => {
    const plan = planNfs(of, { ...done, ...seen });
    assert.equal(
      inOrder(plan).map(({ id, why }) => `${id}: ${why}`),
      steps,
    );
    const loud = plan.notes.filter(({ level }) => level !== 'info');
    assert.equal(
      loud.map(({ level, text }) => `${level}: ${text}`),
      notes,
    );
  });
Planning('that local-path is the default is K3s`s field, and taken over; what is ours is not forced on anybody', () => {
  const classes = [localPath('false'), { ...wantedClass, mountOptions: [] }];
  const { steps } = planNfs(lab, { ...done, ...inCluster({ classes }) });
  const forced = steps.map(({ id, action }) => [id, action.kind === 'kube' && action.force === true]);
  assert.equal(forced, [
    ['class/nfs-client', false],
    ['class/local-path', true],
  ]);
});

Planning('a NAS that does not say what it exports: where to read what to enter', () => {
  assert.equal(
    planNfs(lab, done).notes.map(({ text }) => text),
    ['unas', 'synology'].map(
      (name) => `the exports of ${name} are set by hand; npx tsx scripts/setup-nfs.ts --settings prints what to enter`,
    ),
  );
});
Planning('the storage is added as homelab.yaml says', () => {
  const [step] = planNfs(lab, { ...done, storages: { ok: true, value: [] } }).steps;
  assert.equal(step?.action, {
    kind: 'pve',
    method: 'POST',
    path: '/storage',
    params: {
      ...{ storage: 'nas-vmstorage', type: 'nfs', server: '10.20.10.20', export: '/var/nfs/shared/VMStorage' },
      ...{ content: 'images,backup,iso', options: 'vers=3' },
    },
    deadline: 120,
  });
});
Planning('what it may hold is only added to', () => {
  const [step] = planNfs(lab, {
    ...done,
    storages: { ok: true, value: [{ ...storage, content: 'vztmpl,iso' }] },
  }).steps;
  assert.equal(step?.action.kind === 'pve' && step.action.params, { content: 'vztmpl,iso,images,backup' });
});
Planning.run();
