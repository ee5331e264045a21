import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ApplyContext } from '../lib/apply.ts';
import { HomelabError } from '../lib/errors.ts';
import { evict } from '../lib/operations/k3s-drain.ts';
import { removalOperations } from '../lib/operations/remove-node.ts';
import { DRAIN_COMMAND, DRAIN_DEADLINE, DRAIN_MINUTES } from '../lib/plan/k3s-drain.ts';
import type { Outcome, Ports } from '../lib/ports/types.ts';
import type { KubeObject } from '../lib/step.ts';
import { labWith } from './k3s-fixtures.ts';

/** What remove-node and a drain do at the last moment, on ports that answer as each test says. */
const test = suite('remove-node: operations');
const three = labWith((config) => {
  config.k3s.nodes.push({ ...config.k3s.nodes[1]!, name: 'k3s-cp-03', vmid: 202 });
});
const node = (name: string): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { 'node-role.kubernetes.io/etcd': 'true' } } },
  status: { conditions: [{ type: 'Ready', status: 'True' }] },
});
const pod = (name: string, more: object = {}, ...owners: object[]): KubeObject => ({
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'a', ownerReferences: owners } },
  ...{ spec: { nodeName: 'k3s-cp-02' }, ...more },
});
const outcome = (more: Partial<Outcome> = {}): Outcome => ({ code: 0, stdout: '', stderr: '', ...more }) as Outcome;

/** A lab of three servers, of which some run. @returns what was run on hosts, in its order */
function world(down: readonly string[]): { ports: Ports; ran: string[] } {
  const ran: string[] = [];
  const servers = ['k3s-cp-01', 'k3s-cp-02', 'k3s-cp-03'];
  const ports = {
    ssh: {
      read: async (name: string) => ({
        ok: true,
        value: outcome({ stdout: down.includes(name) ? 'inactive\netcd\n' : 'active\netcd\nmembers=3\n' }),
      }),
      run: async (name: string, argv: readonly string[]) => {
        ran.push(`${name}: ${argv.join(' ')}`);
        return outcome();
      },
    },
    kube: { list: async () => servers.map(node) },
  } as unknown as Ports;
  return { ports, ran };
}

const deleteServer = (ports: Ports): Promise<unknown> =>
  removalOperations(three)['delete-server']!({ node: 'k3s-cp-02', api: 'k3s-cp-01', held: true }, {
    ports,
  } as unknown as ApplyContext);

test('a member that can be spared goes', async () => {
  const { ports, ran } = world([]);
  await deleteServer(ports);
  assert.equal(ran, ['k3s-cp-01: k3s kubectl delete node k3s-cp-02 --ignore-not-found --wait=false']);
});

test('another one went down during the drain: nothing is deleted, and systemd may start it again', async () => {
  const { ports, ran } = world(['k3s-cp-03']);
  const error = await deleteServer(ports).catch((thrown: Error) => thrown.message);
  assert.match(String(error), /^k3s-cp-02 must not go now\. etcd: 3 members, 2 needed .*, 2 ready; .* it stops/);
  assert.equal(ran, [
    'k3s-cp-02: rm -f /run/systemd/system/k3s.service.d/homelab-removal.conf',
    'k3s-cp-02: systemctl daemon-reload',
    'k3s-cp-02: systemctl enable k3s',
  ]);
});

const drained = (run: () => Promise<Outcome>, pods: () => Promise<KubeObject[]>): Promise<HomelabError | undefined> =>
  evict('k3s-cp-02', run, { kube: { list: pods } } as unknown as Ports, 'so be it').then(
    () => undefined,
    (error: HomelabError) => error,
  );
const left = async (): Promise<KubeObject[]> => [
  pod('stuck', {}, { kind: 'ReplicaSet' }),
  pod('speaker', {}, { kind: 'DaemonSet' }),
  pod('done', { status: { phase: 'Succeeded' } }),
  pod('elsewhere', { spec: { nodeName: 'k3s-cp-01' } }),
];

test('a drain that fails names the pods that stay, whatever kubectl says', async () => {
  const refused = await drained(async () => outcome({ code: 1, stderr: 'error: something new' }), left);
  assert.is(refused?.message, 'the pods of k3s-cp-02 cannot be moved to other nodes; still there: a/stuck; so be it');
  assert.match(refused?.output ?? '', 'something new');
});

test('also one that outlasts its own deadline, or whose server is gone', async () => {
  const late = async (): Promise<Outcome> => {
    throw new HomelabError('k3s on k3s-cp-01 did not end within 420 s');
  };
  const error = await drained(late, left);
  assert.match(error?.message ?? '', /still there: a\/stuck;/);
  assert.match(error?.output ?? '', 'did not end within 420 s');
  const silent = await drained(late, () => Promise.reject(new HomelabError('no K3s server answers')));
  assert.is(silent?.message, 'the pods of k3s-cp-02 cannot be moved to other nodes; so be it');
});

test('each deadline is longer than what it is around', () => {
  // kubectl was seen to end 98 s after its --timeout, while the API server was slow.
  assert.ok(DRAIN_COMMAND >= DRAIN_MINUTES * 60 + 100);
  assert.ok(DRAIN_DEADLINE > DRAIN_COMMAND);
});

test.run();
