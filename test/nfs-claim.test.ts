import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from '../lib/loose.ts';
import type { Kube, KubeRef } from '../lib/ports/types.ts';
import { WITNESS } from '../lib/render/nfs-errand.ts';
import type { KubeObject, Proof } from '../lib/step.ts';
import { proveClaim } from '../lib/verify/nfs-claim.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

/** The proof of a StorageClass against the embedded NAS, with objects kept in a Map and claims provisioned at once. */
const Claims = suite('a throw-away claim');
const SHARE = '/var/nfs/shared/K3sStorage';
let world: TestLab;
let objects: Map<string, KubeObject>;
let folder: string;

const keyOf = ({ kind, name, namespace = '' }: KubeRef): string => `${kind} ${namespace}/${name}`;
const put = (object: KubeObject): void =>
  void objects.set(keyOf({ ...object, name: object.metadata.name, namespace: object.metadata.namespace }), object);
const volume = (name: string, namespace: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'PersistentVolume',
  metadata: { name },
  spec: { storageClassName: 'nfs-client', claimRef: { namespace, name: 'claim' } },
});

/** What the kubelet does with the pod that writes. */
let runPod: (pod: KubeObject, volume: string) => void;
const writes: typeof runPod = (pod, volume) => {
  writeFileSync(join(volume, WITNESS), `${at(pod, 'spec.containers.0.env.0.value')}\n`);
  put({ ...pod, status: { phase: 'Succeeded' } });
};

/** @param subDir what the driver names the folder of a claim */
function kubeWith(subDir: (namespace: string, name: string) => string): Kube {
  return {
    reachable: async () => ({ ok: true, value: 'k3s-cp-01' }),
    get: async (ref) => objects.get(keyOf(ref)),
    list: async (_version, kind) => [...objects.values()].filter((object) => object.kind === kind),
    logs: async () => '',
    survey: async () => ({ ok: true, value: [] }),
    delete: async (refs) => {
      for (const ref of refs) objects.delete(keyOf(ref));
    },
    apply: async (applied) => {
      for (const object of applied) {
        put(object);
        const { name, namespace = '' } = object.metadata;
        if (object.kind === 'Pod') runPod(object, join(folder, subDir(namespace, 'claim')));
        if (object.kind !== 'PersistentVolumeClaim') continue;
        world.nas.provision('10.20.10.20', SHARE, subDir(namespace, name), '10.20.11.80');
        put(volume(`pvc-${namespace}`, namespace));
        put({ ...object, spec: { volumeName: `pvc-${namespace}` }, status: { phase: 'Bound' } });
      }
    },
  };
}

Claims.before(async () => {
  world = await testLab();
  folder = join(world.folder, 'nas', 'unas', 'K3sStorage');
  await world.start('k3s-cp-01');
  await world.ssh.run('k3s-cp-01', ['apt-get', 'install', '-y', 'nfs-common'], { sudo: true });
});
Claims.before.each(() => {
  objects = new Map();
  runPod = writes;
});
Claims.after(() => world.close());

const prove = (subDir = (namespace: string, name: string) => `${namespace}-${name}`): Promise<Proof[]> => {
  const clock = {
    now: () => new Date(),
    sleep: (seconds: number) => new Promise<void>((r) => setTimeout(r, seconds * 1000)),
  };
  return proveClaim(world.lab, { ssh: world.ssh, kube: kubeWith(subDir), clock }, world.lab.config.storage_classes[1]!);
};

Claims('binds, has its folder, and leaves nothing', async () => {
  const [proof, ...others] = await prove();
  assert.equal(others, []);
  assert.is(proof?.ok, true);
  assert.match(
    proof?.detail ?? '',
    /^bound; what a pod wrote is in homelab-proof-[0-9a-f]{8}-claim of unas\/K3sStorage$/,
  );
  assert.is(objects.size, 0);
  assert.equal(readdirSync(folder), []);
});

Claims('a driver that names folders otherwise is disproved', async () => {
  const [proof] = await prove((_, name) => `pvc-${name}`);
  assert.is(proof?.ok, false);
  assert.match(proof?.detail ?? '', /^bound, but homelab-proof-[0-9a-f]{8}-claim: the folder is not there$/);
  assert.equal(readdirSync(folder), ['pvc-claim']);
});

Claims('a pod that cannot write disproves it, in the kubelet`s words', async () => {
  runPod = (pod) => {
    put({ ...pod, status: { phase: 'Failed' } });
    const { namespace } = pod.metadata;
    const event = { apiVersion: 'v1', kind: 'Event', type: 'Warning', reason: 'FailedMount' };
    put({ ...event, metadata: { name: 'e', namespace }, message: 'MountVolume.SetUp failed :\n access denied' });
  };
  const [proof] = await prove();
  assert.is(proof?.ok, false);
  assert.is(proof?.detail, 'bound, but no pod can write into it: it failed; MountVolume.SetUp failed : access denied');
});

Claims('what a pod wrote elsewhere is not in the export', async () => {
  runPod = (pod) => put({ ...pod, status: { phase: 'Succeeded' } });
  const [proof] = await prove();
  assert.is(proof?.ok, false);
  assert.match(proof?.detail ?? '', /^bound, but homelab-proof-\w+-claim: what the pod wrote is not in it/);
});

Claims('what interrupted runs left goes too; what is not theirs stays', async () => {
  const label = { 'homelab/proof': 'nfs-client' };
  put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'homelab-proof-00000001', labels: label } });
  put(volume('pvc-2', 'homelab-proof-00000002'));
  put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'my-app', labels: label } });
  put(volume('pvc-mine', 'my-app'));
  for (const name of ['homelab-proof-00000001-claim', 'homelab-proof-00000002-claim', 'my-app-claim'])
    mkdirSync(join(folder, name));
  const [proof] = await prove();
  assert.is(proof?.ok, true);
  assert.equal([...objects.keys()].sort(), ['Namespace /my-app', 'PersistentVolume /pvc-mine']);
  assert.equal(readdirSync(folder), ['my-app-claim', 'pvc-claim']);
});

Claims('a folder that holds something is not removed, and said', async () => {
  const left = 'homelab-proof-00000003';
  put(volume('pvc-3', left));
  mkdirSync(join(folder, `${left}-claim`));
  writeFileSync(join(folder, `${left}-claim`, 'file'), '');
  const [proof] = await prove();
  assert.is(proof?.ok, false);
  assert.match(proof?.detail ?? '', `${left}-claim: the folder could not be removed`);
  assert.ok(existsSync(join(folder, `${left}-claim`, 'file')));
});
Claims.run();
