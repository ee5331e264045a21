import { createHash } from 'node:crypto';
import { disksOf, exportsOf, podConfigText } from '../backup/pod-config.ts';
import type { Backup, BackupCronJob, Config } from '../config/schema.ts';
import { HEALTHCHECK_URL, postgresPassword } from '../config/secret-names.ts';
import { UsageError } from '../errors.ts';
import { findObject, refOf, titleOf } from '../kube-object.ts';
import { backupOf, clientsOf, findExport } from '../lookup.ts';
import { dig, isMap } from '../loose.ts';
import {
  BACKUP_LABEL,
  codeObject,
  cronJobName,
  cronJobObject,
  namespaceObject,
  type PodExport,
  PROVEN,
  passwordsObject,
  TARGET,
  targetObject,
  volumeObjects,
} from '../render/backup-cronjob.ts';
import type { KubeObject, Note, Plan, Step, Value } from '../step.ts';
import { imageNotes, imageOf } from './backup-image.ts';
import type { BackupObjects, ClusterSeen } from './backup-install-seen.ts';
import { after, applyStep, deleteStep, removalId, volumeSteps } from './backup-install-steps.ts';
import { needsApply } from './differences.ts';

const NOTHING: BackupObjects = { objects: [], passwords: 'absent' };

/** Beyond the Job's own deadline: its image has to be pulled, and what it left has to go. */
export const PROOF_SECONDS = 1800;

/** The backup as a CronJob a server, with all that it needs; a Job of each proves it before it is applied. */
export function planInstallCronJob(config: Config, seen: ClusterSeen): Plan {
  const backup = backupOf(config);
  const cronjob = cronJobOf(backup);
  const cluster = seen.cluster.ok ? seen.cluster.value : NOTHING;
  const notes: Note[] = seen.cluster.ok ? [] : [unreachable(seen.cluster.reason)];
  notes.push(...disksOf(backup).map(noDisk));
  const exports = podExports(config, backup);
  const volumes = exports.map((each) => volumeName(cronjob, each));
  const code = codeOf(config, backup, cronjob, seen);

  const shared: Step[] = [];
  const add = (id: string, object: KubeObject, why: string | undefined, secrets?: Record<string, Value>): void => {
    if (why) shared.push(applyStep(id, [object], why, after(shared), secrets));
  };
  const namespace = namespaceObject(cronjob);
  if (!cluster.namespace || isOurs(cluster.namespace))
    add('namespace', namespace, needsApply(namespace, cluster.namespace));
  for (const [i, each] of exports.entries())
    shared.push(...volumeSteps(volumeObjects(cronjob, each, volumes[i] ?? ''), cluster, after(shared)));
  add('code', code, needsApply(code, findObject(cluster.objects, refOf(code))));
  const target = findObject(cluster.objects, refOf(targetObject(cronjob, {})));
  const known = targetObject(cronjob, { ...idsIn(target), ...seen.targets });
  if (Object.keys(seen.targets).length > 0) add('target', known, needsApply(known, target));
  const passwords = cluster.passwords === 'same' ? undefined : cluster.passwords;
  add('passwords', passwordsObject(cronjob), passwords, passwordValues(backup));

  const steps = [...shared];
  for (const { name } of backup.postgresql) {
    const live = findObject(cluster.objects, cronJobRef(cronjob, name));
    const image = imageOf(name, cronjob, seen, live);
    notes.push(...imageNotes(name, image, seen));
    if (image === undefined) continue;
    const nodes = nodesFor(config, exports);
    const wanted = cronJobObject({ backup, cronjob, server: name, image, exports, nodes, code }, volumes);
    steps.push(...cronJobSteps(name, wanted, live, cronjob, shared));
  }
  steps.push(...leftovers(backup, cluster, code, volumes, after(steps)));
  return { steps, notes };
}

/** Everything of ours in the cluster goes; what lies on the target stays. */
export function planRemoveCronJob(config: Config, seen: ClusterSeen): Plan {
  if (!seen.cluster.ok) return { steps: [], notes: [unreachable(seen.cluster.reason)] };
  const { objects, passwords } = seen.cluster.value;
  const secret = passwordsObject(cronJobOf(backupOf(config)));
  const all = [...objects, ...(passwords === 'absent' ? [] : [secret])];
  const order = ['CronJob', 'Job', 'Secret', 'ConfigMap', 'PersistentVolumeClaim', 'PersistentVolume'];
  const steps = order
    .flatMap((kind) => all.filter((object) => object.kind === kind))
    .map((object, i, sorted): Step => deleteStep(object, '--remove', i > 0 ? [removalId(sorted[i - 1]!)] : []));
  const text = `nothing on the target is deleted, and the namespace ${secret.metadata.namespace} stays`;
  return { steps, notes: steps.length > 0 ? [{ level: 'info', text }] : [] };
}

/** What the CronJob of a server would prove: another fingerprint has to be proven anew. */
export function fingerprint({ spec }: KubeObject): string {
  return sha256(JSON.stringify(spec)).slice(0, 16);
}

/** The set that a Job of this very CronJob has proven, by the note on it. */
export function provenBy(wanted: KubeObject, live: KubeObject | undefined): string | undefined {
  const [print, set] = (live?.metadata.annotations?.[PROVEN] ?? '').split(' ');
  return print === fingerprint(wanted) ? set : undefined;
}

export function cronJobOf({ cronjob }: Backup): BackupCronJob {
  if (cronjob) return cronjob;
  throw new UsageError('homelab.yaml has no backup.cronjob: the backup does not run inside the cluster', {
    fix: 'add `cronjob: {}` under backup, or put it into the crontab of a machine: install --cron',
  });
}

export function cronJobRef({ namespace }: BackupCronJob, server: string) {
  return { apiVersion: 'batch/v1', kind: 'CronJob', name: cronJobName(server), namespace };
}

/** Secrets that a pod gets, by their names in .env. */
export function podSecrets(backup: Backup): string[] {
  const passwords = backup.postgresql.map(({ name }) => postgresPassword(name));
  return backup.notify?.healthcheck ? [...passwords, HEALTHCHECK_URL] : passwords;
}

function passwordValues(backup: Backup): Record<string, Value> {
  return Object.fromEntries(podSecrets(backup).map((name) => [name, { secret: name }]));
}

function codeOf(config: Config, backup: Backup, cronjob: BackupCronJob, seen: ClusterSeen): KubeObject {
  const data = { bundle: seen.bundle, config: podConfigText(config, backup, seen.requireNfs) };
  return codeObject(cronjob, data, sha256(JSON.stringify([data, cronjob.run_as])));
}

function podExports(config: Config, backup: Backup): PodExport[] {
  return exportsOf(backup).map((reference) => ({ reference, ...findExport(config, reference) }));
}

/** Whether install made it. */
export function isOurs({ metadata }: KubeObject): boolean {
  return Object.entries(BACKUP_LABEL).every(([key, value]) => metadata.labels?.[key] === value);
}

/** The ids that the cluster knows already. */
function idsIn(target: KubeObject | undefined): Record<string, string> {
  const data = dig(target, 'data');
  if (!isMap(data)) return {};
  const ids = Object.entries(data).map(([file, text]) => [file, /"id":"([^"]+)"/.exec(String(text))?.[1]] as const);
  return Object.fromEntries(ids.flatMap(([file, id]) => (id === undefined ? [] : [[file, id]])));
}

/** The K3s nodes that may mount every export; undefined when all may. */
function nodesFor(config: Config, exports: readonly PodExport[]): string[] | undefined {
  const may = exports.map((each) => clientsOf(config, each.export.clients));
  const all = config.k3s.nodes.map(({ name }) => name);
  const nodes = all.filter((name) => may.every((clients) => clients.includes(name)));
  return nodes.length === all.length ? undefined : nodes;
}

function volumeName({ namespace }: BackupCronJob, { reference, nas, export: { path } }: PodExport): string {
  const readable = reference.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return `backup-${readable.slice(0, 40)}-${sha256(`${namespace}/${nas.address}:${path}`).slice(0, 6)}`;
}

/** A CronJob is applied when a Job of it has made a proven set, so that what worked is never replaced by what does not. */
function cronJobSteps(
  server: string,
  wanted: KubeObject,
  live: KubeObject | undefined,
  { deadline_hours: hours }: BackupCronJob,
  shared: readonly Step[],
): Step[] {
  const changed = needsApply(wanted, live) ?? (shared.length > 0 ? 'what it runs with has changed' : undefined);
  const suspended = dig(live, 'spec', 'suspend') === true ? 'somebody suspended it; ' : '';
  const why = changed ?? (provenBy(wanted, live) === undefined ? 'no Job of it has proven a set yet' : undefined);
  if (why === undefined) return [];
  const seconds = hours * 3600 + PROOF_SECONDS;
  return [
    {
      id: `${server}/cronjob`,
      title: `start a Job as ${titleOf(wanted)} will, wait until its set is proven, apply the CronJob`,
      why: suspended + why,
      after: after(shared),
      lane: 'proof',
      action: {
        kind: 'operation',
        name: 'prove-and-apply',
        args: { server, cronJob: wanted, fingerprint: fingerprint(wanted), seconds },
        deadline: seconds + 120,
      },
    },
  ];
}

/** Of earlier versions, of servers that homelab.yaml no longer names, and of another NAS. */
function leftovers(
  backup: Backup,
  { objects }: BackupObjects,
  code: KubeObject,
  volumes: readonly string[],
  before: string[],
): Step[] {
  const wanted = [code.metadata.name, TARGET, ...volumes, ...backup.postgresql.map(({ name }) => cronJobName(name))];
  return ['CronJob', 'ConfigMap', 'PersistentVolumeClaim', 'PersistentVolume']
    .flatMap((kind) => objects.filter((object) => object.kind === kind))
    .filter(({ metadata }) => !wanted.includes(metadata.name))
    .map((object) => deleteStep(object, 'nothing of homelab.yaml uses it any more', before));
}

function noDisk(key: string): Note {
  const text = `backup.${key} is a disk of a machine: what runs in the cluster does not write there`;
  return { level: 'warning', text, fix: 'give it an export, or run backup-postgres on that machine too' };
}

function unreachable(reason: string): Note {
  return {
    level: 'blocker',
    text: `the cluster does not answer: ${reason}`,
    fix: 'run install-k3s',
    waitsFor: 'install-k3s',
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
