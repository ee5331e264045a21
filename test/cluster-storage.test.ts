import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from '../lib/loose.ts';
import type { KubeObject } from '../lib/step.ts';
import { object } from './cluster-fixture.ts';
import { app, type ChainWorld, chainWorld, chart, must, namespace } from './cluster-parts.ts';

const test = suite<ChainWorld>('cluster storage and pods');
test.before.each(chainWorld);
test.after.each(async ({ lab }) => lab.close());

const claim = (name: string, storageClassName?: string): KubeObject =>
  object('v1', 'PersistentVolumeClaim', name, 'default', {
    spec: {
      accessModes: ['ReadWriteOnce'],
      ...(storageClassName ? { storageClassName } : {}),
      resources: { requests: { storage: '1Gi' } },
    },
  });
const writer = (name: string, claimName: string): KubeObject =>
  object('batch/v1', 'Job', name, 'default', {
    spec: {
      backoffLimit: 0,
      template: {
        spec: {
          restartPolicy: 'Never',
          containers: [
            {
              name: 'w',
              image: 'busybox:1.37',
              command: ['sh', '-c', 'echo proof > /data/file && cat /data/file'],
              volumeMounts: [{ name: 'data', mountPath: '/data' }],
            },
          ],
          volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
        },
      },
    },
  });
const CLASS = object('storage.k8s.io/v1', 'StorageClass', 'nfs-client', undefined, {
  provisioner: 'nfs.csi.k8s.io',
  parameters: {
    server: '10.20.10.20',
    share: '/var/nfs/shared/K3sStorage',
    subDir: '${pvc.metadata.namespace}-${pvc.metadata.name}',
    onDelete: 'retain',
  },
});
const CSI = chart(
  'csi-driver-nfs',
  'https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts',
  '4.13.4',
  'kube-system',
);

test('storage: nfs binds at once into {namespace}-{pvc}, local-path when somebody uses it', async (world) => {
  const { lab, first, nas } = world;
  await must(lab, first, CSI, CLASS, claim('media', 'nfs-client'), claim('database'));
  const phase = async (name: string) => at(await lab.json(first, ['pvc', name]), 'status.phase');
  assert.equal([await phase('media'), await phase('database')], ['Bound', 'Pending']);
  assert.ok(existsSync(join(nas, 'default-media')));
  await must(lab, first, writer('w1', 'media'), writer('w2', 'database'));
  assert.is(await phase('database'), 'Bound');
  assert.is(at(await lab.json(first, ['job', 'w1']), 'status.succeeded'), 1);
  assert.is(readFileSync(join(nas, 'default-media', 'file'), 'utf8'), 'proof\n');
  assert.is((await lab.kubectl(first, ['logs', 'job/w2'])).stdout, 'proof\n');
  assert.is((await lab.kubectl(first, ['delete', 'pvc', 'media', 'database', '--timeout=5s'])).code, 0);
  assert.ok(existsSync(join(nas, 'default-media')), 'onDelete: retain');
  assert.match(
    (await lab.apply(first, { ...CLASS, parameters: { server: 'other' } })).stderr ?? '',
    /parameters: Invalid value: .*: field is immutable/,
  );
});

test('storage: a node that the NAS does not know gets no volume, and is told why', async (world) => {
  const { lab, first, allowed } = world;
  allowed.clear();
  await must(lab, first, CSI, CLASS, claim('media', 'nfs-client'));
  assert.is(at(await lab.json(first, ['pvc', 'media']), 'status.phase'), 'Pending');
  assert.match(JSON.stringify(await lab.json(first, ['events'])), /access denied by server while mounting/);
  allowed.add('10.20.11.80').add('10.20.11.81');
  for (let left = 50; left > 0 && at(await lab.json(first, ['pvc', 'media']), 'status.phase') !== 'Bound'; left--)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(at(await lab.json(first, ['pvc', 'media']), 'status.phase'), 'Bound');
});

test('pods stay off the tainted node', async ({ lab, first }) => {
  await must(lab, first, namespace('my-app'), ...app('my-app', 'my-app'));
  await lab.kubectl(first, ['scale', 'deployment', 'my-app', '-n', 'my-app', '--replicas=4']);
  await lab.cluster.settle();
  const { items } = (await lab.json(first, ['pods', '-n', 'my-app'])) as { items: unknown[] };
  assert.is(items.length, 4);
  assert.not.ok(items.some((pod) => at(pod, 'spec.nodeName') === 'k3s-gpu-01'));
  const picky = app('picky', 'my-app')[0] as KubeObject;
  Object.assign(at(picky, 'spec.template.spec') as object, { nodeSelector: { 'nvidia.com/gpu.present': 'true' } });
  await must(lab, first, picky);
  assert.match(
    JSON.stringify(await lab.json(first, ['events', '-n', 'my-app'])),
    /untolerated taint\(s\) \{dedicated: gpu\}/,
  );
});

test('pods of a lost node are replaced on another', async (world) => {
  const { lab, first, gpu } = world;
  const tolerant = app('tolerant', 'default')[0] as KubeObject;
  const spec = at(tolerant, 'spec.template.spec') as object;
  Object.assign(spec, { tolerations: [{ operator: 'Exists' }] });
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) await lab.kubectl(first, ['cordon', name]);
  await must(lab, first, tolerant);
  for (const name of ['k3s-cp-01', 'k3s-cp-02']) await lab.kubectl(first, ['uncordon', name]);
  const node = async (): Promise<unknown> => {
    const { items } = (await lab.json(first, ['pods', '-l', 'app=tolerant'])) as { items: unknown[] };
    return items.length === 1 && at(items[0], 'status.phase') === 'Running' ? at(items[0], 'spec.nodeName') : undefined;
  };
  assert.is(await node(), 'k3s-gpu-01');
  await lab.cluster.units.get('k3s-agent')?.stop(gpu);
  for (let left = 100; left > 0 && !/cp/.test(String(await node())); left--)
    await new Promise((resolve) => setTimeout(resolve, 20));
  assert.match(String(await node()), /^k3s-cp-0/);
});

test.run();
