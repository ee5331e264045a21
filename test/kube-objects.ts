import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { resultLine } from '../lib/backup/pod-result.ts';
import type { Lab } from '../lib/lab-context.ts';
import { findExport } from '../lib/lookup.ts';
import { installOperations } from '../lib/operations/backup-install.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { planInstallCronJob } from '../lib/plan/backup-install.ts';
import type { ClusterSeen } from '../lib/plan/backup-install-seen.ts';
import { planIngress } from '../lib/plan/ingress.ts';
import { planMetallb } from '../lib/plan/metallb.ts';
import { nothingOfMetallb } from '../lib/plan/metallb-seen.ts';
import { planNewIngress } from '../lib/plan/new-ingress.ts';
import { planStorageClasses } from '../lib/plan/nfs-cluster.ts';
import type { Kube, KubeRef } from '../lib/ports/types.ts';
import { objectsOf } from '../lib/render/manifests.ts';
import { IS_DEFAULT } from '../lib/render/nfs.ts';
import type { KubeObject, Plan } from '../lib/step.ts';
import { verifyMetallb } from '../lib/verify/metallb.ts';
import { proveClaim } from '../lib/verify/nfs-claim.ts';
import { object } from './cluster-fixture.ts';
import { labWith } from './k3s-fixtures.ts';

/** An object, and who sends it to the cluster. */
export type Sent = { from: string; object: KubeObject };

export const APP = { name: 'my-app', host: 'my-app.codeofficer.com', service: 'web', port: '8080' };
/** The Service that APP's ingress leads to. */
export const appService = (namespace = APP.name): KubeObject =>
  object('v1', 'Service', APP.service, namespace, { spec: { ports: [{ port: Number(APP.port) }] } });
/** local-path as K3s brings it, which makes it the default. */
export const localPath = (isDefault: boolean): KubeObject => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: 'local-path', annotations: { [IS_DEFAULT]: String(isDefault) } },
  provisioner: 'rancher.io/local-path',
  reclaimPolicy: 'Delete',
  volumeBindingMode: 'WaitForFirstConsumer',
});

/** Labs whose objects differ: what may be left out is, and what may be several is. */
export const LABS: [what: string, lab: Lab][] = [
  ['the committed one', labWith()],
  [
    'a pool of one address, an issuer and a redirect of other names, one class only',
    labWith((config) => {
      config.name = 'l'.repeat(63);
      config.metallb = { version: 'v0.16.1', pool: '10.20.11.200-10.20.11.200' };
      config.ingress = {
        ...config.ingress,
        ...{ class: 'public', issuer: 'company-ca', middleware: 'traefik-to-https@kubernetescrd' },
      };
      config.storage_classes = [{ name: 'local-path', default: true, path: '' }];
    }),
  ],
  [
    'two network classes, one of them the default, NFS 3 and 4.1',
    labWith((config) => {
      const [local, nfs] = config.storage_classes;
      config.storage_classes = [
        { ...local!, default: false },
        { ...nfs!, default: true, path: '{namespace}/{pvc-name}/{pv-name}' },
        { ...nfs!, name: 'nfs-backups', export: 'synology/k3s-backups' },
      ];
    }),
  ],
];

/** Every object that the scripts apply in an empty cluster, and those of the proofs. */
export async function sentBy(lab: Lab): Promise<Sent[]> {
  const localDefault = lab.config.storage_classes.some((each) => each.default && !each.export);
  return [
    ...applied('install-metallb', planMetallb(lab, { ...nothingOfMetallb, answers: true })),
    ...applied(
      'setup-nfs',
      planStorageClasses(lab.config, { chart, classes: [localPath(!localDefault)], claims: [], pods: [] }, []),
    ),
    ...applied(
      'setup-ingress',
      planIngress(lab, { cluster: { ok: true, value: { chart, token: 'absent', issuers: [] } } }),
    ),
    ...applied('new-ingress', newIngress(lab)),
    ...applied('backup-postgres install', planInstallCronJob(lab.config, backupSeen(lab))),
    ...(await proving('backup-postgres install', (kube) => proveJob(lab, kube))),
    ...(await proving('install-metallb', (kube) => verifyMetallb(lab, { kube, net: ANSWERING, clock: CLOCK }))),
    ...(
      await Promise.all(
        lab.config.storage_classes
          .filter((each) => each.export && findExport(lab.config, each.export))
          .map((each) => proving('setup-nfs', (kube) => proveClaim(lab, { kube, ssh: OBEYING, clock: CLOCK }, each))),
      )
    ).flat(),
  ];
}

/** What is committed for Flux, and what new-ingress and setup-ingress write there. */
export function written(lab: Lab): Sent[] {
  const folder = join(TOOLKIT, 'applications');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.ya?ml$/.test(name));
  const plans = [newIngress(lab), planIngress(lab, { cluster: { ok: false, reason: 'not asked' } })];
  const steps = plans.flatMap((plan) => plan.steps.map(({ action }) => action));
  const texts: [string, string][] = [
    ...files.map((name): [string, string] => [`applications/${name}`, readFileSync(join(folder, name), 'utf8')]),
    ...steps.flatMap((action): [string, string][] =>
      action.kind === 'write' && typeof action.content === 'string' ? [[action.path, action.content]] : [],
    ),
  ];
  return texts.flatMap(([from, text]) => {
    const { objects, problem } = objectsOf(text);
    if (problem) throw new Error(`${from}: ${problem}`);
    return objects.map((each) => ({ from, object: each }));
  });
}

const chart = { rolledOut: false };

export const TARGET_ID = '00000000-0000-4000-8000-000000000000';

/** PostgreSQL runs, and the cluster is empty. */
export function backupSeen({ config }: Lab, bundle = 'the engine'): ClusterSeen {
  const facts = { systemIdentifier: '7', version: '15.18', major: 15, superuser: true, bootstrapRole: 'postgres' };
  const databases = config.backup!.postgresql.map(({ name }) => [
    name,
    { ok: true, ...facts, roles: [], databases: [] },
  ]);
  return {
    ...{ home: 'cluster', now: 0, bundle, requireNfs: true, targets: { 'backup-target.json': TARGET_ID } },
    ...{ databases: Object.fromEntries(databases), cluster: { ok: true, value: { objects: [], passwords: 'absent' } } },
  };
}

/** A Job of each CronJob, which ends well. */
async function proveJob(lab: Lab, kube: Kube): Promise<void> {
  const { steps } = planInstallCronJob(lab.config, backupSeen(lab));
  const removed = { pods: true };
  for (const { action } of steps) {
    if (action.kind !== 'operation') continue;
    const { server, cronJob } = action.args as { server: string; cronJob: KubeObject };
    const pod = object('v1', 'Pod', 'pod', undefined, {});
    pod.metadata.labels = { 'job-name': `${cronJob.metadata.name}-proof` };
    const lucky: Kube = {
      ...kube,
      get: async (ref) =>
        object(ref.apiVersion, ref.kind, ref.name, ref.namespace, {
          status: { conditions: [{ type: 'Complete', status: 'True' }] },
        }),
      apply: async (objects) => {
        removed.pods = false;
        await kube.apply(objects);
      },
      delete: async () => {
        removed.pods = true;
      },
      list: async (_, kind) => (kind === 'Pod' && !removed.pods ? [pod] : []),
      logs: async () => resultLine({ server, exit: 0, targets: { 'backup-target.json': TARGET_ID }, set: 'a-set' }),
    };
    const operation = installOperations(lab)['prove-and-apply']!;
    await operation(action.args, { ports: { kube: lucky, clock: CLOCK } } as unknown as Parameters<
      typeof operation
    >[1]);
  }
}

function newIngress(lab: Lab): Plan {
  const ready = { status: { conditions: [{ type: 'Ready', status: 'True' }] } };
  const issuer = object('cert-manager.io/v1', 'ClusterIssuer', lab.config.ingress.issuer, undefined, ready);
  const value = {
    ingresses: [],
    services: [appService()],
    middleware: true,
    issuer,
    issuance: { state: 'waiting' as const, seen: '' },
  };
  const seen = { applications: [], unreadable: [], cluster: { ok: true as const, value } };
  return planNewIngress(lab, seen, { ...APP, apply: true, force: false, probe: '/' });
}

/** With the secrets that its steps put in. */
function applied(from: string, { steps, notes }: Plan): Sent[] {
  const blockers = notes.filter(({ level }) => level === 'blocker');
  if (blockers.length > 0) throw new Error(`${from}: ${blockers.map(({ text }) => text).join('; ')}`);
  return steps.flatMap(({ action }) => {
    if (action.kind !== 'kube' || action.verb !== 'apply') return [];
    const keys = Object.keys(action.secrets ?? {});
    const secret = keys.length > 0 ? { stringData: Object.fromEntries(keys.map((key) => [key, 'a token'])) } : {};
    return action.objects.map((each) => ({ from, object: { ...each, ...secret } }));
  });
}

/** What a proof applies, in a cluster in which all goes well. */
async function proving(from: string, proof: (kube: Kube) => Promise<unknown>): Promise<Sent[]> {
  const sent: Sent[] = [];
  const loadBalancer = { ingress: [{ ip: '10.20.11.200' }] };
  const kube: Kube = {
    reachable: async () => ({ ok: true, value: 'k3s-cp-01' }),
    get: async ({ apiVersion, kind, ...metadata }: KubeRef) => {
      const status = { loadBalancer, phase: kind === 'Pod' ? 'Succeeded' : 'Bound' };
      return { apiVersion, kind, metadata, status };
    },
    list: async () => [],
    survey: async () => ({ ok: true, value: [] }),
    apply: async (objects) => void sent.push(...objects.map((each) => ({ from: `${from}'s proof`, object: each }))),
    delete: async () => undefined,
    logs: async () => '',
  };
  await proof(kube);
  return sent;
}

/** Time passes as fast as it is slept. */
const passing = { at: 0 };
const CLOCK = {
  now: () => new Date(passing.at),
  sleep: async (seconds: number) => {
    passing.at += seconds * 1000;
  },
};
const ANSWERING: Parameters<typeof verifyMetallb>[1]['net'] = {
  http: async (url) => ({
    ok: true,
    value: { status: 200, headers: {}, body: new URL(url).searchParams.get('msg') ?? '' },
  }),
  tcp: async () => ({ ok: true, value: true }),
  send: async () => ({ ok: true, value: { status: 200 } }),
  download: async () => '',
  certificate: async () => ({ ok: false, reason: 'not asked' }),
};
const unused = (): never => {
  throw new Error('not used here');
};
const OBEYING: Parameters<typeof proveClaim>[1]['ssh'] = {
  ...{ reachable: unused, readFile: unused, read: unused, upload: unused, forward: unused },
  ...{ learnHostKey: unused, forgetHostKey: unused, roundTrips: () => ({}) },
  run: async () => ({ code: 0, stdout: '', stderr: '' }),
};
