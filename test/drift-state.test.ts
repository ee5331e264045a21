import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { fromProvider, toProvider } from '../lib/lab/tools/terraform-shape.ts';
import { dig, isMap } from '../lib/loose.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { factsOfState } from '../lib/plan/drift-values.ts';
import { parseState } from '../lib/plan/terraform-json.ts';

/** A state that Terraform 1.11.4 wrote with bpg/proxmox 0.111.1, of one VM. */
const REAL = readFileSync(join(TOOLKIT, 'test/fixtures/state-of-bpg-0.111.1.json'), 'utf8');

const test = suite("Terraform's state");

test('of the real provider is read, attribute by attribute', () => {
  const [vm, ...others] = parseState(REAL);
  assert.deepEqual([vm?.name, vm?.vmid, vm?.node, vm?.tainted, others.length], ['k3s-gpu-01', 210, 'pve-01', false, 0]);
  assert.equal(vm?.description, 'k3s-gpu-01 of homelab');
  assert.deepEqual(factsOfState(vm!), {
    ...{ vmid: '210', name: 'k3s-gpu-01', node: 'pve-01', address: '10.20.11.85', prefix: '24' },
    ...{ gateway: '10.20.11.1', dns: '10.20.11.1', 'search domain': 'home.arpa', cores: '8', memory: '64 GiB' },
    ...{ disk: '50 GiB', storage: 'local-zfs', bridge: 'vmbr0', vlan: '11', gpu: 'rtx4000ada', user: 'ops' },
    ...{ 'ssh keys': 'ssh-ed25519 AAAA+/=x ops@lab', tags: 'homelab, k3s', description: 'k3s-gpu-01 of homelab' },
    ...{ 'on boot': 'yes', running: 'yes' },
  });
});

test('of the stand-in has the same shape, and is read back as it was written', () => {
  const real = parseState(REAL)[0]?.attributes;
  const made = fromProvider(real);
  for (const path of leaves(toProvider(made)))
    assert.deepEqual(dig(toProvider(made), ...path), dig(real, ...path), path.join('.'));
  assert.deepEqual(fromProvider(toProvider(made)), made);
});

test('what an import left open is no statement', () => {
  const imported = { name: 'a', vmid: 200, node: 'pve-01', tainted: false, attributes: { vm_id: 200, tags: null } };
  const said = Object.entries(factsOfState(imported)).filter(([, value]) => value !== undefined);
  assert.deepEqual(said, [
    ['vmid', '200'],
    ['node', 'pve-01'],
  ]);
});

test('that cannot be read is refused with a reason; none is no state', () => {
  const cases: [string, RegExp][] = [
    ['{', /terraform\.tfstate\) cannot be read: /],
    ['[]', /it is no JSON object/],
    ['{"version": 3}', /its format is 3, not 4/],
    ['{"resources": []}', /its format is undefined, not 4/],
  ];
  for (const [text, message] of cases) assert.throws(() => parseState(text), message, text);
  for (const text of [undefined, '', '{"version": 4}', '{"version": 4, "resources": [{"mode": "data"}]}'])
    assert.deepEqual(parseState(text), [], text);
});

/** Paths of all values that hold no others. */
function leaves(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (Array.isArray(value) && value.length > 0) return value.flatMap((one, i) => leaves(one, [...path, i]));
  if (isMap(value)) return Object.entries(value).flatMap(([key, one]) => leaves(one, [...path, key]));
  return [path];
}

test.run();
