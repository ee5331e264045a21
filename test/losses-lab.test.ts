import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { installScript } from '../lib/lab/cluster/index.ts';
import { type Lab, openLab } from '../lib/lab-context.ts';
import { observeLosses } from '../lib/observe/losses.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { KubeObject } from '../lib/step.ts';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** What lies only on a VM, asked of a cluster of the embedded lab; one story from test to test. */
const test = suite('what would be lost with a VM');
const HOST = 'k3s-cp-01';
let harness: TestLab;
let lab: Lab;
let ports: ReturnType<typeof buildPorts>;

test.before(async () => {
  harness = await startTestLab({ nodes: [HOST] });
  const opened = openLab(harness.configFile, {});
  lab = opened.lab;
  ports = buildPorts(lab, opened.secrets, opened.settings);
});
test.after(async () => {
  await ports.close();
  await harness.close();
});

test('before there is K3s, it says why nothing could be asked', async () => {
  const { volumes, members, backups } = await observeLosses(lab, ports, ports);
  assert.match(volumes.ok ? '' : volumes.reason, /^k3s-cp-01: K3s is not installed; k3s-cp-02: /);
  assert.deepEqual(members, volumes);
  assert.deepEqual(backups, { ok: true, value: [{ server: 'main', hours: undefined }] });
});

test('volumes of local-path with their claims, and the members of etcd', async () => {
  const sudo = async (...argv: string[]): Promise<void> => {
    const { code, stderr } = await ports.ssh.run(HOST, argv, { sudo: true });
    assert.equal(code, 0, stderr);
  };
  await ports.ssh.upload(HOST, '/tmp/install.sh', installScript(), { mode: '0755', sudo: true });
  await ports.ssh.upload(HOST, '/etc/rancher/k3s/config.yaml', 'cluster-init: true\n', { mode: '0600', sudo: true });
  await sudo('env', `INSTALL_K3S_VERSION=${lab.config.k3s.version}`, 'K3S_TOKEN=x', 'sh', '/tmp/install.sh', 'server');
  const claim: KubeObject = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'data', namespace: 'default' },
    spec: {
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'local-path',
      resources: { requests: { storage: '20Gi' } },
    },
  };
  const pod: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'database', namespace: 'default' },
    spec: {
      containers: [{ name: 'c', image: 'busybox:1.37', volumeMounts: [{ name: 'data', mountPath: '/data' }] }],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
    },
  };
  await ports.kube.apply([claim, pod]);
  for (let tries = 0; tries < 100 && (await ports.kube.list('v1', 'PersistentVolume')).length === 0; tries += 1)
    await ports.clock.sleep(0.1);

  const { volumes, members } = await observeLosses(lab, ports, ports);
  assert.deepEqual(volumes.ok && volumes.value.map(({ name: _, ...volume }) => volume), [
    { node: HOST, claim: 'default/data', size: '20Gi', storageClass: 'local-path' },
  ]);
  assert.deepEqual(members, { ok: true, value: [{ name: HOST, ready: true }] });
});

test.run();
