import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { resultLine } from '../lib/backup/pod-result.ts';
import { postgresPassword } from '../lib/config/secret-names.ts';
import { findObject, refOf, titleOf } from '../lib/kube-object.ts';
import type { Lab } from '../lib/lab-context.ts';
import { observeCronJob } from '../lib/observe/backup-install.ts';
import { observeIngress } from '../lib/observe/ingress.ts';
import { observeMetallb } from '../lib/observe/metallb.ts';
import { observeNewIngress } from '../lib/observe/new-ingress.ts';
import { observeNfs } from '../lib/observe/nfs.ts';
import { installOperations } from '../lib/operations/backup-install.ts';
import { planInstallCronJob } from '../lib/plan/backup-install.ts';
import { needsApply } from '../lib/plan/differences.ts';
import { CLOUDFLARE_TOKEN, planIngress } from '../lib/plan/ingress.ts';
import { planMetallb } from '../lib/plan/metallb.ts';
import { planNewIngress } from '../lib/plan/new-ingress.ts';
import { planStorageClasses } from '../lib/plan/nfs-cluster.ts';
import { realEndpoints } from '../lib/ports/endpoints.ts';
import { connectKube } from '../lib/ports/kube.ts';
import type { Kube, Readers } from '../lib/ports/types.ts';
import { ingressYaml, middlewareYaml } from '../lib/render/ingress.ts';
import { Secrets } from '../lib/secret.ts';
import { inOrder, joinPlans, type KubeObject, type Plan } from '../lib/step.ts';
import { object } from './cluster-fixture.ts';
import { labWith } from './k3s-fixtures.ts';
import { controllersAct, said } from './kube-controllers.ts';
import { APP, appService, backupSeen, LABS, localPath, sentBy, TARGET_ID } from './kube-objects.ts';
import { definitions, moduleFolders } from './kube-schemas.ts';
import { type KubeServer, kubeAssets, startKubeServer } from './kube-server.ts';
import { gate } from './pve-fixture.ts';

/** The kube port, and what planners make of its answers, against a real API server of the pinned version. */
const test = suite('kube, real API server');
const assets = kubeAssets();
const folders = await moduleFolders();
const missing = 'missing' in assets ? assets.missing : typeof folders === 'string' ? folders : undefined;
const real = gate(test, 'kube', missing);

const secrets = new Secrets();
secrets.add(CLOUDFLARE_TOKEN, 'a token');
secrets.add(postgresPassword('main'), 'a token');
let server: KubeServer;
let kube: Kube;
let readers: Readers;

test.before(async () => {
  if ('missing' in assets || typeof folders === 'string') return;
  server = await startKubeServer(assets.folder);
  kube = connectKube({ lab: labWith(), secrets }, server.ssh);
  const fine = { ok: true as const, value: { code: 0, stdout: 'ok installed', stderr: '' } };
  const ssh: Readers['ssh'] = {
    ...server.ssh,
    read: async (host, argv) => (argv[0] === 'k3s' ? server.ssh.read(host, argv) : fine),
  };
  const pve = { get: async () => ({ ok: true, value: [] }) } as unknown as Readers['pve'];
  const clock = { now: () => new Date(), sleep: async () => undefined };
  readers = { kube, ssh, pve, clock } as Partial<Readers> as Readers;
  const bundled = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: definitions(folders) });
  await said(server, ['apply', '--server-side', '-f', '-'], bundled);
  await said(server, ['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
  // As K3s's own controller does it: the fields are its.
  await said(server, ['create', '--field-manager=deploy@k3s-cp-01', '-f', '-'], JSON.stringify(localPath(true)));
  const namespaces = [APP.name, 'traefik'].map((name) => object('v1', 'Namespace', name, undefined, {}));
  await kube.apply([...namespaces, appService()]);
});
test.after(() => server?.close());

/** What each script would do now, by the objects that the API server returns. */
async function plans(lab: Lab): Promise<Plan> {
  const args = { ...APP, apply: true, force: false, probe: '/' };
  const call = { ...APP, namespace: APP.name, port: Number(APP.port) };
  const files = {
    text: async (path: string) =>
      path.endsWith('middleware.yaml') ? middlewareYaml(lab.config.ingress) : ingressYaml(call, lab.config.ingress),
    list: async (path: string) => (path.endsWith(APP.name) ? ['ingress.yaml'] : [APP.name]),
  };
  const all = { ...readers, files } as unknown as Readers;
  const nfs = (await observeNfs(lab, all)).cluster;
  if (!nfs.ok) throw new Error(nfs.reason);
  const opened = { secrets } as Parameters<typeof observeIngress>[3];
  const context = { secrets, endpoints: realEndpoints };
  const { databases } = backupSeen(lab);
  const each: [string, Plan][] = [
    ['metallb', planMetallb(lab, await observeMetallb(lab, all))],
    ['nfs', planStorageClasses(lab.config, nfs.value, [])],
    ['ingress', planIngress(lab, await observeIngress(lab, all, {}, opened))],
    ['backup', planInstallCronJob(lab.config, { ...(await observeCronJob(lab, all, context)), databases })],
    ['new', planNewIngress(lab, await observeNewIngress(lab, all, args), args)],
  ];
  return joinPlans(...each.map(([script, plan]) => named(script, plan)));
}

/** Ids of different scripts are kept apart. */
function named(script: string, { steps, notes }: Plan): Plan {
  const id = (text: string): string => `${script}: ${text}`;
  return { steps: steps.map((step) => ({ ...step, id: id(step.id), after: step.after?.map(id) })), notes };
}

/** Carries out the steps that are objects, and the proof of a backup; what is waited for is there at once. */
async function carryOut(lab: Lab, plan: Plan): Promise<void> {
  for (const { action } of inOrder(plan)) {
    if (action.kind === 'operation') await luckyJob(lab, action.args);
    if (action.kind !== 'kube') continue;
    if (action.verb === 'delete') await kube.delete(action.objects.map(refOf), 30);
    else
      await kube.apply(
        action.objects.map((each) => (action.secrets ? { ...each, stringData: tokens(action.secrets) } : each)),
        action,
      );
  }
  await controllersAct(server);
}

function tokens(secrets: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(Object.keys(secrets).map((key) => [key, 'a token']));
}

/** No controller runs the Job: the object is the API server's, its end is told. */
async function luckyJob(lab: Lab, args: Record<string, unknown>): Promise<void> {
  const pod = object('v1', 'Pod', 'pod', undefined, { metadata: {} });
  let made = false;
  const lucky: Kube = {
    ...kube,
    get: async (ref) => {
      const live = await kube.get(ref);
      return live && ref.kind === 'Job'
        ? { ...live, status: { conditions: [{ type: 'Complete', status: 'True' }] } }
        : live;
    },
    apply: async (objects, options) => {
      made ||= objects.some(({ kind }) => kind === 'Job');
      await kube.apply(objects, options);
    },
    delete: async (refs, deadline) => {
      made = false;
      await kube.delete(refs, deadline);
    },
    list: async (apiVersion, kind, namespace) => {
      if (kind !== 'Pod') return kube.list(apiVersion, kind, namespace);
      return made ? [{ ...pod, metadata: { name: 'pod', labels: { 'job-name': `backup-${args.server}-proof` } } }] : [];
    },
    logs: async () =>
      resultLine({ server: String(args.server), exit: 0, targets: { 'backup-target.json': TARGET_ID }, set: 'a-set' }),
  };
  const operation = installOperations(lab)['prove-and-apply']!;
  const clock = { now: () => new Date(), sleep: async () => undefined };
  await operation(args, { ports: { kube: lucky, clock } } as unknown as Parameters<typeof operation>[1]);
}

for (const [what, lab] of LABS)
  real(`${what}: applied, then there is nothing to do, and what is applied again changes nothing`, async () => {
    await carryOut(lab, await plans(lab));
    const { steps, notes } = await plans(lab);
    assert.equal(
      steps.map(({ id, why }) => `${id}: ${why}`),
      [],
    );
    assert.equal(
      notes.filter(({ level }) => level === 'blocker'),
      [],
    );
    // Of what is applied several times (a CronJob, and the same with the note of its proof) the last.
    const sent = (await sentBy(lab)).map(({ object: one }) => [titleOf(one), one] as const);
    const objects = [...new Map(sent).values()];
    await kube.apply(objects);
    const first = await seenAgain(objects);
    assert.equal(
      objects.flatMap((each, i) => needsApply(each, first[i]) ?? []),
      [],
    );
    await kube.apply(objects);
    const second = await seenAgain(objects);
    assert.equal(second.map(content), first.map(content));
    // The first update of a namespace or a claim is a write, though nothing is another: who owns what is written down anew.
    await kube.apply(objects);
    assert.equal((await seenAgain(objects)).map(version), second.map(version));
  });

const workload = (name: string, container: Record<string, unknown>, pod: Record<string, unknown> = {}): KubeObject => {
  const labels = { app: name };
  const containers = [{ name: 'c', image: 'i', ...container }];
  return object('apps/v1', 'Deployment', name, APP.name, {
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers, ...pod } } },
  });
};
/** What the API server keeps in other words, or not at all: quantities, defaults, and values that are nothing. */
const REWRITTEN: KubeObject[] = [
  workload('quantities', {
    resources: {
      requests: { cpu: '0.5', memory: '1024Mi', 'ephemeral-storage': '1000M' },
      limits: { cpu: 1, memory: '1.5Gi', 'ephemeral-storage': '2G' },
    },
  }),
  workload(
    'nothings',
    {
      ...{ tty: false, stdin: false, command: [], args: [], env: [{ name: 'A', value: '' }] },
      ports: [{ containerPort: 80 }, { containerPort: 80, protocol: 'UDP' }],
    },
    { hostNetwork: false, nodeSelector: {}, tolerations: [], initContainers: [] },
  ),
  workload(
    'defaults',
    {
      readinessProbe: { tcpSocket: { port: 80 }, initialDelaySeconds: 0 },
      volumeMounts: [{ name: 'e', mountPath: '/e', readOnly: false }],
      env: [{ name: 'N', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
    },
    {
      securityContext: {},
      volumes: [
        { name: 'e', emptyDir: { sizeLimit: '1024Mi' } },
        { name: 's', secret: { secretName: 'x' } },
      ],
    },
  ),
  object('v1', 'Service', 'ports', APP.name, {
    spec: {
      ports: [
        { port: 80, name: 'a' },
        { port: 80, protocol: 'UDP', name: 'b' },
      ],
      publishNotReadyAddresses: false,
    },
  }),
  object('v1', 'Secret', 'texts', APP.name, { stringData: { empty: '', umlaut: 'ü€😀' } }),
  object('v1', 'ConfigMap', 'empty', APP.name, { data: {}, immutable: false }),
  object('v1', 'PersistentVolumeClaim', 'claim', APP.name, {
    spec: { storageClassName: '', accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1024Mi' } } },
  }),
  object('storage.k8s.io/v1', 'StorageClass', 'empty', undefined, {
    provisioner: 'p',
    mountOptions: [],
    parameters: {},
  }),
];
real('what the API server keeps in other words is no difference', async () => {
  await kube.apply(REWRITTEN);
  const live = await seenAgain(REWRITTEN);
  assert.equal(
    REWRITTEN.map((each, i) => `${titleOf(each)}: ${needsApply(each, live[i]) ?? 'as wanted'}`),
    REWRITTEN.map((each) => `${titleOf(each)}: as wanted`),
  );
});

/** As they are in the cluster, in one look. */
async function seenAgain(objects: readonly KubeObject[]): Promise<KubeObject[]> {
  const answer = await kube.survey(objects);
  if (!answer.ok) throw new Error(answer.reason);
  return objects.map((each) => {
    const live = findObject(answer.value, refOf(each));
    if (!live) throw new Error(`${titleOf(each)} is not there`);
    return live;
  });
}

function content({ metadata: { resourceVersion: _, ...metadata }, ...rest }: KubeObject): unknown {
  return { ...rest, metadata };
}

function version(live: KubeObject): string {
  return `${titleOf(live)} ${live.metadata.resourceVersion}`;
}

test.run();
