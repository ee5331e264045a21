import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { KubeObject } from '../lib/step.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** remove-node as a person runs it, in the embedded lab; one story from test to test. */
const test = suite('remove-node in the lab');
const THIRD =
  '    - { name: k3s-cp-03, role: server, node: pve-01, vmid: 202, cores: 4, memory_gib: 8, disk_gib: 50 }\n';
const WORKER =
  '    - { name: k3s-worker-01, role: agent, node: pve-02, vmid: 211, cores: 4, memory_gib: 8, disk_gib: 50 }\n';
let lab: TestLab;
let ports: ReturnType<typeof buildPorts>;

const run = async (name: string, ...args: string[]) => {
  const ran = await lab.script(name, ...args);
  assert.is(ran.code, 0, ran.stderr);
  return ran;
};
const nodes = async (): Promise<string[]> => (await ports.kube.list('v1', 'Node')).map(({ metadata }) => metadata.name);
const hasK3s = (name: string): boolean => lab.host(name).readFile('/usr/local/bin/k3s') !== undefined;
const lockFile = (): string => readFileSync(join(lab.folder, 'homelab.lock.yaml'), 'utf8');

test.before(async () => {
  lab = await startTestLab({ change: (text) => text.replace(/( {4}- name: k3s-gpu-01\n)/, `${THIRD}${WORKER}$1`) });
  await run('network', 'allocate', '--yes');
  await run('install-k3s', '--yes');
  const opened = openLab(lab.configFile, {});
  ports = buildPorts(opened.lab, opened.secrets, opened.settings);
});
test.after(async () => {
  await ports.close();
  await lab.close();
});

test('a name that nobody has', async () => {
  const { code, stderr } = await lab.script('remove-node', 'k3s-worker-1', '--yes');
  assert.is(code, 2);
  assert.match(stderr, /there is no node "k3s-worker-1"[\s\S]*did you mean "k3s-worker-01"\?/);
  const limited = await lab.script('remove-node', 'k3s-worker-01', '--limit', 'k3s-cp-01');
  assert.is(limited.code, 2);
});

test('it says what is lost, and wants the node’s name', async () => {
  const claim: KubeObject = {
    ...{ apiVersion: 'v1', kind: 'PersistentVolumeClaim', metadata: { name: 'data', namespace: 'default' } },
    spec: {
      ...{ accessModes: ['ReadWriteOnce'], storageClassName: 'local-path' },
      resources: { requests: { storage: '20Gi' } },
    },
  };
  const pod: KubeObject = {
    ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'database', namespace: 'default' } },
    spec: {
      nodeSelector: { 'kubernetes.io/hostname': 'k3s-worker-01' },
      containers: [{ name: 'c', image: 'busybox:1.37', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
      volumes: [
        { name: 'data', persistentVolumeClaim: { claimName: 'data' } },
        { name: 'scratch', emptyDir: {} },
      ],
    },
  };
  await ports.kube.apply([claim, pod]);
  await lab.cluster.settle();
  const { code, stderr } = await lab.script('remove-node', 'k3s-worker-01', '--yes');
  assert.is(code, 2);
  assert.match(stderr, 'k3s-worker-01: the volume default/data (20Gi, local-path), which lies only there');
  assert.match(stderr, 'pods that nothing makes again: default/database');
  assert.match(stderr, 'what pods keep in an emptyDir: default/database');
  assert.match(stderr, 'give --confirm k3s-worker-01');
  assert.match(stderr, 'k3s-worker-01 is still in homelab.yaml: provision and install-k3s make it anew');
  assert.ok((await nodes()).includes('k3s-worker-01'));
  const check = await lab.script('remove-node', 'k3s-worker-01', '--check', '--json');
  assert.is(check.code, 3);
  assert.equal(
    (JSON.parse(check.stdout) as { plan: { steps: { id: string }[] } }).plan.steps.map(({ id }) => id),
    [...['cordon', 'drain', 'delete', 'gone', 'uninstall'].map((part) => `k3s-worker-01/${part}`)],
  );
});

test('an agent goes, and K3s with it; run again there is nothing to do', async () => {
  const { stderr } = await run('remove-node', 'k3s-worker-01', '--confirm', 'k3s-worker-01');
  assert.match(stderr, '✓ k3s-worker-01 is not in the cluster, and its password is forgotten');
  assert.match(stderr, '✓ no unit, no process and no folder of K3s is on k3s-worker-01');
  assert.not(hasK3s('k3s-worker-01'));
  assert.not((await nodes()).includes('k3s-worker-01'));
  const again = await run('remove-node', 'k3s-worker-01', '--yes');
  assert.match(again.stderr, 'k3s-worker-01 is not in the cluster, and nothing of K3s is on its machine');
});

test('a node of the same name joins again', async () => {
  await lab.destroy('k3s-worker-01');
  await lab.boot('k3s-worker-01');
  const { stderr } = await run('install-k3s', '--yes');
  assert.match(stderr, /✓ k3s-worker-01 is Ready/);
  assert.not.match(stderr, 'k3s-worker-01: delete its old Node');
});

test('while a server is down, another one is not taken out: the arithmetic, and what comes first', async () => {
  await lab.powerOff('k3s-cp-02');
  await lab.cluster.settle();
  const { code, stderr } = await lab.script('remove-node', 'k3s-cp-03', '--confirm', 'k3s-cp-03');
  assert.is(code, 1);
  assert.match(
    stderr,
    'etcd: 3 members, 2 needed (⌊3/2⌋+1), 2 ready; without k3s-cp-03 1 is left of 2, 2 needed then: it stops; start k3s-cp-02 first',
  );
  assert.ok((await nodes()).includes('k3s-cp-03'));
});

test('the one that is down goes: it cannot be drained, and it is said', async () => {
  const { stderr } = await run('remove-node', 'k3s-cp-02', '--confirm', 'k3s-cp-02');
  assert.match(stderr, 'k3s-cp-02 is not Ready: it cannot be drained');
  assert.not.match(stderr, 'k3s-cp-02: drain it');
  assert.match(stderr, '2 servers are left: 2 of 2 must answer, and none may be lost');
  assert.match(stderr, '✓ etcd has a majority of its 2 members');
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-03']);
});

test('made anew, it joins the survivors', async () => {
  await lab.destroy('k3s-cp-02');
  await lab.boot('k3s-cp-02');
  const { stderr } = await run('install-k3s', '--yes');
  assert.match(stderr, '✓ 3 voting members of etcd, the servers');
  assert.is(lab.cluster.snapshot().clusters.length, 1);
});

test('a server that homelab.yaml does not have any more: its lease stays while its machine runs', async () => {
  lab.edit(THIRD, '');
  const { stderr } = await run('remove-node', 'k3s-cp-03', '--confirm', 'k3s-cp-03');
  assert.match(stderr, 'its lease (10.20.11.82) stays while its machine answers there; run provision');
  assert.not(hasK3s('k3s-cp-03'));
  assert.is(lab.host('k3s-cp-03').readFile('/run/systemd/system/k3s.service.d/homelab-removal.conf'), undefined);
  assert.match(lockFile(), 'k3s-cp-03');
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02']);
});

test('when the machine is gone too, the lease is given back, after asking', async () => {
  await lab.destroy('k3s-cp-03');
  const { code, stderr } = await lab.script('remove-node', 'k3s-cp-03', '--yes');
  assert.is(code, 2);
  assert.match(stderr, '10.20.11.82 of k3s-cp-03: the next node may get it');
  await run('remove-node', 'k3s-cp-03', '--confirm', 'k3s-cp-03');
  assert.not.match(lockFile(), 'k3s-cp-03');
  const unknown = await lab.script('remove-node', 'k3s-cp-03', '--yes');
  assert.is(unknown.code, 2);
});

test('Ready, and no way to stop it: it would come back by itself', async () => {
  lab.host('k3s-worker-01').faults.denyLogin = true;
  const { code, stderr } = await lab.script('remove-node', 'k3s-worker-01', '--confirm', 'k3s-worker-01');
  lab.host('k3s-worker-01').faults.denyLogin = undefined;
  assert.is(code, 1);
  assert.match(stderr, 'k3s-worker-01 is Ready, and its machine cannot be reached to stop K3s there');
});

test('the first of two servers goes while both run; the last one never', async () => {
  const { stderr } = await run('remove-node', 'k3s-cp-01', '--confirm', 'k3s-cp-01');
  assert.match(stderr, '1 server is left: 1 of 1 must answer, and none may be lost');
  assert.match(stderr, '✓ etcd has a majority of its 1 member');
  assert.equal(await nodes(), ['k3s-cp-02', 'k3s-gpu-01', 'k3s-worker-01']);
  const last = await lab.script('remove-node', 'k3s-cp-02', '--confirm', 'k3s-cp-02');
  assert.is(last.code, 1);
  assert.match(last.stderr, 'k3s-cp-02 is the last server: without it there is no cluster');
});

test('the first server, made anew, joins the one that is left', async () => {
  await lab.destroy('k3s-cp-01');
  await lab.boot('k3s-cp-01');
  await run('install-k3s', '--yes');
  assert.is(lab.cluster.snapshot().clusters.length, 1);
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02']);
});

test('a cluster that does not answer: nothing is taken out of it', async () => {
  await lab.powerOff('k3s-cp-01');
  const { code, stderr } = await lab.script('remove-node', 'k3s-worker-01', '--confirm', 'k3s-worker-01');
  assert.is(code, 1);
  assert.match(stderr, 'the cluster does not answer, so k3s-worker-01 cannot be taken out of it');
});

test('a server that runs, and that the cluster does not know, may be the majority of another one', async () => {
  await lab.boot('k3s-cp-01');
  await run('install-k3s', '--yes');
  // Its Node goes, by hand, and it runs on: so it is in a split, too.
  await lab.asRoot('k3s-cp-01', 'k3s', 'kubectl', 'delete', 'node', 'k3s-cp-02');
  lab.host('k3s-cp-02').writeFile('/var/lib/homelab/etcd-before-reset-1/db', 'x', 0o600);
  const refused = await lab.script('remove-node', 'k3s-cp-02', '--confirm', 'k3s-cp-02');
  assert.is(refused.code, 1);
  assert.match(refused.stderr, 'k3s runs on k3s-cp-02, and the cluster of k3s-cp-01 does not know it');
  assert.ok(hasK3s('k3s-cp-02'));
  await lab.asRoot('k3s-cp-02', 'systemctl', 'stop', 'k3s');
  const { stderr } = await run('remove-node', 'k3s-cp-02', '--confirm', 'k3s-cp-02');
  assert.match(stderr, "k3s-cp-02: etcd's data in /var/lib/rancher/k3s/server/db/etcd");
  assert.match(stderr, 'k3s-cp-02: what etcd had before, put aside in /var/lib/homelab/etcd-before-reset-1');
  assert.not(hasK3s('k3s-cp-02'));
});

test.run();
