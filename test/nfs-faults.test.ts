import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ofKind } from '../lib/kube-object.ts';
import type { KubeObject } from '../lib/step.ts';
import { type FullLab, startFullLab } from './full-lab.ts';
import { withPorts } from './lab-ports.ts';

/** What goes wrong with network storage: named, nothing half-done, and the next run converges. One story from test to test. */
const test = suite('setup-nfs and faults');
let full: FullLab;

const CLASS = { apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass' };
const classes = (): Promise<string[]> =>
  withPorts(full.workspace.configFile, async ({ kube }) => {
    const answer = await kube.survey([CLASS]);
    return answer.ok ? ofKind(answer.value, CLASS).map(({ metadata }) => metadata.name) : [];
  });
const onHost = (host: string, ...argv: string[]) =>
  withPorts(full.workspace.configFile, ({ ssh }) => ssh.run(host, argv, { sudo: true }));
const apply = (...objects: KubeObject[]) => withPorts(full.workspace.configFile, ({ kube }) => kube.apply(objects));
const folder = (name: string): string[] => readdirSync(join(full.workspace.folder, 'nas', 'unas', name));
/** Lines of a run's talk that begin with a mark. */
const marked = (stderr: string, mark: string): string[] => stderr.split('\n').filter((line) => line.startsWith(mark));

test.before(async () => {
  full = await startFullLab();
  const { code, stderr } = await full.script('install-k3s', '--yes');
  assert.is(code, 0, stderr);
});
test.after(() => full.close());

test('a NAS that is off: one message, and nothing that depends on it is touched', async () => {
  full.lab.nas.setDown('unas', true);
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  full.lab.nas.setDown('unas', false);
  assert.is(code, 1);
  assert.equal(marked(stderr, 'blocker'), [
    'blocker: unas (10.20.10.20): NFS (port 2049) does not answer, asked from k3s-cp-01, k3s-cp-02, k3s-gpu-01, pve-01, pve-02, pve-03; switch it on, and NFS in its settings',
  ]);
  assert.equal(await classes(), ['local-path']);
});

test('an export that is missing: told with what to enter, before anything is set up on it', async () => {
  full.lab.nas.faults.missing.add('unas/K3sStorage');
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  full.lab.nas.faults.missing.clear();
  assert.is(code, 1);
  assert.equal(marked(stderr, 'blocker'), [
    'blocker: unas has no export /var/nfs/shared/K3sStorage for k3s-cp-01, k3s-cp-02, k3s-gpu-01 (it shows /var/nfs/shared/VMStorage); set it: npx tsx scripts/setup-nfs.ts --settings prints what to enter',
  ]);
  assert.equal(await classes(), ['local-path']);
});

test('what to enter: a field a line, and nothing else', async () => {
  const { code, stdout, stderr } = await full.script('setup-nfs', '--settings');
  assert.is(code, 0, stderr);
  assert.match(stdout, /synology: Control Panel → Shared Folder → k3s-backups → Edit → NFS Permissions → Create/);
  assert.match(stdout, / {2}Hostname or IP +10\.20\.11\.80\n {2}Hostname or IP +10\.20\.11\.81\n/);
  assert.match(stdout, / {2}Squash +No mapping\n/);
  const json = await full.script('setup-nfs', '--settings', '--json');
  assert.equal(
    (JSON.parse(json.stdout) as { report: { nas: string }[] }).report.map(({ nas }) => nas),
    ['unas', 'synology'],
  );
});

test('a chart whose job fails: no class is set up on a driver that is not there; the rerun converges', async () => {
  full.lab.cluster.faults.helm['csi-driver-nfs'] =
    'Error: INSTALLATION FAILED: chart "csi-driver-nfs" matching 4.13.4 not found: no chart version found for csi-driver-nfs-4.13.4';
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  delete full.lab.cluster.faults.helm['csi-driver-nfs'];
  assert.is(code, 1);
  assert.match(stderr, /probable cause: the chart's repository has no such version/);
  assert.match(stderr, /– apply StorageClass nfs-client \(skipped/);
  assert.equal(await classes(), ['local-path']);
  const again = await full.script('setup-nfs', '--yes');
  assert.is(again.code, 0, again.stderr);
  assert.match(again.stderr, '20 of 20 proofs hold');
  assert.equal(await full.plannedBy('setup-nfs'), []);
});

test('stale handles: told of the export once, with what to do at the NAS; the proof leaves nothing', async () => {
  await onHost('k3s-cp-01', 'mkdir', '-p', '/mnt/old');
  await onHost('k3s-cp-01', 'mount', '-t', 'nfs', '10.20.10.20:/var/nfs/shared/K3sStorage', '/mnt/old');
  full.lab.nas.faults.stale.add('unas/K3sStorage');
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  assert.is(code, 1);
  assert.match(
    stderr,
    /warning: k3s-cp-01: a mount of unas hangs, though unas answers: \/mnt\/old \(mountpoint: \/mnt\/old: Stale file handle\); on k3s-cp-01: umount -l \/mnt\/old/,
  );
  const failed = marked(stderr, '✗').filter((line) => line.includes('unas has the export'));
  assert.is(failed.length, 1, stderr);
  assert.match(failed[0]!, /K3sStorage: stale file handle: .*`exportfs -ra`, or restart NFS, on unas/);
  full.lab.nas.faults.stale.clear();
  await onHost('k3s-cp-01', 'umount', '-l', '/mnt/old');
  const again = await full.script('setup-nfs', '--yes');
  assert.is(again.code, 0, again.stderr);
  assert.equal(folder('K3sStorage'), []);
});

test('a mount point with nothing mounted: named, and nothing lands on the local disk', async () => {
  full.lab.nas.faults.phantom.add('k3s-gpu-01');
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  full.lab.nas.faults.phantom.clear();
  assert.is(code, 1);
  assert.match(stderr, /✗ k3s-gpu-01 can use unas:\S+: mount said yes, and nothing is mounted/);
  const run = join(full.lab.machines.find('k3s-gpu-01')!.root, 'run');
  assert.equal(existsSync(run) ? readdirSync(run).filter((name) => name.startsWith('homelab-proof')) : [], []);
  const again = await full.script('setup-nfs', '--yes');
  assert.is(again.code, 0, again.stderr);
});

test('an export that is open: what to enter is printed below all proofs, of that NAS only', async () => {
  full.lab.nas.faults.open.add('unas');
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  full.lab.nas.faults.open.clear();
  assert.is(code, 1);
  const settings = stderr.indexOf('unas (10.20.10.20), UniFi Drive: Settings → Services');
  assert.ok(settings > stderr.lastIndexOf('✗'), stderr);
  assert.not.match(stderr, 'Control Panel');
});

test('claims that would share a folder are told, also of one that is not applied yet, and by check', async () => {
  await apply(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'a' } },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'b-c', namespace: 'a' },
      spec: {
        storageClassName: 'nfs-client',
        accessModes: ['ReadWriteMany'],
        resources: { requests: { storage: '1Mi' } },
      },
    },
  );
  const { mkdirSync, writeFileSync } = await import('node:fs');
  const at = join(full.workspace.folder, 'applications', 'twin');
  mkdirSync(at, { recursive: true });
  writeFileSync(
    join(at, 'pvc.yaml'),
    'apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: c, namespace: a-b }\nspec: { storageClassName: nfs-client }\n',
  );
  const said =
    'the claims a/b-c and a-b/c (applications/twin/pvc.yaml) share the folder a-b-c of nfs-client; rename one of them';
  const { stdout } = await full.script('setup-nfs', '--dry-run');
  assert.ok(stdout.includes(`warning: ${said}`), stdout);
  const check = await full.script('check');
  assert.ok(check.stdout.includes(said), check.stdout);
});

test('one look at each host: round trips of a converged run', async () => {
  const { openLab } = await import('../lib/lab-context.ts');
  const { observeNfs } = await import('../lib/observe/nfs.ts');
  const trips = await withPorts(full.workspace.configFile, async (ports) => {
    await observeNfs(openLab(full.workspace.configFile, {}).lab, ports);
    return ports.ssh.roundTrips();
  });
  // The first server answers for the cluster too.
  const once = { 'k3s-cp-02': 1, 'k3s-gpu-01': 1, 'pve-01': 1, 'pve-02': 1, 'pve-03': 1 };
  assert.equal(trips, { 'k3s-cp-01': 2, ...once });
});

test.run();
