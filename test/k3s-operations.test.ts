import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApplyContext } from '../lib/apply.ts';
import { HomelabError } from '../lib/errors.ts';
import { nodeReady } from '../lib/operations/k3s-ready.ts';
import { spare } from '../lib/operations/k3s-spare.ts';
import type { Outcome, Ports } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';
import { labWith } from './k3s-fixtures.ts';

/** Operations of install-k3s that look before they act, or wait, on ports that answer as each test says. */
const test = suite('k3s operations');

type Host = (argv: readonly string[]) => Partial<Outcome> | undefined;
type World = { hosts: Record<string, Host>; objects?: () => KubeObject[]; nodes?: () => KubeObject[] | undefined };

/** Ports on a clock that only sleeping moves. */
function portsOf({ hosts, objects = () => [], nodes = () => [] }: World): Ports {
  let now = 1_000_000_000_000;
  const read: Ports['ssh']['read'] = async (name, argv) => {
    const said = hosts[name]?.(argv);
    return said
      ? { ok: true, value: { code: 0, stdout: '', stderr: '', ...said } }
      : { ok: false, reason: 'no answer' };
  };
  return {
    ssh: { read },
    kube: {
      list: async () => {
        const list = nodes();
        if (!list) throw new HomelabError('list Node: no K3s server answers');
        return list;
      },
      get: async ({ kind, name }: { kind: string; name: string }) =>
        objects().find((object) => object.kind === kind && object.metadata.name === name),
    },
    files: { text: async () => undefined, sha256: async () => undefined, mode: async () => undefined },
    clock: {
      now: () => new Date(now),
      sleep: async (seconds: number) => {
        now += seconds * 1000;
      },
    },
  } as unknown as Ports;
}

const node = (name: string, ready = true, more: Record<string, unknown> = {}): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { 'node-role.kubernetes.io/etcd': 'true' } } },
  status: {
    nodeInfo: { kubeletVersion: 'v1.36.5+k3s1' },
    conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
  },
  ...more,
});
const lease = (renewTime: string): KubeObject => ({
  ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'k3s-gpu-01' }, spec: { renewTime } },
});

const three = labWith((config) => {
  config.k3s.nodes.push({ ...config.k3s.nodes[1]!, name: 'k3s-cp-03', vmid: 202 });
});
const active: Host = () => ({ stdout: 'active\netcd\nmembers=3\nleader=1\n' });
const stopped: Host = () => ({ stdout: 'inactive\netcd\n' });
const all = { 'k3s-cp-01': active, 'k3s-cp-02': active, 'k3s-cp-03': active };
const names = Object.keys(all);

const cases: [what: string, world: World, refused: RegExp | undefined][] = [
  ['all are there', { hosts: all, nodes: () => names.map((name) => node(name)) }, undefined],
  [
    'another one is called Ready still, and has stopped a moment ago',
    { hosts: { ...all, 'k3s-cp-03': stopped }, nodes: () => names.map((name) => node(name)) },
    /k3s-cp-01 must not be stopped now. etcd: 3 members, 2 needed .*, 2 ready; without k3s-cp-01 1 is left: it stops/,
  ],
  [
    'another one does not answer',
    { hosts: { ...all, 'k3s-cp-02': () => undefined }, nodes: () => names.map((name) => node(name)) },
    /2 ready; without k3s-cp-01 1 is left/,
  ],
  [
    'another one is not Ready, by the cluster',
    { hosts: all, nodes: () => names.map((name) => node(name, name !== 'k3s-cp-02')) },
    /2 ready; without k3s-cp-01 1 is left/,
  ],
  [
    'the API is silent, and another one is down',
    { hosts: { ...all, 'k3s-cp-02': stopped, 'k3s-cp-03': stopped }, nodes: () => undefined },
    /3 members, 2 needed .*, 1 ready; without k3s-cp-01 0 are left/,
  ],
  ['the API is silent, and all run', { hosts: all, nodes: () => undefined }, undefined],
  [
    'a Node that is left of a member that etcd has no more',
    {
      hosts: {
        ...all,
        'k3s-cp-03': () => ({ stdout: 'inactive\n' }),
        'k3s-cp-02': () => ({ stdout: 'active\netcd\nmembers=2\n' }),
        'k3s-cp-01': () => ({ stdout: 'active\netcd\nmembers=2\n' }),
      },
      nodes: () => names.map((name) => node(name, name !== 'k3s-cp-03')),
    },
    undefined,
  ],
];
for (const [what, world, refused] of cases)
  test(`may a server be stopped: ${what}`, async () => {
    const error = await spare(three, 'k3s-cp-01', 'restart', portsOf(world)).then(
      () => undefined,
      (thrown: Error) => thrown.message,
    );
    if (refused) assert.match(error ?? 'it may', refused);
    else assert.is(error, undefined);
  });

const AGENT = { node: 'k3s-gpu-01', unit: 'k3s-agent', server: false, version: 'v1.36.5+k3s1', seconds: 600 };
const ready = (world: World, args: Record<string, unknown>): Promise<unknown> =>
  nodeReady(labWith())(args, { ports: portsOf(world) } as unknown as ApplyContext);
const runs: Host = (argv) => ({ stdout: argv[0] === 'date' ? '1000\n' : 'active\n' });

test('an agent that was restarted is up when its kubelet has reported since', async () => {
  let looks = 0;
  const objects = (): KubeObject[] => {
    looks += 1;
    return [node('k3s-gpu-01'), lease(looks < 8 ? '1970-01-01T00:16:00.000000Z' : '1970-01-01T00:16:41.000000Z')];
  };
  await ready({ hosts: { 'k3s-gpu-01': runs }, objects }, { ...AGENT, started: true });
  assert.ok(looks >= 8);
});

test('what the kubelet met on the way is no reason to give up', async () => {
  let looks = 0;
  const noisy: Host = (argv) => {
    if (argv[0] === 'journalctl')
      return { stdout: "E1126 18:00:00 server.go: couldn't get resource list: Unauthorized\n" };
    looks += 1;
    return { stdout: looks < 60 ? 'activating\n' : 'active\n' };
  };
  await ready({ hosts: { 'k3s-gpu-01': noisy }, objects: () => [node('k3s-gpu-01')] }, AGENT);
  assert.ok(looks >= 60);
});

test('one that was not restarted is up when its Node says so', async () => {
  const objects = (): KubeObject[] => [node('k3s-gpu-01'), lease('1970-01-01T00:16:00.000000Z')];
  await ready({ hosts: { 'k3s-gpu-01': runs }, objects }, AGENT);
});

const ends: [what: string, args: Record<string, unknown>, host: Host, words: RegExp][] = [
  [
    'what K3s says for good is not waited out',
    AGENT,
    (argv) => ({ stdout: argv[0] === 'journalctl' ? 'level=fatal msg="invalid token"\n' : 'activating\n' }),
    /k3s-agent on k3s-gpu-01 does not come up, and waiting longer does not help/,
  ],
  [
    'the last server with etcd\u2019s data, and etcd has no leader: nobody will come',
    { ...AGENT, alone: true },
    (argv) => ({ stdout: argv[0] === 'sh' ? 'leader=0\nmembers=2\n' : 'activating\n' }),
    /waiting longer does not help/,
  ],
  ['systemd has given up', AGENT, () => ({ stdout: 'failed\n' }), /k3s-agent on k3s-gpu-01 failed to start/],
  ['the machine is gone', AGENT, () => undefined, /k3s-gpu-01 has not answered for 180 s/],
];
for (const [what, args, host, words] of ends)
  test(`a wait that ends early: ${what}`, async () => {
    const error = await ready({ hosts: { 'k3s-gpu-01': host } }, args).catch((thrown: unknown) => thrown);
    assert.instance(error, HomelabError);
    const { message, likelyCause, fix, output } = error as HomelabError;
    assert.match(message, words);
    assert.ok(likelyCause && fix, 'it is diagnosed');
    assert.match(output ?? '', 'k3s-gpu-01 (10.20.11.85), agent');
  });

test.run();
