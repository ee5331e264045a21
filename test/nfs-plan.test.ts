import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Lab } from '../lib/lab-context.ts';
import { planNfs } from '../lib/plan/nfs.ts';
import { collisions } from '../lib/plan/nfs-collisions.ts';
import { allowedOf } from '../lib/plan/nfs-exports.ts';
import type { NfsClusterSeen, NfsSeen } from '../lib/plan/nfs-seen.ts';
import { activeExports, exportsFile, settingsToEnter } from '../lib/render/exports.ts';
import { helmChart } from '../lib/render/helm-chart.ts';
import { csiDriverChart, folderOf, IS_DEFAULT, nfsStorageClass, subDir } from '../lib/render/nfs.ts';
import { inOrder, type KubeObject } from '../lib/step.ts';
import { labWith } from './k3s-fixtures.ts';

const lab = labWith();
/** The same lab with a NAS that scripts can set. */
const linux = labWith((config) => {
  config.nas[0]!.kind = 'linux';
});
const [unas, synology] = lab.config.nas as [Lab['config']['nas'][0], Lab['config']['nas'][0]];
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
Render('what to enter by hand names path, addresses, squash and version', () => {
  const [vm] = allowedOf(lab, unas);
  const [backups] = allowedOf(lab, synology);
  for (const word of ['/var/nfs/shared/VMStorage', ...PROXMOX, 'no squash', 'NFS version 3'])
    assert.ok(settingsToEnter(unas, vm!).includes(word), word);
  for (const word of ['/volume1/k3s-backups', ...K3S, 'No mapping', 'NFSv4.1'])
    assert.ok(settingsToEnter(synology, backups!).includes(word), word);
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
};
const storage = {
  ...{ storage: 'nas-vmstorage', type: 'nfs', server: '10.20.10.20', export: '/var/nfs/shared/VMStorage' },
  content: 'backup,images,iso',
};
const yes = { ok: true as const, value: true };
const done: NfsSeen = {
  nas: {},
  nodes: { 'k3s-cp-01': yes, 'k3s-cp-02': yes, 'k3s-gpu-01': yes },
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

type Case = [what: string, lab: Lab, seen: Partial<NfsSeen>, steps: string[], notes?: string[]];
const cases: Case[] = [
  ['everything as it should be', lab, {}, []],
  ['the same on a Linux NAS', linux, onNas({}), []],
  [
    'nothing there',
    lab,
    {
      nodes: { 'k3s-cp-01': { ok: true, value: false } },
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
    { nodes: { ...done.nodes, 'k3s-cp-02': down } },
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
Planning('what a NAS must be told by hand is a note an export', () => {
  assert.is(planNfs(lab, done).notes.filter(({ text }) => text.startsWith('set by hand')).length, 3);
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
