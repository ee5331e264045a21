import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { differences, needsApply } from '../lib/plan/differences.ts';
import { parseQuantity, sameQuantity } from '../lib/plan/quantity.ts';
import type { KubeObject } from '../lib/step.ts';

const test = suite('differences');

const object = (spec: unknown, metadata: Partial<KubeObject['metadata']> = {}): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'a', ...metadata },
  spec,
});
const container = (c: unknown): unknown => ({ template: { spec: { containers: [c] } } });

const table: [what: string, desired: KubeObject, live: KubeObject, paths: string[]][] = [
  ['equal', object({ replicas: 1 }), object({ replicas: 1 }), []],
  ['a default that the server added', object({ replicas: 1 }), object({ replicas: 1, strategy: { type: 'x' } }), []],
  ['a value', object({ replicas: 2 }), object({ replicas: 1 }), ['spec.replicas']],
  ['a missing value', object({ replicas: 2 }), object({}), ['spec.replicas']],
  ['several', object({ a: 1, b: { c: 2 } }), object({ a: 0, b: { c: 0 } }), ['spec.a', 'spec.b.c']],
  ['text is not a number', object({ targetPort: '80' }), object({ targetPort: 80 }), ['spec.targetPort']],
  ['empty values that are left out', object({ a: {}, b: [], c: null, d: undefined }), object({}), []],
  ['no spec at all for an empty one', object({}), object(undefined), []],
  ['false that is left out', object({ hostNetwork: false }), object({}), []],
  [
    'the empty value of a variable, which is left out',
    object(container({ name: 'a', env: [{ name: 'X', value: '' }] })),
    object(container({ name: 'a', env: [{ name: 'X' }] })),
    [],
  ],
  ['an empty value elsewhere', object({ value: '' }), object({}), ['spec.value']],
  [
    'false that means something',
    object({ automountServiceAccountToken: false }),
    object({}),
    ['spec.automountServiceAccountToken'],
  ],
  [
    'quantities',
    object(container({ name: 'a', resources: { limits: { cpu: 1, memory: '1Gi' } } })),
    object(container({ name: 'a', resources: { limits: { cpu: '1000m', memory: '1024Mi' } } })),
    [],
  ],
  [
    'other quantities',
    object(container({ name: 'a', resources: { requests: { memory: '1Gi' } } })),
    object(container({ name: 'a', resources: { requests: { memory: '1G' } } })),
    ['spec.template.spec.containers[name=a].resources.requests.memory'],
  ],
  [
    'protocol and targetPort of a port',
    object({ ports: [{ port: 80 }] }),
    object({ ports: [{ port: 80, protocol: 'TCP', targetPort: 80, nodePort: 31000 }] }),
    [],
  ],
  [
    'a port for another protocol',
    object({ ports: [{ port: 53, protocol: 'UDP' }] }),
    object({ ports: [{ port: 53, protocol: 'TCP' }] }),
    ['spec.ports[port=53/UDP]'],
  ],
  [
    'a container that somebody injected',
    object(container({ name: 'a', image: 'x' })),
    object({
      template: {
        spec: {
          containers: [
            { name: 'proxy', image: 'y' },
            { name: 'a', image: 'x' },
          ],
        },
      },
    }),
    [],
  ],
  [
    'an image',
    object(container({ name: 'a', image: 'x:2' })),
    object(container({ name: 'a', image: 'x:1', imagePullPolicy: 'Always' })),
    ['spec.template.spec.containers[name=a].image'],
  ],
  ['a list without keys: length', object({ addresses: ['a'] }), object({ addresses: ['a', 'b'] }), ['spec.addresses']],
  [
    'a list without keys: order',
    object({ args: ['a', 'b'] }),
    object({ args: ['b', 'a'] }),
    ['spec.args[0]', 'spec.args[1]'],
  ],
  [
    'defaults inside of a list without keys',
    object({ rules: [{ host: 'h', http: { paths: [{ path: '/' }] } }] }),
    object({ rules: [{ host: 'h', http: { paths: [{ path: '/', pathType: 'Prefix' }] } }] }),
    [],
  ],
  [
    'labels are contained',
    object({}, { labels: { a: '1' } }),
    object({}, { labels: { a: '1', b: '2' }, uid: 'x', creationTimestamp: 'y' }),
    [],
  ],
  [
    'a label with a domain',
    object({}, { labels: { 'a.b/c': '1' } }),
    object({}, { labels: { 'a.b/c': '2' } }),
    ['metadata.labels["a.b/c"]'],
  ],
  ['labels on an object without any', object({}, { labels: { a: '1' } }), object({}), ['metadata.labels']],
  ['status is not ours', { ...object({}), status: { x: 1 } }, object({}), []],
];
for (const [what, desired, live, paths] of table) test(what, () => assert.equal(differences(desired, live), paths));

test('stringData is compared with data', () => {
  const base = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' } };
  const desired = { ...base, stringData: { key: 'grüße' } };
  assert.equal(differences(desired, { ...base, data: { key: Buffer.from('grüße').toString('base64') } }), []);
  assert.equal(differences(desired, { ...base, data: { key: 'eA==' } }), ['data.key']);
});

const reasons: [what: string, live: KubeObject | undefined, reason: string | undefined][] = [
  ['absent', undefined, 'absent'],
  ['as wanted', object({ a: 1, b: 1, c: 1, d: 1 }), undefined],
  ['one', object({ a: 2, b: 1, c: 1, d: 1 }), 'spec.a differs'],
  ['many', object({}), 'spec.a, spec.b, spec.c and 1 more differ'],
  ['going', object({ a: 1, b: 1, c: 1, d: 1 }, { deletionTimestamp: 'now' }), 'is being deleted'],
];
for (const [what, live, reason] of reasons)
  test(`reason: ${what}`, () => assert.is(needsApply(object({ a: 1, b: 1, c: 1, d: 1 }), live), reason));

const quantities: [string | number, number | undefined][] = [
  [2, 2],
  ['500m', 0.5],
  ['1.5Gi', 1.5 * 2 ** 30],
  ['1e3', 1000],
  ['3E', 3e18],
  ['64Mi', 64 * 2 ** 20],
  ['ten', undefined],
  ['1Xi', undefined],
  ['', undefined],
];
for (const [text, amount] of quantities) test(`quantity ${text}`, () => assert.is(parseQuantity(text), amount));
test('text that is no quantity is never the same', () => assert.not(sameQuantity('a', 'a b')));

test.run();
