import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { titleOf } from '../lib/kube-object.ts';
import { resourceOf } from '../lib/ports/kube.ts';
import type { KubeObject } from '../lib/step.ts';
import { type Bench, bench, object, SERVER } from './cluster-fixture.ts';
import { listOf, said } from './kube-controllers.ts';
import { APP, appService, LABS, sentBy } from './kube-objects.ts';
import { definitions, moduleFolders } from './kube-schemas.ts';
import { type KubeServer, kubeAssets, startKubeServer } from './kube-server.ts';
import { gate } from './pve-fixture.ts';

/**
 * What kubectl says, word for word where a script or a person reads it: the emulator's is held to it always, a real
 * API server and the real kubectl of the pinned version where there are some.
 */
type Said = { code: number; stdout: string; stderr: string };
type Kubectl = (args: readonly string[], stdin?: string) => Promise<Said>;
/** `args` as one would type them; a word with spaces is quoted nowhere here. */
type Call = [args: string, expected: { code?: number; out?: string | RegExp; err?: string | RegExp }, stdin?: string];

const APPLY = 'apply --server-side --field-manager=homelab --force-conflicts=false -f -';
const map = (name: string, data: Record<string, string> = {}, namespace = 'default'): KubeObject =>
  object('v1', 'ConfigMap', name, namespace, { data });
const one = (value: unknown): string => JSON.stringify(value);
const ok = (out: string): Call[1] => ({ out });
const fails = (err: string | RegExp, out: string | RegExp = ''): Call[1] => ({ code: 1, err, out });
const notFound = (what: string): Call[1] => fails(`Error from server (NotFound): ${what} not found\n`);

const storageClass = (change: Record<string, unknown> = {}): string =>
  one(
    object('storage.k8s.io/v1', 'StorageClass', 'slow', undefined, {
      provisioner: 'p',
      parameters: { a: 'b' },
      ...change,
    }),
  );
const secret = (stringData: Record<string, string>): string =>
  one(object('v1', 'Secret', 's', 'default', { type: 'Opaque', stringData }));
const ingress = (spec: Record<string, unknown>): string =>
  one(object('networking.k8s.io/v1', 'Ingress', 'i', 'default', { spec }));
const rule = (host: string, path: Record<string, unknown> = {}): string => {
  const backend = { service: { name: 's', port: { number: 80 } } };
  return ingress({ rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend, ...path }] } }] });
};
const workload = (labels: Record<string, string>, container: Record<string, unknown>): string =>
  one(
    object('apps/v1', 'Deployment', 'd', 'default', {
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels }, spec: { containers: [{ name: 'c', ...container }] } },
      },
    }),
  );
const fixed = (words: string): Call[1] => fails(`The StorageClass "slow" is invalid: ${words}: field is immutable\n`);
const bare = object('v1', 'Pod', 'bare', 'default', {
  spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i' }] },
});
const BARE = 'cannot delete Pods that declare no controller (use --force to override): default/bare';
const stranger = object('example.org/v1', 'Thing', 'x', 'default', {});

const CHAPTERS: Record<string, Call[]> = {
  'server-side apply': [
    [APPLY, ok('configmap/a serverside-applied\n'), one(map('a', { x: '1' }))],
    [APPLY, ok('configmap/a serverside-applied\n'), listOf([map('a', { x: '1' })])],
    [
      'apply --server-side --field-manager=other -f -',
      ok('configmap/a serverside-applied\n'),
      one(map('a', { y: '1' })),
    ],
    ['get cm a -n default -o jsonpath={.data}', ok('{"x":"1","y":"1"}')],
    [APPLY, ok('configmap/a serverside-applied\n'), one(map('a'))],
    ['get cm a -n default -o jsonpath={.data}', ok('{"y":"1"}')],
    [
      APPLY,
      fails(
        /^error: Apply failed with 1 conflict: conflict with "other": \.data\.y\nPlease review the fields above--they currently have other managers\./,
      ),
      one(map('a', { y: '2' })),
    ],
    [
      'apply --server-side --field-manager=other -f -',
      ok('configmap/a serverside-applied\n'),
      one(map('a', { y: '1', z: '1' })),
    ],
    [
      APPLY,
      fails(/^error: Apply failed with 2 conflicts: conflicts with "other":\n- \.data\.y\n- \.data\.z\nPlease review/),
      one(map('a', { y: '2', z: '2' })),
    ],
    [`${APPLY} --force-conflicts=true`, ok('configmap/a serverside-applied\n'), one(map('a', { y: '2' }))],
    ['get cm a -n default -o jsonpath={.data}', ok('{"y":"2","z":"1"}')],
    [`${APPLY} --dry-run=server`, ok('configmap/a serverside-applied (server dry run)\n'), one(map('a', { y: '3' }))],
    ['get cm a -n default -o jsonpath={.data.y}', ok('2')],
  ],
  'refusals of one object': [
    [APPLY, notFound('namespaces "nowhere"'), one(map('a', {}, 'nowhere'))],
    [
      APPLY,
      fails(
        'error: resource mapping not found for name: "x" namespace: "default" from "STDIN": no matches for kind "Thing" in version "example.org/v1"\nensure CRDs are installed first\n',
      ),
      one(stranger),
    ],
    [
      APPLY,
      fails(
        /^The ConfigMap "Not_A_Name" is invalid: metadata\.name: Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain must consist of/,
      ),
      one(map('Not_A_Name')),
    ],
    [
      APPLY,
      fails(
        'Error from server: failed to create typed patch object (default/s; /v1, Kind=Service): .spec.porst: field not declared in schema\n',
      ),
      one(object('v1', 'Service', 's', 'default', { spec: { porst: [] } })),
    ],
    [
      APPLY,
      fails(
        'Error from server: failed to create typed patch object (default/m; traefik.io/v1alpha1, Kind=Middleware): .spec.redirectScheme.schema: field not declared in schema\n',
      ),
      one(
        object('traefik.io/v1alpha1', 'Middleware', 'm', 'default', { spec: { redirectScheme: { schema: 'https' } } }),
      ),
    ],
    [
      APPLY,
      fails('error: resource name may not be empty\n'),
      one({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'default' } }),
    ],
    [APPLY, fails('error: no objects passed to apply\n'), ''],
    [
      APPLY,
      fails(
        'error: unable to decode "STDIN": json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string\n',
      ),
      one({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', namespace: 'default', labels: { a: 1 } } }),
    ],
    // A namespace that a kind has not got is passed over.
    [
      APPLY,
      ok('storageclass.storage.k8s.io/x serverside-applied\n'),
      one(object('storage.k8s.io/v1', 'StorageClass', 'x', 'default', { provisioner: 'p' })),
    ],
  ],
  'refusals of what is in an object': [
    [
      APPLY,
      fails(
        /^The Ingress "i" is invalid: spec\.rules\[0\]\.host: Invalid value: "10\.0\.0\.1": must be a DNS name, not an IP address\n$/,
      ),
      rule('10.0.0.1'),
    ],
    [APPLY, fails(/host: Invalid value: "a\.b:80": a lowercase RFC 1123 subdomain must consist of/), rule('a.b:80')],
    [
      APPLY,
      fails(
        /host: Invalid value: "a\.\*\.b": a wildcard DNS-1123 subdomain must start with '\*\.', followed by a valid DNS subdomain/,
      ),
      rule('a.*.b'),
    ],
    [
      APPLY,
      fails(/paths\[0\]\.pathType: Required value: pathType must be specified\n$/),
      rule('a.b', { pathType: undefined }),
    ],
    [
      APPLY,
      fails(/cannot set both port name & port number\n$/),
      rule('a.b', { backend: { service: { name: 's', port: { number: 80, name: 'x' } } } }),
    ],
    [APPLY, fails(/paths\[0\]\.path: Invalid value: "x": must be an absolute path\n$/), rule('a.b', { path: 'x' })],
    [APPLY, fails(/: `selector` does not match template `labels`\n$/), workload({ a: 'c' }, { image: 'i' })],
    [
      APPLY,
      fails(/^The Deployment "d" is invalid: spec\.template\.spec\.containers\[0\]\.image: Required value\n$/),
      workload({ a: 'b' }, {}),
    ],
    [
      APPLY,
      fails(/restartPolicy: .*valid values: "OnFailure", "Never"\n$/),
      one(
        object('batch/v1', 'Job', 'j', 'default', {
          spec: { template: { spec: { containers: [{ name: 'c', image: 'i' }] } } },
        }),
      ),
    ],
    [
      APPLY,
      fails(/spec\.accessModes: .*at least 1 access mode is required\n$/),
      one(
        object('v1', 'PersistentVolumeClaim', 'c', 'default', {
          spec: { accessModes: [], resources: { requests: { storage: '1Gi' } } },
        }),
      ),
    ],
    [
      APPLY,
      fails(/^The Service "x" is invalid: spec\.ports: Required value\n$/),
      one(object('v1', 'Service', 'x', 'default', { spec: { ports: [] } })),
    ],
  ],
  'refusals of several objects': [
    [
      APPLY,
      fails(
        'Error from server (NotFound): namespaces "nowhere" not found\n',
        'configmap/b serverside-applied\nconfigmap/c serverside-applied\n',
      ),
      listOf([map('b'), map('x', {}, 'nowhere'), map('c')]),
    ],
    [
      APPLY,
      fails(
        'unable to recognize no matches for kind "Thing" in version "example.org/v1"\n',
        'configmap/b serverside-applied\n',
      ),
      listOf([stranger, map('b')]),
    ],
    [
      APPLY,
      fails(/^The ConfigMap "B" is invalid: metadata\.name: /, 'configmap/b serverside-applied\n'),
      listOf([map('B'), map('b')]),
    ],
    [
      APPLY,
      fails(
        /^Error from server \(Invalid\): ConfigMap "B" is invalid: metadata\.name: .*\nError from server \(NotFound\): namespaces "nowhere" not found\n$/,
      ),
      listOf([map('B'), map('x', {}, 'nowhere')]),
    ],
    [APPLY, ok('configmap/theirs serverside-applied\n'), one(map('theirs', { x: '1' }))],
    ['patch cm theirs -n default -p {"data":{"x":"3"}}', ok('configmap/theirs patched\n')],
    [
      APPLY,
      fails(
        /^Apply failed with 1 conflict: conflict with "kubectl-patch" using v1: \.data\.x\n[\s\S]*\nError from server \(NotFound\): namespaces "nowhere" not found\n$/,
      ),
      listOf([map('theirs', { x: '2' }), map('x', {}, 'nowhere')]),
    ],
    // kubectl itself looks at what is in a List, before it sends anything.
    [
      APPLY,
      fails(
        /^error: error validating "STDIN": error validating data: ValidationError\(Service\.spec\): unknown field "porst".*; if you choose to ignore these errors, turn validation off with --validate=false\n$/,
      ),
      listOf([map('never'), object('v1', 'Service', 's', 'default', { spec: { porst: [] } })]),
    ],
    ['get cm never -n default', notFound('configmaps "never"')],
  ],
  'what cannot be changed': [
    [APPLY, ok('storageclass.storage.k8s.io/slow serverside-applied\n'), storageClass()],
    [APPLY, fixed('parameters: Invalid value: {"a":"c"}'), storageClass({ parameters: { a: 'c' } })],
    [APPLY, fixed('provisioner: Invalid value: "q"'), storageClass({ provisioner: 'q' })],
    [APPLY, fixed('reclaimPolicy: Invalid value: "Retain"'), storageClass({ reclaimPolicy: 'Retain' })],
    [
      APPLY,
      fixed('volumeBindingMode: Invalid value: "WaitForFirstConsumer"'),
      storageClass({ volumeBindingMode: 'WaitForFirstConsumer' }),
    ],
    [
      APPLY,
      ok('storageclass.storage.k8s.io/slow serverside-applied\n'),
      storageClass({ mountOptions: ['hard'], allowVolumeExpansion: true }),
    ],
    [APPLY, ok('secret/s serverside-applied\n'), secret({ a: 'b' })],
    [
      APPLY,
      fails('The Secret "s" is invalid: type: Invalid value: "x/y": field is immutable\n'),
      one(object('v1', 'Secret', 's', 'default', { type: 'x/y' })),
    ],
    [
      APPLY,
      ok('service/s serverside-applied\n'),
      one(object('v1', 'Service', 's', 'default', { spec: { ports: [{ port: 80 }] } })),
    ],
    [
      APPLY,
      fails(
        'The Service "s" is invalid: spec.clusterIPs[0]: Invalid value: ["10.43.0.199"]: may not change once set\n',
      ),
      one(object('v1', 'Service', 's', 'default', { spec: { clusterIP: '10.43.0.199', ports: [{ port: 80 }] } })),
    ],
  ],
  // What is written as text is nobody's afterwards: it is not taken away, and whoever changed it does not keep it.
  'the text of a Secret': [
    [APPLY, ok('secret/s serverside-applied\n'), secret({ b: 'c' })],
    ['get secret s -n default -o jsonpath={.data}', ok('{"a":"Yg==","b":"Yw=="}')],
    ['patch secret s -n default -p {"data":{"b":"eA=="}}', ok('secret/s patched\n')],
    [APPLY, ok('secret/s serverside-applied\n'), secret({ b: 'c' })],
    ['get secret s -n default -o jsonpath={.data.b}', ok('Yw==')],
  ],
  reading: [
    ['get cm none -n default', notFound('configmaps "none"')],
    ['get configmap.v1. none -n default --ignore-not-found -o json', ok('')],
    ['get configmap.v1. -n nowhere --ignore-not-found -o json', ok('')],
    ['get cm -n nowhere', { err: 'No resources found in nowhere namespace.\n', out: '' }],
    ['get cm -n nowhere -o json', { out: /^\{\n {4}"apiVersion": "v1",\n {4}"items": \[\],\n {4}"kind": "List",\n/ }],
    ['get cm,secret -n nowhere -o name', ok('')],
    ['get cm x -A', fails('error: a resource cannot be retrieved by name across all namespaces\n')],
    ['get flowers', fails('error: the server doesn\'t have a resource type "flowers"\n')],
    [
      'get thing.v1.example.org x -n y --ignore-not-found -o json',
      fails('error: the server doesn\'t have a resource type "thing"\n'),
    ],
    [
      'get node.v1.,thing.v1.example.org,tree.v1.example.org -A --ignore-not-found -o json',
      fails('error: the server doesn\'t have a resource type "thing"\n'),
    ],
    [
      'get namespace.v1.,configmap.v1. -n default -o name',
      { out: /^namespace\/default\n[\s\S]*configmap\/a\nconfigmap\/b\n/ },
    ],
    ['get cm/a secret/s -n default -o name', ok('configmap/a\nsecret/s\n')],
    [
      'get cm a none -n default -o name',
      fails('Error from server (NotFound): configmaps "none" not found\n', 'configmap/a\n'),
    ],
    [
      'get cm a -n default -o nonsense',
      fails(/^error: unable to match a printer suitable for the output format "nonsense", allowed formats are: /),
    ],
    ['get pods --frobnicate', fails("error: unknown flag: --frobnicate\nSee 'kubectl get --help' for usage.\n")],
    ['frobnicate', fails('error: unknown command "frobnicate" for "kubectl"\n')],
    ['get --raw /readyz', ok('ok')],
    ['get --raw /nothing', fails('Error from server (NotFound): the server could not find the requested resource\n')],
    [
      'logs job/none -n default --tail=5 --all-containers=true',
      fails('error: error from server (NotFound): jobs.batch "none" not found in namespace "default"\n'),
    ],
  ],
  deleting: [
    ['delete cm none -n default', notFound('configmaps "none"')],
    ['delete configmap.v1. none -n nowhere --ignore-not-found --wait=true --timeout=5s', ok('')],
    [
      'delete thing.v1.example.org x -n y --ignore-not-found --wait=true --timeout=5s',
      fails('error: the server doesn\'t have a resource type "thing"\n'),
    ],
    [
      'delete configmap.v1. c -n default --ignore-not-found --wait=true --timeout=5s',
      ok('configmap "c" deleted from default namespace\n'),
    ],
    [
      'delete storageclass.v1.storage.k8s.io x --ignore-not-found --wait=true --timeout=5s',
      ok('storageclass.storage.k8s.io "x" deleted\n'),
    ],
    [
      'delete secret s none -n default',
      fails('Error from server (NotFound): secrets "none" not found\n', 'secret "s" deleted from default namespace\n'),
    ],
    ['delete cm', fails('error: resource(s) were provided, but no name was specified\n')],
    [
      'delete namespace kube-system',
      fails(
        'Error from server (Forbidden): namespaces "kube-system" is forbidden: this namespace may not be deleted\n',
      ),
    ],
  ],
  'labels and taints of a node': [
    [APPLY, ok('node/n1 serverside-applied\n'), one(object('v1', 'Node', 'n1', undefined, {}))],
    ['label node n1 tier=one', ok('node/n1 labeled\n')],
    ['label node n1 tier=one', ok('node/n1 not labeled\n')],
    ['label node n1 tier=two', fails("error: 'tier' already has a value (one), and --overwrite is false\n")],
    ['label node n1 tier=two gone- --overwrite', ok('label "gone" not found.\nnode/n1 labeled\n')],
    ['label node n1 tier-', ok('node/n1 unlabeled\n')],
    [
      'label node n1 bad=a_',
      fails(/^error: invalid label value: "bad=a_": a valid label must be an empty string or consist of /),
    ],
    ['label node nobody a=b', notFound('nodes "nobody"')],
    ['annotate node n1 a=b', ok('node/n1 annotated\n')],
    [
      'annotate node n1 a=c',
      fails(
        "error: --overwrite is false but found the following declared annotation(s): 'a' already has a value (b)\n",
      ),
    ],
    ['taint node n1 dedicated=gpu:NoSchedule', ok('node/n1 tainted\n')],
    [
      'taint node n1 dedicated=gpu:NoSchedule',
      fails('error: node n1 already has dedicated taint(s) with same effect(s) and --overwrite is false\n'),
    ],
    ['taint node n1 dedicated=cpu:NoSchedule --overwrite', ok('node/n1 modified\n')],
    ['taint node n1 new=:NoExecute --overwrite', ok('node/n1 modified\n')],
    ['taint node n1 new- other=x:NoSchedule', ok('node/n1 modified\n')],
    ['taint node n1 dedicated:NoSchedule-', ok('node/n1 untainted\n')],
    ['taint node n1 dedicated:NoSchedule-', fails('error: taint "dedicated:NoSchedule" not found\n')],
    [
      'taint node n1 a=b:Bad',
      fails(
        "error: invalid taint effect: Bad, unsupported taint effect\nSee 'kubectl taint -h' for help and examples\n",
      ),
    ],
    ['taint node nobody a=b:NoSchedule', notFound('nodes "nobody"')],
    ['cordon n1', ok('node/n1 cordoned\n')],
    ['cordon n1', ok('node/n1 already cordoned\n')],
    [
      'drain n1 --ignore-daemonsets --delete-emptydir-data --timeout=5s',
      ok('node/n1 already cordoned\nnode/n1 drained\n'),
    ],
    ['uncordon n1', ok('node/n1 uncordoned\n')],
    ['uncordon n1', ok('node/n1 already uncordoned\n')],
    ['cordon nobody', notFound('nodes "nobody"')],
    ['drain nobody --timeout=5s', notFound('nodes "nobody"')],
    [APPLY, ok('pod/bare serverside-applied\n'), one(bare)],
    [
      'drain n1 --ignore-daemonsets --delete-emptydir-data --timeout=5s',
      fails(
        `error: unable to drain node "n1" due to error: ${BARE}, continuing command...\nThere are pending nodes to be drained:\n n1\n${BARE}\n`,
        'node/n1 cordoned\n',
      ),
    ],
    ['delete node.v1. n1 --ignore-not-found --wait=true --timeout=5s', ok('node "n1" deleted\n')],
  ],
  'changes and waits': [
    ['patch cm a -n default -p {"data":{"p":"1"}}', ok('configmap/a patched\n')],
    ['patch cm a -n default -p {"data":{"p":"1"}}', ok('configmap/a patched (no change)\n')],
    ['patch cm none -n default -p {}', notFound('configmaps "none"')],
    [
      'wait --for=condition=Ready cm/a -n default --timeout=3s',
      fails('error: timed out waiting for the condition on configmaps/a\n'),
    ],
    ['wait --for=condition=Ready cm/none -n default --timeout=3s', notFound('configmaps "none"')],
    ['wait --for=delete cm/none -n default --timeout=3s', ok('')],
    [
      'wait --for=delete cm/a -n default --timeout=3s',
      fails('error: timed out waiting for the condition on configmaps/a\n'),
    ],
    ['rollout status deployment/none -n default --timeout=1s', notFound('deployments.apps "none"')],
    ['scale deployment/none -n default --replicas=3', notFound('deployments.apps "none"')],
    ['create namespace n', ok('namespace/n created\n')],
    ['create namespace n', fails('Error from server (AlreadyExists): namespaces "n" already exists\n')],
  ],
};

const Emulator = suite('kubectl, emulated');
const Real = suite('kubectl, real');

let lab: Bench;
let emulated: Kubectl;
Emulator.before(async () => {
  lab = await bench();
  const host = lab.host('k3s-cp-01', '10.20.11.80');
  host.writeFile('/etc/rancher/k3s/config.yaml', `cluster-init: true\n${SERVER}`);
  await lab.cluster.units.get('k3s')?.start(host);
  await lab.cluster.settle();
  emulated = async (args, stdin) => {
    const { code, stdout = '', stderr = '' } = await lab.kubectl(host, [...args], stdin);
    return { code, stdout, stderr };
  };
});

const assets = kubeAssets();
const folders = await moduleFolders();
let server: KubeServer;
Real.before(async () => {
  if ('missing' in assets || typeof folders === 'string') return;
  server = await startKubeServer(assets.folder);
  await said(server, ['apply', '--server-side', '-f', '-'], listOf(definitions(folders)));
  await said(server, ['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
});
Real.after(async () => {
  await lab.close();
  await server?.close();
});
const missing = 'missing' in assets ? assets.missing : typeof folders === 'string' ? folders : undefined;
const real = gate(Real, 'kube', missing);

/** All calls of a chapter, in their order; every difference is told, not only the first. */
async function compare(calls: readonly Call[], kubectl: Kubectl): Promise<void> {
  const differences: string[] = [];
  for (const [args, { code = 0, out = '', err = '' }, stdin] of calls) {
    const got = await kubectl(args.split(' '), stdin);
    const wrong = [
      ...(got.code === code ? [] : [`code ${got.code}`]),
      ...(matches(got.stdout, out) ? [] : [`stdout ${JSON.stringify(got.stdout)}`]),
      ...(matches(got.stderr, err) ? [] : [`stderr ${JSON.stringify(got.stderr)}`]),
    ];
    if (wrong.length > 0)
      differences.push(`${args}${stdin ? ` < ${stdin.slice(0, 120)}` : ''}\n  ${wrong.join('\n  ')}`);
  }
  assert.is(differences.join('\n'), '');
}

function matches(text: string, wanted: string | RegExp): boolean {
  return typeof wanted === 'string' ? text === wanted : wanted.test(text);
}

for (const [chapter, calls] of Object.entries(CHAPTERS)) {
  Emulator(chapter, () => compare(calls, emulated));
  real(chapter, () => compare(calls, (args, stdin) => server.kubectl(args, stdin)));
}

/** Fields that the two give values of their own, and those that only a whole cluster has somebody for. */
const THEIR_OWN: RegExp[] = [
  /^metadata\.(uid|resourceVersion|creationTimestamp|generation)\b/,
  /^status\b/,
  // Labels by which a Job knows its pods: in the lab its owner does. And a field that kubernetes-models does not know.
  /^spec\.selector\.matchLabels\.batch\b|^spec\.template\.metadata\.labels\.(batch\b|controller-uid|job-name)/,
  /^spec\.podReplacementPolicy$/,
  /^spec\.(clusterIPs?|ports\.0\.nodePort)\b/,
  // MetalLB's controller, the one that protects claims in use, and the admission of pods.
  /^metadata\.annotations\.metallb\.io/,
  /^metadata\.finalizers\b/,
  /^spec\.(priority|preemptionPolicy|tolerations)\b/,
];

real('what the scripts send is stored with the same defaults', async () => {
  const namespace = object('v1', 'Namespace', APP.name, undefined, {});
  const sent = [namespace, appService(), ...(await sentBy(LABS[0]![1])).map((each) => each.object)];
  for (const each of sent) {
    if (each.metadata.name === 'local-path') continue; // K3s's own, in part only
    const { apiVersion, kind, metadata } = each;
    const where = metadata.namespace ? ['-n', metadata.namespace] : [];
    const get = ['get', resourceOf({ apiVersion, kind }), metadata.name, ...where, '-o', 'json'];
    const [wanted, found] = await Promise.all(
      [server.kubectl, emulated].map(async (kubectl) => {
        const { code, stderr } = await kubectl(APPLY.split(' '), one(each));
        assert.is(code, 0, stderr);
        return fields(JSON.parse((await kubectl(get)).stdout)).sort();
      }),
    );
    assert.equal(found, wanted, titleOf(each));
    // A chart brings its kinds, and the webhook that looks at them.
    await lab.cluster.settle();
  }
});

/** "spec.replicas=1" for every leaf that is not its keeper's own. */
function fields(value: unknown, path = ''): string[] {
  if (THEIR_OWN.some((own) => own.test(path))) return [];
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0)
    return [`${path}=${JSON.stringify(value)}`];
  return Object.entries(value).flatMap(([key, each]) => fields(each, path ? `${path}.${key}` : key));
}

Emulator.run();
Real.run();
