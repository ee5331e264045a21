import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ProgramResult } from '../lib/lab/types.ts';
import { at } from '../lib/loose.ts';
import { type Bench, bench, type FakeHost, object, SERVER, threeNodes } from './cluster-fixture.ts';

/** What the emulator does of `k3s etcd-snapshot` and `k3s server --cluster-reset`, as strictly as K3s or more so. */
const test = suite<{ lab: Bench }>('snapshots of etcd, and resets');
test.before.each(async (context) => {
  context.lab = await bench();
});
test.after.each(async ({ lab }) => lab.close());

const CONFIG = '/etc/rancher/k3s/config.yaml';
const DATABASE = 'var/lib/rancher/k3s/server/db';
const SNAPSHOTS = `/${DATABASE}/snapshots`;
const map = (name: string) => object('v1', 'ConfigMap', name, 'default', { data: { a: 'b' } });

const k3s = async (lab: Bench, host: FakeHost, ...args: string[]): Promise<ProgramResult> =>
  (await lab.cluster.programs.get('k3s')?.({
    ...{ host, argv: ['k3s', ...args], env: {}, cwd: '/', stdin: '', root: true },
  })) ?? { code: 127 };

const start = async (lab: Bench, host: FakeHost): Promise<boolean> =>
  (await lab.cluster.units.get('k3s')?.start(host))?.ok ?? false;
const stop = async (lab: Bench, ...hosts: FakeHost[]): Promise<void> => {
  for (const host of hosts) await lab.cluster.units.get('k3s')?.stop(host);
};

async function saved(lab: Bench, host: FakeHost): Promise<string> {
  const { code, stderr } = await k3s(lab, host, 'etcd-snapshot', 'save', '--name', 'before');
  assert.is(code, 0, stderr);
  const [, name = ''] = /msg="Snapshot (before-k3s-cp-01-\d+) saved\."/.exec(stderr ?? '') ?? [];
  return name;
}

const names = async (lab: Bench, host: FakeHost, kind: string): Promise<unknown[]> => {
  const { items } = (await lab.json(host, [kind])) as { items: unknown[] };
  return items.map((item) => at(item, 'metadata.name'));
};

test('they are saved, listed and deleted', async ({ lab }) => {
  const { first } = await threeNodes(lab);
  const name = await saved(lab, first);
  assert.match((await k3s(lab, first, 'etcd-snapshot', 'ls')).stdout ?? '', `${name} file://${SNAPSHOTS}/${name} `);
  assert.equal(await names(lab, first, 'etcdsnapshotfile'), [name]);
  assert.is((await k3s(lab, first, 'etcd-snapshot', 'delete', name)).code, 0);
  assert.is(first.readFile(`${SNAPSHOTS}/${name}`), undefined);
  assert.match((await k3s(lab, first, 'etcd-snapshot', 'delete', name)).stderr ?? '', /not found/);
});

test('a restore brings back what was there, with the same identity, and takes away what came later', async ({
  lab,
}) => {
  const { first, second } = await threeNodes(lab);
  await lab.apply(first, map('old'));
  const uid = at(await lab.json(first, ['configmap', 'old']), 'metadata.uid');
  const name = await saved(lab, first);
  await lab.kubectl(first, ['delete', 'configmap', 'old']);
  await lab.apply(first, map('new'));
  await stop(lab, first, second);
  const reset = await k3s(lab, first, 'server', '--cluster-reset', `--cluster-reset-restore-path=${SNAPSHOTS}/${name}`);
  assert.is(reset.code, 0, reset.stderr);
  assert.match(reset.stderr ?? '', 'membership has been reset, restart without --cluster-reset flag now');
  assert.is.not(first.readFile(`/${DATABASE}/reset-flag`), undefined);

  assert.ok(await start(lab, first), first.journal.join('\n'));
  assert.is(first.readFile(`/${DATABASE}/reset-flag`), undefined);
  assert.is(at(await lab.json(first, ['configmap', 'old']), 'metadata.uid'), uid);
  assert.not.ok((await names(lab, first, 'configmap')).includes('new'));
  // Who owns which field came back too: what its manager no longer says goes.
  await lab.apply(first, object('v1', 'ConfigMap', 'old', 'default', { data: { c: 'd' } }));
  assert.equal(at(await lab.json(first, ['configmap', 'old']), 'data'), { c: 'd' });
  await lab.cluster.settle();

  assert.not(await start(lab, second), 'with its old data it is of another cluster');
  assert.match(second.journal.join('\n'), /cluster ID mismatch/);
  renameSync(join(second.root, DATABASE), join(second.root, `${DATABASE}.before`));
  assert.ok(await start(lab, second), second.journal.join('\n'));
  await lab.cluster.settle();
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02']);
  assert.is(lab.cluster.snapshot().clusters.length, 1);
});

test('what a reset refuses', async ({ lab }) => {
  const { first, second } = await threeNodes(lab);
  const name = await saved(lab, first);
  const reset = async (host: FakeHost, path = `${SNAPSHOTS}/${name}`, ...more: string[]): Promise<string> => {
    const argv = ['server', '--cluster-reset', `--cluster-reset-restore-path=${path}`, ...more];
    const { code, stderr = '' } = await k3s(lab, host, ...argv);
    assert.is(code, 1, stderr);
    return stderr;
  };
  assert.match(await reset(first), /address already in use/);
  await stop(lab, first);
  assert.match(await reset(first), /K3s still runs on k3s-cp-02/);
  await stop(lab, second);
  assert.match(await reset(first, '/tmp/none'), /snapshot path does not exist: \/tmp\/none/);
  first.writeFile('/tmp/torn', '{"caHash":');
  assert.match(await reset(first, '/tmp/torn'), /snapshot restore failed/);
  second.writeFile('/tmp/s', first.readFile(`${SNAPSHOTS}/${name}`) ?? '');
  assert.match(await reset(second, '/tmp/s'), /cannot perform cluster-reset while server URL is set/);
  first.writeFile('/tmp/other.yaml', `cluster-init: true\ntoken: other\n${SERVER}`);
  assert.match(await reset(first, `${SNAPSHOTS}/${name}`, '--config', '/tmp/other.yaml'), /different token/);
});

test('files of config.yaml.d count more than config.yaml', async ({ lab }) => {
  const { first } = await threeNodes(lab);
  const third = lab.host('k3s-cp-03', '10.20.11.82');
  third.writeFile(CONFIG, `cluster-init: true\ntoken: s3cret\n${SERVER}`);
  third.writeFile(`${CONFIG}.d/join.yaml`, 'cluster-init: false\nserver: https://10.20.11.80:6443\n');
  assert.ok(await start(lab, third), third.journal.join('\n'));
  await lab.cluster.settle();
  assert.ok((await names(lab, first, 'node')).includes('k3s-cp-03'));
});

test.run();
