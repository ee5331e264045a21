import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ProgramResult } from '../lib/lab/types.ts';
import { at } from '../lib/loose.ts';
import { type Bench, bench, type FakeHost, object, SERVER, threeNodes } from './cluster-fixture.ts';

/** The emulated cluster where servers are lost, nodes are drained, and networks and clocks are wrong. */
const test = suite<{ lab: Bench }>('emulated K3s in trouble');
test.before.each(async (context) => {
  context.lab = await bench();
});
test.after.each(({ lab }) => lab.close());

const CONFIG = '/etc/rancher/k3s/config.yaml';
const JOIN = `server: https://10.20.11.80:6443\ntoken: s3cret\n${SERVER}`;
const start = async (lab: Bench, unit: string, host: FakeHost): Promise<boolean> =>
  (await lab.cluster.units.get(unit)?.start(host))?.ok ?? false;
const stop = async (lab: Bench, unit: string, host: FakeHost): Promise<void> => lab.cluster.units.get(unit)?.stop(host);
const run = async (lab: Bench, host: FakeHost, ...argv: string[]): Promise<ProgramResult> =>
  (await lab.cluster.programs.get(argv[0] ?? '')?.({ host, argv, env: {}, cwd: '/', stdin: '', root: true })) ?? {
    code: 127,
  };
const reset = (lab: Bench, host: FakeHost): Promise<ProgramResult> =>
  run(lab, host, 'k3s', 'server', '--cluster-reset');
const figures = async (lab: Bench, host: FakeHost): Promise<string> =>
  (await run(lab, host, 'curl', '-s', 'http://127.0.0.1:2381/metrics')).stdout ?? '';

test('etcd says how many members it has, and whether they are a majority', async ({ lab }) => {
  const { first, second, gpu } = await threeNodes(lab);
  assert.is((await figures(lab, first)).match(/known_peers.* 1$/gm)?.length, 2);
  assert.match(await figures(lab, first), /^etcd_server_has_leader 1$/m);
  await stop(lab, 'k3s', second);
  assert.match(await figures(lab, first), /^etcd_server_has_leader 0$/m);
  assert.is((await run(lab, second, 'curl', 'http://127.0.0.1:2381/metrics')).code, 7);
  assert.is((await run(lab, gpu, 'curl', 'http://127.0.0.1:2381/metrics')).code, 7);
});

test('without a majority nobody joins; after a reset of who is left, whoever is new does', async ({ lab }) => {
  const { first, second } = await threeNodes(lab);
  await lab.apply(first, object('v1', 'ConfigMap', 'kept', 'default', { data: { a: 'b' } }));
  await stop(lab, 'k3s', first);
  const rebuilt = lab.host('k3s-cp-01', '10.20.11.80');
  rebuilt.writeFile(CONFIG, JOIN.replace('.80:', '.81:'));
  assert.is(await start(lab, 'k3s', rebuilt), false);

  assert.match((await reset(lab, second)).stderr ?? '', /address already in use/);
  await stop(lab, 'k3s', second);
  assert.match((await reset(lab, second)).stderr ?? '', /cannot perform cluster-reset while server URL is set/);
  second.writeFile(CONFIG, `cluster-init: true\ntoken: s3cret\n${SERVER}`);
  const done = await reset(lab, second);
  assert.is(done.code, 0, done.stderr);
  assert.match((await reset(lab, second)).stderr ?? '', /was previously reset/);
  assert.ok(await start(lab, 'k3s', second), second.journal.join('\n'));
  assert.equal(
    lab.cluster.snapshot().clusters.map(({ servers }) => servers),
    [['k3s-cp-02']],
  );
  assert.is(at(await lab.json(second, ['configmap', 'kept', '-n', 'default']), 'data.a'), 'b');

  assert.match((await start(lab, 'k3s', first)) ? '' : first.journal.join('\n'), /cluster ID mismatch/);
  assert.is((await lab.kubectl(second, ['delete', 'node', 'k3s-cp-01'])).code, 0);
  assert.ok(await start(lab, 'k3s', rebuilt), rebuilt.journal.join('\n'));
  assert.equal(
    lab.cluster.snapshot().clusters.map(({ servers }) => servers),
    [['k3s-cp-01', 'k3s-cp-02']],
  );
});

test('a server that is killed while it starts is no member, and starts again later', async ({ lab }) => {
  const { second } = await threeNodes(lab);
  const third = lab.host('k3s-cp-03', '10.20.11.82');
  third.writeFile(CONFIG, JOIN);
  lab.cluster.faults.slow['k3s-cp-03/k3s'] = 60_000;
  const starting = start(lab, 'k3s', third);
  await stop(lab, 'k3s', third);
  assert.is(await starting, false);
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02']);
  assert.is(third.readFile('/var/lib/rancher/k3s/server/db/etcd/member/wal/0.wal'), undefined);
  delete lab.cluster.faults.slow['k3s-cp-03/k3s'];
  assert.ok(await start(lab, 'k3s', third));
  assert.ok(second);
});

test('a firewall between two etcds: the new one waits, until it is open', async ({ lab }) => {
  const { first } = await threeNodes(lab);
  const third = lab.host('k3s-cp-03', '10.20.11.82');
  third.writeFile(CONFIG, JOIN);
  lab.cluster.faults.blocked = [{ from: 'k3s-cp-01', to: 'k3s-cp-03', port: 2380 }];
  const starting = start(lab, 'k3s', third);
  while (!third.journal.some((line) => line.includes('promoted from learner')))
    await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02']);
  lab.cluster.faults.blocked = [];
  assert.ok(await starting);
  assert.ok(lab.cluster.route(third, first.address, 2380));
  lab.cluster.faults.blocked = [{ from: 'k3s-cp-03', to: 'k3s-cp-01', port: 6443 }];
  assert.is(lab.cluster.route(third, first.address, 6443), undefined);
  assert.ok(lab.cluster.route(first, third.address, 6443), 'the other way is open');
});

test('a clock that is behind: certificates are not valid yet', async ({ lab }) => {
  await threeNodes(lab);
  const late = lab.host('k3s-agent-09', '10.20.11.90');
  late.writeFile(CONFIG, 'server: https://10.20.11.80:6443\ntoken: s3cret\n');
  lab.cluster.faults.clocks['k3s-agent-09'] = -600;
  assert.is(await start(lab, 'k3s-agent', late), false);
  assert.match(late.journal.join('\n'), /certificate has expired or is not yet valid/);
  const { stdout } = await run(lab, late, 'date', '-u', '+%s');
  assert.ok(Math.abs(Number(stdout) + 600 - Date.now() / 1000) < 5);
});

const container = { name: 'web', image: 'nginx' };
const onFirst = { nodeSelector: { 'kubernetes.io/hostname': 'k3s-cp-01' } };

test('a drain evicts; bare pods, local storage and budgets stop it, by name', async ({ lab }) => {
  const { first } = await threeNodes(lab);
  const template = {
    metadata: { labels: { app: 'web' } },
    spec: { ...onFirst, containers: [container], volumes: [{ name: 'tmp', emptyDir: {} }] },
  };
  await lab.apply(
    first,
    object('v1', 'Pod', 'bare', 'default', { spec: { ...onFirst, containers: [container] } }),
    object('apps/v1', 'Deployment', 'web', 'default', {
      spec: { replicas: 1, selector: { matchLabels: { app: 'web' } }, template },
    }),
    object('policy/v1', 'PodDisruptionBudget', 'web', 'default', {
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } },
    }),
  );
  await lab.cluster.settle();
  const drain = (...flags: string[]): Promise<ProgramResult> =>
    lab.kubectl(first, ['drain', 'k3s-cp-01', '--ignore-daemonsets', '--timeout=1s', ...flags]);
  assert.match(
    (await drain()).stderr ?? '',
    /declare no controller .*: default\/bare, cannot delete Pods with local storage/,
  );
  await lab.kubectl(first, ['delete', 'pod', 'bare', '-n', 'default']);
  assert.match((await drain()).stderr ?? '', /local storage \(use --delete-emptydir-data to override\): default\/web-/);
  const guarded = await drain('--delete-emptydir-data');
  assert.is(guarded.code, 1);
  assert.match(
    guarded.stderr ?? '',
    /pods\/"web-\S+" -n "default" \(will retry after 5s\): Cannot evict pod as it would violate/,
  );
  assert.match(guarded.stderr ?? '', /global timeout reached: 1s/);
  await lab.kubectl(first, ['delete', 'pdb', 'web', '-n', 'default']);
  const done = await drain('--delete-emptydir-data');
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout ?? '', /node\/k3s-cp-01 drained/);
});

test.run();
