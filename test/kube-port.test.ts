import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectKube, resourceOf } from '../lib/ports/kube.ts';
import type { Answer, CommandOptions, Outcome, Ssh } from '../lib/ports/types.ts';
import { IS_DEFAULT } from '../lib/render/nfs.ts';
import { Secrets } from '../lib/secret.ts';
import { type Bench, bench, type FakeHost, object, threeNodes } from './cluster-fixture.ts';

type Call = { server: string; argv: string[]; options: CommandOptions };
type World = { lab: Bench; hosts: Record<string, FakeHost>; calls: Call[]; down: Set<string>; ssh: Ssh };

/** An SSH port whose hosts are those of the emulator; what is `down` cannot be reached. */
async function world(): Promise<World> {
  const lab = await bench();
  const { first, second, gpu } = await threeNodes(lab);
  await lab.cluster.settle();
  const hosts: Record<string, FakeHost> = { 'k3s-cp-01': first, 'k3s-cp-02': second, 'k3s-gpu-01': gpu };
  const calls: Call[] = [];
  const down = new Set<string>();
  const read = async (
    server: string,
    argv: readonly string[],
    options: CommandOptions = {},
  ): Promise<Answer<Outcome>> => {
    calls.push({ server, argv: [...argv], options });
    const host = hosts[server];
    if (!host || down.has(server)) return { ok: false, reason: `${server} does not answer` };
    const call = {
      host,
      argv: [...argv],
      env: {},
      cwd: '/',
      stdin: String(options.stdin ?? ''),
      root: options.sudo === true,
    };
    const result = await lab.cluster.programs.get('k3s')?.(call);
    return {
      ok: true,
      value: { code: result?.code ?? 127, stdout: result?.stdout ?? '', stderr: result?.stderr ?? '' },
    };
  };
  const unused = (): never => {
    throw new Error('not used here');
  };
  const ssh: Ssh = {
    reachable: unused,
    readFile: unused,
    roundTrips: () => ({}),
    read,
    run: async (server, argv, options) => {
      const answer = await read(server, argv, options);
      if (!answer.ok) throw new Error(answer.reason);
      return answer.value;
    },
    upload: unused,
    learnHostKey: unused,
    forgetHostKey: unused,
    forward: unused,
  };
  return { lab, hosts, calls, down, ssh };
}

const nodes = [
  { name: 'k3s-cp-02', role: 'server' },
  { name: 'k3s-cp-01', role: 'server' },
  { name: 'k3s-gpu-01', role: 'agent' },
];
type Context = Parameters<typeof connectKube>[0];
const context = (secrets = new Secrets()): Context =>
  ({ lab: { config: { k3s: { first_server: 'k3s-cp-01', nodes } } }, secrets }) as Context;

const test = suite<World & { kube: ReturnType<typeof connectKube> }>('kube port');
test.before(async (context_) => {
  Object.assign(context_, await world());
});
test.before.each((w) => {
  w.kube = connectKube(context(), w.ssh);
  w.down.clear();
  w.calls.length = 0;
});
test.after(async ({ lab }) => lab.close());

const map = (name: string, data: Record<string, string>) => object('v1', 'ConfigMap', name, 'default', { data });
const ref = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', name, namespace: 'default' });

test('names resources with version and group', () => {
  const table: [string, string, string][] = [
    ['v1', 'Namespace', 'namespace.v1.'],
    ['apps/v1', 'Deployment', 'deployment.v1.apps'],
    ['networking.k8s.io/v1', 'Ingress', 'ingress.v1.networking.k8s.io'],
    ['metallb.io/v1beta1', 'IPAddressPool', 'ipaddresspool.v1beta1.metallb.io'],
  ];
  for (const [apiVersion, kind, name] of table) assert.is(resourceOf({ apiVersion, kind }), name);
});

test('applies, reads, and deletes', async ({ kube }) => {
  await kube.apply([map('a', { x: '1' }), map('b', { x: '2' })]);
  assert.equal((await kube.get(ref('a')))?.data, { x: '1' });
  assert.equal(
    (await kube.list('v1', 'ConfigMap', 'default')).map((o) => o.metadata.name),
    ['a', 'b'],
  );
  await kube.delete([ref('a'), ref('b'), ref('never there')], 5);
  assert.is(await kube.get(ref('a')), undefined);
});

test('what is not there is undefined or empty, also when its kind is not', async ({ kube }) => {
  assert.is(
    await kube.get({ apiVersion: 'metallb.io/v1beta1', kind: 'IPAddressPool', name: 'x', namespace: 'y' }),
    undefined,
  );
  assert.equal(await kube.list('metallb.io/v1beta1', 'IPAddressPool'), []);
  assert.equal(await kube.list('v1', 'ConfigMap', 'no-such-namespace'), []);
  await kube.delete([{ apiVersion: 'metallb.io/v1beta1', kind: 'IPAddressPool', name: 'x', namespace: 'y' }]);
});

test('several kinds in one round trip; those that are not known have none', async ({ kube, calls }) => {
  await kube.apply([map('one', { x: '1' })]);
  calls.length = 0;
  const ofKinds = [
    { apiVersion: 'v1', kind: 'ConfigMap' },
    { apiVersion: 'v1', kind: 'Node' },
  ];
  const known = await kube.survey(ofKinds);
  assert.is(calls.length, 1);
  assert.ok(known.ok);
  assert.ok(known.ok && known.value.some(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'one'));
  assert.is(known.ok && known.value.filter(({ kind }) => kind === 'Node').length, 3);
  const pool = { apiVersion: 'metallb.io/v1beta1', kind: 'IPAddressPool' };
  const issuer = { apiVersion: 'cert-manager.io/v1', kind: 'ClusterIssuer' };
  assert.equal(await kube.survey([pool, ...ofKinds, issuer]), known);
  assert.equal(await kube.survey([pool]), { ok: true, value: [] });
  await kube.delete([ref('one')]);
});

test('a namespace is applied before what is in it', async ({ kube }) => {
  await kube.apply([
    object('v1', 'Secret', 's', 'later', { stringData: { k: 'v' } }),
    object('v1', 'Namespace', 'later', undefined, {}),
  ]);
  assert.ok(await kube.get({ apiVersion: 'v1', kind: 'Secret', name: 's', namespace: 'later' }));
  await kube.delete([{ apiVersion: 'v1', kind: 'Namespace', name: 'later' }], 5);
});

test('refusals carry the words of the API server', async ({ kube }) => {
  const cases: [Parameters<typeof kube.apply>[0][number], RegExp][] = [
    [object('v1', 'ConfigMap', 'x', 'nowhere', {}), /namespaces "nowhere" not found/],
    [object('v1', 'ConfigMap', 'Not_A_Name', 'default', {}), /is invalid: metadata\.name: Invalid value: "Not_A_Name"/],
    [object('metallb.io/v1beta1', 'IPAddressPool', 'x', 'default', {}), /no matches for kind "IPAddressPool"/],
    [object('v1', 'Service', 'x', 'default', { spec: { ports: [{ prot: 80 }] } }), /unknown field "prot"/],
  ];
  for (const [bad, words] of cases) {
    try {
      await kube.apply([bad]);
      assert.unreachable(String(words));
    } catch (error) {
      assert.match((error as Error).message, words);
    }
  }
});

test('a field that somebody else set to another value is not taken', async ({ kube, lab, hosts }) => {
  await kube.apply([map('shared', { x: '1' })]);
  await lab.kubectl(hosts['k3s-cp-01'] as FakeHost, [
    'patch',
    'configmap',
    'shared',
    '-n',
    'default',
    '-p',
    '{"data":{"x":"theirs"}}',
  ]);
  try {
    await kube.apply([map('shared', { x: '2' })]);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /conflict with "kubectl-patch" using v1: \.data\.x/);
  }
  await kube.delete([ref('shared')]);
});

test('what K3s has set is taken over by force only', async ({ kube }) => {
  const noDefault: Parameters<typeof kube.apply>[0][number] = {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: 'local-path', annotations: { [IS_DEFAULT]: 'false' } },
    provisioner: 'rancher.io/local-path',
  };
  const refused = await kube.apply([noDefault]).catch((error: Error) => error.message);
  assert.is(
    refused,
    `apply StorageClass local-path: error: Apply failed with 1 conflict: conflict with "k3s" using storage.k8s.io/v1: .metadata.annotations.${IS_DEFAULT}`,
  );
  await kube.apply([noDefault], { force: true });
  const { apiVersion, kind } = noDefault;
  const live = await kube.get({ apiVersion, kind, name: 'local-path' });
  assert.equal([live?.metadata.annotations?.[IS_DEFAULT], live?.volumeBindingMode], ['false', 'WaitForFirstConsumer']);
});

test('a secret travels on stdin only, and is not in an error', async ({ calls, ssh }) => {
  const secrets = new Secrets();
  secrets.add('TOKEN', 'canary-1234567');
  const kube = connectKube(context(secrets), ssh);
  await kube.apply([object('v1', 'Secret', 'token', 'default', { stringData: { token: 'canary-1234567' } })]);
  assert.not.ok(calls.some(({ argv }) => argv.join(' ').includes('canary')));
  assert.ok(calls.every(({ options }) => options.sudo));
  try {
    await kube.apply([object('v1', 'Secret', 'canary-1234567_', 'default', {})]);
    assert.unreachable();
  } catch (error) {
    assert.not.match((error as Error).message, /canary/);
  }
  await kube.delete([{ apiVersion: 'v1', kind: 'Secret', name: 'token', namespace: 'default' }]);
});

test('asks the first server first, another when it is silent, and then stays there', async ({ kube, calls, down }) => {
  assert.equal(await kube.reachable(), { ok: true, value: 'k3s-cp-01' });
  down.add('k3s-cp-01');
  assert.equal(await kube.reachable(), { ok: true, value: 'k3s-cp-02' });
  calls.length = 0;
  await kube.list('v1', 'Node');
  assert.equal(
    calls.map(({ server }) => server),
    ['k3s-cp-02'],
  );
});

test('without a server that answers, says why none does', async ({ kube, down }) => {
  down.add('k3s-cp-01').add('k3s-cp-02');
  const answer = await kube.reachable();
  assert.equal(answer, {
    ok: false,
    reason: 'k3s-cp-01: k3s-cp-01 does not answer; k3s-cp-02: k3s-cp-02 does not answer',
  });
  try {
    await kube.get(ref('a'));
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /no K3s server answers/);
  }
  const surveyed = await kube.survey([{ apiVersion: 'v1', kind: 'Node' }]);
  assert.match(surveyed.ok ? '' : surveyed.reason, /^k3s-cp-01: k3s-cp-01 does not answer; k3s-cp-02: /);
});

test('a look at many kinds has one deadline for all, and a kind that is slow may take it', async ({ ssh, calls }) => {
  const kube = connectKube(context(), ssh, { readSeconds: 20 });
  calls.length = 0;
  const kinds = ['Node', 'Pod', 'Secret', 'Service', 'ConfigMap', 'Event'].map((kind) => ({ apiVersion: 'v1', kind }));
  await kube.survey(kinds);
  assert.equal(
    calls.map(({ argv, options }) => [argv.at(-1), options.deadline]),
    [['--request-timeout=20s', 25]],
  );
});

test('what servers that hang have taken is gone; the last one still gets its turn', async ({ ssh }) => {
  const deadlines: unknown[] = [];
  let ahead = 0;
  const original = performance.now;
  performance.now = () => original.call(performance) + ahead;
  const hanging: Ssh['read'] = async (name, _argv, options = {}) => {
    deadlines.push(options.deadline);
    ahead += (options.deadline ?? 0) * 1000;
    return { ok: false, reason: `${name} hangs` };
  };
  try {
    const kube = connectKube(context(), { ...ssh, read: hanging }, { readSeconds: 50 });
    const answer = await kube.survey([{ apiVersion: 'v1', kind: 'Node' }]);
    assert.not(answer.ok);
    assert.equal(deadlines, [55, 5]);
  } finally {
    performance.now = original;
  }
});

test('with one of two servers stopped, etcd has no quorum and nothing is answered', async ({ kube, lab, hosts }) => {
  const second = hosts['k3s-cp-02'] as FakeHost;
  await lab.cluster.units.get('k3s')?.stop(second);
  const answer = await kube.reachable();
  const words = /k3s-cp-01: the API server is not ready: etcd, etcd-readiness; k3s-cp-02: .*was refused/;
  assert.match(answer.ok ? '' : answer.reason, words);
  const got = await kube.get(ref('a')).catch((error: Error) => error.message);
  assert.match(
    String(got),
    /get ConfigMap default\/a: no K3s server answers: k3s-cp-01: Error from server \(Timeout\): .*; k3s-cp-02: /,
  );
  await lab.cluster.units.get('k3s')?.start(second);
  assert.is((await kube.reachable()).ok, true);
});

test('the end of a job`s log', async ({ kube }) => {
  assert.match(await kube.logs('kube-system', 'job/helm-install-traefik', 5), /STATUS: deployed/);
  try {
    await kube.logs('kube-system', 'job/none', 5);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /jobs\.batch "none" not found/);
  }
});

test.run();
