import { strict as assert } from 'node:assert';
import fc from 'fast-check';
import { suite } from 'uvu';
import { type Drift, driftOf, oddOnes } from '../lib/plan/drift.ts';
import { driftText } from '../lib/plan/drift-text.ts';
import { ATTRIBUTES, type Source } from '../lib/plan/drift-values.ts';
import { CHANGES } from './drift-changes.ts';
import { agreeing } from './drift-fixture.ts';

const test = suite('drift between the four sources');

const CASES = ATTRIBUTES.flatMap((attribute) =>
  Object.entries(CHANGES[attribute]).map(([source, change]) => ({ attribute, source: source as Source, change })),
);
/** What the whole lab has in common, homelab.yaml says once for all VMs. */
const COMMON = ['prefix', 'gateway', 'dns', 'search domain', 'bridge', 'vlan', 'user', 'ssh keys'];

const told = (drifts: readonly Drift[]): string[] =>
  drifts.map(({ vm, attribute, odd }) => `${vm} ${attribute}: ${odd.join(', ')}`);

test('sources that agree: none, whatever they say', () => {
  const size = fc.record({ cores: fc.integer({ min: 1, max: 128 }), memory: fc.integer({ min: 1, max: 900 }) });
  const vlan = fc.option(fc.integer({ min: 1, max: 4094 }), { nil: undefined });
  fc.assert(
    fc.property(size, vlan, fc.option(fc.constant('a40'), { nil: undefined }), ({ cores, memory }, tag, gpu) => {
      const sources = agreeing(({ network, k3s }) => {
        network.vlan = tag;
        for (const node of k3s.nodes) Object.assign(node, { cores, gpu, memory_gib: memory });
      });
      assert.deepEqual(driftOf(sources), []);
    }),
    { numRuns: 60 },
  );
});

test('one source that says otherwise in one attribute: exactly that', () => {
  fc.assert(
    fc.property(fc.constantFrom(...CASES), fc.nat(2), fc.nat(9), ({ attribute, source, change }, at, by) => {
      const sources = agreeing();
      change(sources, at, by);
      const names = sources.config.k3s.nodes.map(({ name }) => name);
      const common = source === 'homelab.yaml' && COMMON.includes(attribute);
      const about = common ? names : [names[at]!];
      assert.deepEqual(
        told(driftOf(sources)),
        about.map((name) => `${name} ${attribute}: ${source}`),
      );
    }),
    { numRuns: 400 },
  );
});

test('every attribute, by every source that can differ in it', () => {
  for (const { attribute, source, change } of CASES) {
    const sources = agreeing();
    change(sources, 0, 3);
    const [first] = driftOf(sources);
    assert.deepEqual([first?.attribute, first?.odd], [attribute, [source]]);
    assert.ok(driftText(first!).startsWith(`k3s-cp-01: ${attribute}: ${source} `), driftText(first!));
  }
});

test('who is odd', () => {
  const cases: [Drift['values'], Source[]][] = [
    [{ 'homelab.yaml': 'a', state: 'a', Proxmox: 'a' }, []],
    [{ 'homelab.yaml': 'a', state: 'b', Proxmox: 'b' }, ['homelab.yaml']],
    [{ 'homelab.yaml': 'a', state: 'a', Proxmox: 'b' }, ['Proxmox']],
    [{ 'homelab.yaml': 'a', state: 'b', Proxmox: 'c' }, ['state', 'Proxmox']],
    // Of two that differ nobody knows more than that; what is wanted counts as right.
    [{ 'homelab.yaml': 'a', state: 'b' }, ['state']],
    [{ 'homelab.lock.yaml': 'a', state: 'a', Proxmox: 'b', 'guest agent': 'b' }, ['Proxmox', 'guest agent']],
    [{ state: 'a' }, []],
    [{}, []],
  ];
  for (const [values, odd] of cases) assert.deepEqual(oddOnes(values), odd, JSON.stringify(values));
});

test('in words', () => {
  const both = agreeing();
  CHANGES.memory.Proxmox!(both, 0, 24);
  both.config.k3s.nodes[0]!.memory_gib = 32;
  assert.deepEqual(driftOf(both).map(driftText), [
    'k3s-cp-01: memory: state disagrees: 64 GiB, Proxmox disagrees: 1 GiB; homelab.yaml says 32 GiB',
  ]);
  const key = agreeing();
  CHANGES['ssh keys'].Proxmox!(key, 0, 1);
  assert.deepEqual(driftOf(key).map(driftText), [
    'k3s-cp-01: ssh keys: Proxmox disagrees: ssh-ed25519 …tleWtleWtleQ ops@lab, ssh-rsa AAAA1; homelab.yaml and state say ssh-ed25519 …tleWtleWtleQ ops@lab',
  ]);
});

test('an address by DHCP is named so, with the usual causes', () => {
  const cases: [string[], RegExp][] = [
    [['10.20.11.153'], /a DHCP address instead of the static one: cloud-init did not apply the network, or the inst/],
    [['10.20.11.70'], /another address than the static one, by DHCP it seems: cloud-init/],
    [['fe80::2'], /guest agent disagrees: no address; .*no address at all: cloud-init/],
  ];
  for (const [agent, text] of cases) {
    const sources = agreeing(({ network }) => {
      network.dhcp = ['10.20.11.150-10.20.11.199'];
    });
    sources.proxmox[0]!.agent = agent;
    assert.match(driftText(driftOf(sources)[0]!), text);
  }
  const silent = agreeing();
  silent.proxmox[0]!.agent = undefined;
  assert.deepEqual(driftOf(silent), []);
});

test.run();
