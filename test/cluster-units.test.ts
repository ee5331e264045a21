import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { at } from '../lib/loose.ts';
import { type Bench, bench, type FakeHost, SERVER, threeNodes, VERSION } from './cluster-fixture.ts';

const test = suite<{ lab: Bench }>('cluster units');
test.before.each(async (context) => {
  context.lab = await bench();
});
test.after.each(async ({ lab }) => lab.close());

const CONFIG = '/etc/rancher/k3s/config.yaml';
const start = async (lab: Bench, unit: string, host: FakeHost): Promise<boolean> =>
  (await lab.cluster.units.get(unit)?.start(host))?.ok ?? false;
const INIT = `cluster-init: true\ntoken: s3cret\n${SERVER}`;
const JOIN = `server: https://10.20.11.80:6443\ntoken: s3cret\n${SERVER}`;

async function firstServer(lab: Bench): Promise<FakeHost> {
  const first = lab.host('k3s-cp-01', '10.20.11.80');
  first.writeFile(CONFIG, INIT);
  assert.ok(await start(lab, 'k3s', first), first.journal.join('\n'));
  return first;
}

test('three nodes get Ready, with version, address, labels and taints', async ({ lab }) => {
  const { first } = await threeNodes(lab);
  await lab.cluster.settle();
  const { items } = (await lab.json(first, ['nodes'])) as { items: unknown[] };
  const seen = items.map((node) => [
    at(node, 'metadata.name'),
    at(node, 'status.conditions[Ready].status'),
    at(node, 'status.conditions[EtcdIsVoter].status'),
    at(node, 'status.nodeInfo.kubeletVersion'),
    at(node, 'status.addresses.0.address'),
  ]);
  assert.equal(seen, [
    ['k3s-cp-01', 'True', 'True', VERSION, '10.20.11.80'],
    ['k3s-cp-02', 'True', 'True', VERSION, '10.20.11.81'],
    ['k3s-gpu-01', 'True', undefined, VERSION, '10.20.11.85'],
  ]);
  const gpu = items[2];
  assert.is((at(gpu, 'metadata.labels') as Record<string, string>)['nvidia.com/gpu.present'], 'true');
  assert.equal(at(gpu, 'spec.taints'), [{ key: 'dedicated', value: 'gpu', effect: 'NoSchedule' }]);
  assert.is(lab.table().dial['10.20.11.80:6443']?.startsWith('127.0.0.1:'), true);
});

test('a server leaves its token and a kubeconfig', async ({ lab }) => {
  const first = await firstServer(lab);
  assert.match(first.readFile('/var/lib/rancher/k3s/server/token') ?? '', /^K10[0-9a-f]{64}::server:s3cret\n$/);
  assert.match(first.readFile('/etc/rancher/k3s/k3s.yaml') ?? '', /server: https:\/\/127\.0\.0\.1:6443/);
});

test('what K3s refuses, with its words in the journal', async ({ lab }) => {
  const first = await firstServer(lab);
  const secure = first.readFile('/var/lib/rancher/k3s/server/token')?.trim() ?? '';
  const joiner = (config: string): string => `${config}\n`;
  const table: [string, string, RegExp][] = [
    ['an unknown key', `${JOIN}flavour: x`, /Unknown flag --flavour/],
    [
      'a key of servers on an agent',
      'server: https://10.20.11.80:6443\ntoken: s3cret\ntls-san: [x]',
      /Unknown flag --tls-san/,
    ],
    ['a wrong token', JOIN.replace('s3cret', 'wrong'), /failed to validate token: .*401 Unauthorized/],
    [
      'a secure token of another cluster',
      JOIN.replace('s3cret', secure.replace(/K10.{4}/, 'K10beef')),
      /token CA hash does not match/,
    ],
    ['no server there', JOIN.replace('.80', '.82'), /dial tcp 10\.20\.11\.82:6443: connect: connection refused/],
    [
      'other CIDRs',
      JOIN.replace('10.43.0.0', '10.44.0.0'),
      /critical configuration value mismatch between servers: service-cidr/,
    ],
    [
      'servicelb on one of two',
      JOIN.replace('disable: [servicelb]', 'disable: []'),
      /mismatch between servers: disable/,
    ],
    ['broken YAML', 'token: [', /failed to parse config file/],
    ['no token', JOIN.replace('token: s3cret\n', ''), /--token is required/],
    ['a secure token to begin with', INIT.replace('s3cret', secure), /failed to normalize server token/],
  ];
  for (const [name, config, words] of table) {
    const host = lab.host('k3s-cp-02', '10.20.11.81');
    host.writeFile(CONFIG, joiner(config));
    const unit = name.includes('agent') ? 'k3s-agent' : 'k3s';
    assert.is(await start(lab, unit, host), false, name);
    assert.match(host.journal.join('\n'), words, name);
  }
});

test('without K3s installed nothing starts, and the program is not found', async ({ lab }) => {
  const bare = { ...lab.host('bare', '10.20.11.82'), readFile: () => undefined };
  assert.is(await start(lab, 'k3s', bare), false);
  assert.is((await lab.kubectl(bare, ['get', 'nodes'])).code, 127);
});

test('the secure token joins too; two servers at once do not', async ({ lab }) => {
  const first = await firstServer(lab);
  const secure = first.readFile('/var/lib/rancher/k3s/server/node-token')?.trim() ?? '';
  const [second, third] = [lab.host('k3s-cp-02', '10.20.11.81'), lab.host('k3s-cp-03', '10.20.11.82')];
  for (const host of [second, third]) host.writeFile(CONFIG, JOIN.replace('s3cret', secure));
  const started = await Promise.all([start(lab, 'k3s', second), start(lab, 'k3s', third)]);
  assert.equal(started, [true, false]);
  assert.match(third.journal.join('\n'), /too many learner members/);
  assert.is(await start(lab, 'k3s', third), true);
});

test('a rebuilt machine is refused until its Node is deleted', async ({ lab }) => {
  const { first } = await threeNodes(lab);
  const rebuilt = lab.host('k3s-gpu-01', '10.20.11.85');
  rebuilt.writeFile(CONFIG, 'server: https://10.20.11.80:6443\ntoken: s3cret\n');
  assert.is(await start(lab, 'k3s-agent', rebuilt), false);
  assert.match(rebuilt.journal.join('\n'), /Node password rejected, duplicate hostname/);
  assert.is((await lab.kubectl(first, ['delete', 'node', 'k3s-gpu-01'])).code, 0);
  assert.is(await start(lab, 'k3s-agent', rebuilt), true, rebuilt.journal.join('\n'));
});

test('a rebuilt server: its old member is in the way until its Node is deleted', async ({ lab }) => {
  const { first, second } = await threeNodes(lab);
  const third = lab.host('k3s-cp-03', '10.20.11.82');
  third.writeFile(CONFIG, JOIN);
  assert.ok(await start(lab, 'k3s', third));
  await lab.cluster.units.get('k3s')?.stop(second);
  const rebuilt = lab.host('k3s-cp-02', '10.20.11.81');
  rebuilt.writeFile(CONFIG, JOIN);
  assert.is(await start(lab, 'k3s', rebuilt), false);
  assert.match(rebuilt.journal.join('\n'), /duplicate node name found/);
  assert.is((await lab.kubectl(first, ['delete', 'node', 'k3s-cp-02'])).code, 0);
  assert.is(await start(lab, 'k3s', rebuilt), true, rebuilt.journal.join('\n'));
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02', 'k3s-cp-03']);
});

test('a first server that is started anew while its peer runs splits the cluster', async ({ lab }) => {
  await threeNodes(lab);
  const rebuilt = lab.host('k3s-cp-01', '10.20.11.80');
  rebuilt.writeFile(CONFIG, INIT);
  assert.is(await start(lab, 'k3s', rebuilt), true);
  assert.is(lab.cluster.snapshot().clusters.length, 2);
});

test('a restart keeps the cluster; with half of the servers stopped there is no quorum', async ({ lab }) => {
  const { first, second } = await threeNodes(lab);
  await lab.cluster.units.get('k3s')?.stop(second);
  const silent = await lab.kubectl(first, ['get', 'nodes']);
  assert.is(silent.code, 1);
  assert.match(
    silent.stderr ?? '',
    /^Error from server \(Timeout\): the server was unable to return a response in the time allotted/,
  );
  assert.match((await lab.kubectl(second, ['get', 'nodes'])).stderr ?? '', /127\.0\.0\.1:6443 was refused/);
  assert.is(lab.table().dial['10.20.11.81:6443'], null);
  assert.ok(await start(lab, 'k3s', second));
  assert.is((await lab.kubectl(first, ['get', 'nodes'])).code, 0);
  assert.equal(lab.cluster.snapshot().clusters[0]?.servers, ['k3s-cp-01', 'k3s-cp-02']);
});

test('a node whose unit stopped is lost, and an upgraded one says its new version', async ({ lab }) => {
  const { first, gpu } = await threeNodes(lab);
  await lab.cluster.settle();
  await lab.cluster.units.get('k3s-agent')?.stop(gpu);
  await lab.cluster.settle();
  assert.is(at(await lab.json(first, ['node', 'k3s-gpu-01']), 'status.conditions[Ready].status'), 'Unknown');
  gpu.writeFile('/usr/local/bin/k3s', 'K3s v1.36.6+k3s1\n');
  assert.ok(await start(lab, 'k3s-agent', gpu));
  await lab.cluster.settle();
  const node = await lab.json(first, ['node', 'k3s-gpu-01']);
  assert.is(at(node, 'status.conditions[Ready].status'), 'True');
  assert.is(at(node, 'status.nodeInfo.kubeletVersion'), 'v1.36.6+k3s1');
});

test('kubectl on an agent, and without root', async ({ lab }) => {
  const { first, gpu } = await threeNodes(lab);
  assert.match((await lab.kubectl(gpu, ['get', 'nodes'])).stderr ?? '', /localhost:8080 was refused/);
  const plain = await lab.cluster.programs.get('k3s')?.({
    host: first,
    argv: ['k3s', 'kubectl', 'get', 'nodes'],
    env: {},
    cwd: '/',
    stdin: '',
    root: false,
  });
  assert.match(plain?.stderr ?? '', /k3s\.yaml: permission denied/);
});

test('k3s says its version', async ({ lab }) => {
  const host = await firstServer(lab);
  const call = { host, argv: ['k3s', '--version'], env: {}, cwd: '/', stdin: '', root: true };
  assert.match((await lab.cluster.programs.get('k3s')?.(call))?.stdout ?? '', /^k3s version v1\.36\.5\+k3s1 \(/);
});

test.run();
