import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import { UsageError } from '../lib/errors.ts';
import {
  type MergeOptions,
  mergeKubeconfig,
  type OwnKubeconfig,
  ownKubeconfig,
} from '../lib/render/kubeconfig-merge.ts';

const test = suite('kubeconfig, merged');
const OWN: OwnKubeconfig = {
  name: 'homelab',
  cluster: { 'certificate-authority-data': 'Q0E=', server: 'https://10.20.11.80:6443' },
  user: { 'client-certificate-data': 'Q0VSVA==', 'client-key-data': 'S0VZ' },
};
const FILE = '~/.kube/config';
const merge = (text: string | undefined, options: Partial<MergeOptions> = {}): string =>
  mergeKubeconfig(text, OWN, { file: FILE, use: false, force: false, ...options });

/** As kubectl writes it, with a person's comments. */
const WORK = `# mine, do not touch
apiVersion: v1
clusters:
# the one at work
- cluster:
    insecure-skip-tls-verify: false # really
    server: https://api.example.org:443
  name: work
contexts:
- context: {cluster: work, namespace: dev, user: me}
  name: work
current-context: work
kind: Config
preferences: {}
users:
- name: me
  user:
    exec: # asks for a password
      apiVersion: client.authentication.k8s.io/v1
      command: login
`;

test('into nothing', () => {
  for (const text of [undefined, '', '\n']) {
    const merged = parse(merge(text)) as Record<string, unknown>;
    assert.equal(merged, {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'homelab', cluster: OWN.cluster }],
      users: [{ name: 'homelab', user: OWN.user }],
      contexts: [{ context: { cluster: 'homelab', user: 'homelab' }, name: 'homelab' }],
      'current-context': 'homelab',
    });
  }
});

test('beside others: every word of theirs stays, comments too, in its order', () => {
  const words = merge(WORK).split(/\s+/);
  let at = -1;
  for (const word of WORK.split(/\s+/).filter(Boolean)) {
    at = words.indexOf(word, at + 1);
    assert.ok(at >= 0, `${word} is lost, or moved`);
  }
  assert.is((parse(merge(WORK)) as Record<string, unknown>)['current-context'], 'work');
});

test('again: the same text', () => {
  for (const text of [merge(WORK), merge(undefined), merge(WORK, { use: true })]) assert.is(merge(text), text);
});

test('--use makes it the current one, nothing else does while one is set', () => {
  const current = (text: string): unknown => (parse(text) as Record<string, unknown>)['current-context'];
  assert.is(current(merge(WORK, { use: true })), 'homelab');
  assert.is(current(merge(WORK.replace('current-context: work', 'current-context: ""'))), 'homelab');
  assert.is(current(merge(WORK.replace('current-context: work\n', ''))), 'homelab');
});

test('ours of before is replaced: a rebuilt cluster, a server that moved; a namespace that a person chose stays', () => {
  const before = merge(WORK).replace(/cluster: homelab\n/, 'cluster: homelab\n    namespace: dev\n');
  assert.match(before, 'namespace: dev\n');
  for (const [from, to] of [
    ['Q0E=', 'T0xE'],
    ['https://10.20.11.80:6443', 'https://10.20.11.81:6443'],
    ['S0VZ', 'T0xE'],
  ] as const) {
    const merged = merge(before.replace(from, to));
    assert.is(merged, before, from);
  }
});

test('an entry of ours that was taken out comes back', () => {
  const text = merge(WORK).replace(/- name: homelab\n {2}user:[\s\S]*$/, '');
  assert.equal(parse(merge(text)), parse(merge(WORK)));
});

test('a context of ours that was taken out comes back, where what it led to is ours still', () => {
  const text = without('contexts', merge(WORK));
  assert.equal(parse(merge(text)), parse(merge(WORK)));
});

test('lists that are empty, null, or in JSON', () => {
  const empty = 'apiVersion: v1\nkind: Config\nclusters: []\ncontexts: null\nusers:\n';
  assert.equal(parse(merge(empty)), parse(merge(undefined)));
  const json = JSON.stringify(parse(WORK), null, 2);
  assert.equal(parse(merge(json)), parse(merge(WORK)));
});

/** Without our entry in a list. */
const without = (list: string, text: string): string => {
  const value = parse(text) as Record<string, { name: string }[]>;
  return stringify({ ...value, [list]: value[list]?.filter(({ name }) => name !== 'homelab') });
};

const foreign: [string, (text: string) => string, RegExp][] = [
  [
    'a cluster of another server and another CA',
    (text) => text.replace('Q0E=', 'T0xE').replace('10.20.11.80', '192.0.2.1'),
    /the cluster "homelab" there is https:\/\/192\.0\.2\.1:6443, and ours is https:\/\/10\.20\.11\.80:6443/,
  ],
  [
    'a context that leads elsewhere',
    (text) => text.replace(/cluster: homelab\n( +)user: homelab/, 'cluster: work\n$1user: me'),
    /the context "homelab" there is of the cluster "work" and the user "me"/,
  ],
  [
    'a user that another context has',
    (text) => text.replace('user: me}', 'user: homelab}').replace('user: me }', 'user: homelab }'),
    /the user "homelab" there is that of the context "work"/,
  ],
  [
    'a user that no context has',
    (text) => without('contexts', text).replace('S0VZ', 'T0xE'),
    /the user "homelab" there is not ours as it is now, and no context "homelab" says whose it is/,
  ],
  [
    'a cluster that no context has, of another CA',
    (text) => without('contexts', text).replace('Q0E=', 'T0xE'),
    /the cluster "homelab" there is not ours as it is now, and no context "homelab" says whose it is/,
  ],
];
for (const [what, change, said] of foreign)
  test(`refused, unless it is forced: ${what}`, () => {
    const text = change(merge(WORK));
    assert.is.not(text, merge(WORK));
    assert.throws(
      () => merge(text),
      (error: unknown) =>
        error instanceof UsageError && error.message.startsWith(`${FILE}: `) && said.test(error.message),
    );
    const forced = parse(merge(text, { force: true })) as { clusters: { name: string; cluster: unknown }[] };
    assert.equal(forced.clusters.find(({ name }) => name === 'homelab')?.cluster, OWN.cluster);
  });

test('what is no kubeconfig is refused with the place, and shows nothing of what is in it', () => {
  const cases: [string, RegExp][] = [
    ['clusters:\n- name: [\n  token: s3cret\n', /^~\/\.kube\/config:\d+:\d+: it is no YAML: /],
    ['a: 1\na: 2\n', /^~\/\.kube\/config:2:1: it is no YAML: Map keys must be unique/],
    ['- a\n', /^~\/\.kube\/config:1:1: it is no kubeconfig/],
    ['clusters: x\n', /^~\/\.kube\/config: clusters is no list/],
    ['users: { a: b }\n', /^~\/\.kube\/config: users is no list/],
    ['a: 1\n---\nb: 2\n', /^~\/\.kube\/config:\d+:\d+: it is no YAML: Source contains multiple documents/],
  ];
  for (const [text, said] of cases)
    assert.throws(
      () => merge(text),
      (error: unknown) => {
        if (!(error instanceof UsageError)) throw error;
        assert.match(error.message, said);
        assert.not.match(error.message, 's3cret');
        return true;
      },
    );
});

test('ours is taken apart; what install-k3s did not write is refused', () => {
  const text = merge(undefined);
  assert.equal(ownKubeconfig(text, 'f'), OWN);
  assert.throws(() => ownKubeconfig('apiVersion: v1\n', 'f'), /f is not as install-k3s writes it/);
});

test.run();
