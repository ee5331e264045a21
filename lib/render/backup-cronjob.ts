import type { Backup, BackupCronJob, Nas, NasExport } from '../config/schema.ts';
import type { KubeObject } from '../step.ts';
import { mountOptions } from './nfs.ts';

/** The objects of the backup inside the cluster. Nothing in them is secret: a `kube` step puts the passwords in. */

export const BACKUP_LABEL = { 'homelab/backup': 'postgresql' };
/** On a CronJob: the fingerprint of what a Job of it has proven, and the set. */
export const PROVEN = 'homelab/proven';
const NAME = 'backup-postgres';
/** What a pod remembers of its targets: the ids that they must have. */
export const TARGET = 'backup-target';

const PATHS = {
  node: '/opt/node',
  code: '/opt/homelab',
  secrets: '/run/homelab/secrets',
  target: '/run/homelab/target',
  scratch: '/scratch',
  exports: '/exports',
};

/** An export as the pod's volume. */
export type PodExport = { reference: string; nas: Nas; export: NasExport };

export type CronJobInput = {
  backup: Backup;
  cronjob: BackupCronJob;
  server: string;
  image: string;
  exports: readonly PodExport[];
  /** K3s nodes that may mount all of the exports; undefined: any. */
  nodes?: readonly string[];
  /** Of the code, see codeObject. */
  code: KubeObject;
};

/** Only where it is not there yet, or ours: another's may have pods that need more. */
export function namespaceObject({ namespace: name }: BackupCronJob): KubeObject {
  const labels = { ...BACKUP_LABEL, 'pod-security.kubernetes.io/enforce': 'restricted' };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

/** The script and its configuration. Named by their hash and immutable: a Job has both of one version, or none. */
export function codeObject(
  { namespace, run_as }: BackupCronJob,
  data: { bundle: string; config: string },
  hash: string,
): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: `${NAME}-${hash.slice(0, 10)}`, namespace, labels: BACKUP_LABEL },
    // initdb asks who runs it, and the image knows one user only.
    data: {
      'backup.cjs': data.bundle,
      'config.json': data.config,
      passwd: `root:x:0:0::/:/bin/sh\nbackup:x:${run_as}:${run_as}::${PATHS.scratch}:/bin/sh\n`,
    },
    immutable: true,
  };
}

/** The Secret with the passwords, without them. */
export function passwordsObject({ namespace }: BackupCronJob): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: NAME, namespace, labels: BACKUP_LABEL },
    type: 'Opaque',
  };
}

/** Where scheduled runs learn which targets are the right ones. @param ids by the file that the engine looks for */
export function targetObject({ namespace }: BackupCronJob, ids: Record<string, string>): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: TARGET, namespace, labels: BACKUP_LABEL },
    data: Object.fromEntries(Object.entries(ids).map(([file, id]) => [file, JSON.stringify({ id })])),
  };
}

/** An export as a volume and its claim. Named by what cannot be changed in a volume: another NAS is another volume. */
export function volumeObjects(
  { namespace }: BackupCronJob,
  { nas, export: { path } }: PodExport,
  name: string,
): KubeObject[] {
  const capacity = { storage: '1Ti' }; // has to be said; NFS knows no such limit
  const accessModes = ['ReadWriteMany'];
  return [
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name, labels: BACKUP_LABEL },
      spec: {
        capacity,
        accessModes,
        persistentVolumeReclaimPolicy: 'Retain',
        volumeMode: 'Filesystem',
        mountOptions: mountOptions(nas),
        claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name, namespace },
        nfs: { server: nas.address, path },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name, namespace, labels: BACKUP_LABEL },
      spec: { accessModes, storageClassName: '', volumeName: name, resources: { requests: capacity } },
    },
  ];
}

/** @param volumeNames of `exports`, in their order */
export function cronJobObject(input: CronJobInput, volumeNames: readonly string[]): KubeObject {
  const { backup, cronjob, server } = input;
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name: cronJobName(server), namespace: cronjob.namespace, labels: BACKUP_LABEL },
    spec: {
      schedule: backup.schedule,
      timeZone: 'Etc/UTC',
      suspend: false,
      concurrencyPolicy: 'Forbid',
      // A cluster that was down at its time makes up for it, but not in the middle of the day.
      startingDeadlineSeconds: 7200,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 3,
      jobTemplate: {
        spec: {
          backoffLimit: 1,
          activeDeadlineSeconds: cronjob.deadline_hours * 3600,
          template: { metadata: { labels: BACKUP_LABEL }, spec: podSpec(input, volumeNames) },
        },
      },
    },
  };
}

export function cronJobName(server: string): string {
  return `backup-${server}`;
}

const LOCKED_DOWN = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
};

function podSpec(input: CronJobInput, volumeNames: readonly string[]): Record<string, unknown> {
  const { cronjob, nodes } = input;
  const { run_as: user } = cronjob;
  return {
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 60,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: user,
      runAsGroup: user,
      fsGroup: user,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    ...(nodes ? { affinity: { nodeAffinity: onlyOn(nodes) } } : {}),
    initContainers: [
      {
        name: 'node',
        image: cronjob.node_image,
        command: ['cp', '/usr/local/bin/node', `${PATHS.node}/node`],
        volumeMounts: [{ name: 'node', mountPath: PATHS.node }],
        resources: { requests: { cpu: '50m', memory: '32Mi' }, limits: { memory: '256Mi' } },
        securityContext: LOCKED_DOWN,
      },
    ],
    containers: [container(input, volumeNames)],
    volumes: [
      { name: 'node', emptyDir: { sizeLimit: '256Mi' } },
      { name: 'code', configMap: { name: input.code.metadata.name } },
      { name: 'secrets', secret: { secretName: NAME, defaultMode: 0o440 } },
      { name: 'target', configMap: { name: TARGET, optional: true } },
      { name: 'scratch', emptyDir: { sizeLimit: cronjob.scratch } },
      // PostgreSQL's workers share memory there; a container gets 64 MiB, which a large index does not fit.
      { name: 'shm', emptyDir: { medium: 'Memory', sizeLimit: '256Mi' } },
      ...volumeNames.map((name, i) => ({ name: `export-${i}`, persistentVolumeClaim: { claimName: name } })),
    ],
  };
}

function container(
  { cronjob, server, image, exports }: CronJobInput,
  volumeNames: readonly string[],
): Record<string, unknown> {
  const mounted = exports.map(({ reference }) => `${PATHS.exports}/${reference}`);
  return {
    name: 'backup',
    image,
    command: [`${PATHS.node}/node`, `${PATHS.code}/backup.cjs`],
    args: [
      ...['--server', server, '--config', `${PATHS.code}/config.json`],
      ...['--secrets', PATHS.secrets, '--target', PATHS.target],
      ...exports.flatMap(({ reference }, i) => ['--export', `${reference}=${mounted[i]}`]),
    ],
    env: [
      { name: 'TMPDIR', value: PATHS.scratch },
      { name: 'HOME', value: PATHS.scratch },
    ],
    volumeMounts: [
      { name: 'node', mountPath: PATHS.node, readOnly: true },
      { name: 'code', mountPath: PATHS.code, readOnly: true },
      { name: 'code', mountPath: '/etc/passwd', subPath: 'passwd', readOnly: true },
      { name: 'secrets', mountPath: PATHS.secrets, readOnly: true },
      { name: 'target', mountPath: PATHS.target, readOnly: true },
      { name: 'scratch', mountPath: PATHS.scratch },
      { name: 'shm', mountPath: '/dev/shm' },
      ...volumeNames.map((_, i) => ({ name: `export-${i}`, mountPath: mounted[i] })),
    ],
    resources: {
      requests: { cpu: cronjob.cpu, memory: '256Mi', 'ephemeral-storage': cronjob.scratch },
      limits: { memory: cronjob.memory },
    },
    securityContext: LOCKED_DOWN,
  };
}

function onlyOn(values: readonly string[]): Record<string, unknown> {
  const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'In', values: [...values] }];
  return { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] } };
}

/** Debian's, of exactly that version: its programs fit the server, and Node's glibc is theirs. */
export function postgresImage({ postgres_image }: BackupCronJob, version: string | undefined): string | undefined {
  return postgres_image ?? (version === undefined ? undefined : `postgres:${version}-bookworm`);
}

/** The PostgreSQL major in an image's tag, where it says one: "15" of "postgres:15.18-bookworm". */
export function majorOfImage(image: string): number | undefined {
  const name = image.split('@')[0]?.split('/').at(-1) ?? '';
  const major = /:(\d+)/.exec(name)?.[1];
  return major === undefined ? undefined : Number(major);
}
