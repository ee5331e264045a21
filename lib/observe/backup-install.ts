import { join } from 'node:path';
import { bundleEngine } from '../backup/bundle.ts';
import { messageOf } from '../errors.ts';
import { findObject, refOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import { dig, textOf } from '../loose.ts';
import type { RunContext } from '../main.ts';
import { cronJobOf, isOurs, podSecrets } from '../plan/backup-install.ts';
import type { BackupObjects, ClusterSeen, CronSeen, InstallSeen } from '../plan/backup-install-seen.ts';
import type { Exec, KubeReader, Readers } from '../ports/types.ts';
import { namespaceObject, passwordsObject } from '../render/backup-cronjob.ts';
import type { Secrets } from '../secret.ts';
import type { KubeObject } from '../step.ts';
import { observeDatabase } from './backup.ts';

export type InstallArgs = { cron?: boolean; cronjob?: boolean; remove?: boolean };
type Context = Pick<RunContext, 'endpoints' | 'secrets'>;

/** What is there of the home that is asked for. */
export async function observeInstall(
  lab: Lab,
  readers: Pick<Readers, 'exec' | 'files' | 'kube' | 'ssh' | 'clock'>,
  args: InstallArgs,
  context: Context,
): Promise<InstallSeen> {
  return args.cron ? { home: 'cron', crontab: await readCrontab(readers.exec) } : observeCronJob(lab, readers, context);
}

/** The cluster's objects, what they should be made of, and what the servers say. */
export async function observeCronJob(
  { config, paths }: Pick<Lab, 'config' | 'paths'>,
  readers: Pick<Readers, 'files' | 'kube' | 'ssh' | 'clock'>,
  context: Context,
): Promise<ClusterSeen> {
  const backup = backupOf(config);
  const cronjob = cronJobOf(backup);
  const [{ text: bundle }, targets, cluster, ...databases] = await Promise.all([
    bundleEngine(),
    rememberedTargets(readers.files, paths.state),
    observeObjects(
      readers.kube,
      namespaceObject(cronjob),
      passwordsObject(cronjob),
      podSecrets(backup),
      context.secrets,
    ),
    ...backup.postgresql.map(async (server) => [server.name, await observeDatabase(readers, server, context)] as const),
  ]);
  return {
    ...{ home: 'cluster', now: readers.clock.now().getTime(), bundle, cluster },
    ...{ requireNfs: !context.endpoints.rehearsal, targets, databases: Object.fromEntries(databases) },
  };
}

/** As the engine keeps them (lib/backup/target.ts). */
async function rememberedTargets(files: Readers['files'], state: string): Promise<Record<string, string>> {
  const names = (await files.list(state)).filter((name) => /^backup-.*target\.json$/.test(name));
  const found = await Promise.all(
    names.map(
      async (name) => [name, /"id":\s*"([^"]+)"/.exec((await files.text(join(state, name))) ?? '')?.[1]] as const,
    ),
  );
  return Object.fromEntries(found.flatMap(([name, id]) => (id === undefined ? [] : [[name, id]])));
}

const KINDS = [
  { apiVersion: 'batch/v1', kind: 'CronJob' },
  { apiVersion: 'batch/v1', kind: 'Job' },
  { apiVersion: 'v1', kind: 'PersistentVolume' },
  { apiVersion: 'v1', kind: 'PersistentVolumeClaim' },
];

async function observeObjects(
  kube: KubeReader,
  namespace: KubeObject,
  secret: KubeObject,
  names: readonly string[],
  secrets: Secrets,
): Promise<ClusterSeen['cluster']> {
  try {
    // ConfigMaps hold the engine: only those of our namespace are read, and of all Secrets only ours.
    const [answer, maps, live] = await Promise.all([
      kube.survey([namespace, ...KINDS]),
      kube.list('v1', 'ConfigMap', namespace.metadata.name),
      kube.get(refOf(secret)),
    ]);
    if (!answer.ok) return answer;
    const objects = [...answer.value, ...maps.map(asConfigMap)];
    return {
      ok: true,
      value: {
        namespace: findObject(objects, refOf(namespace)),
        objects: objects.filter(isOurs),
        passwords: comparePasswords(live, names, secrets),
      },
    };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}

/** The items of a list of one kind say it again only where several kinds are listed. */
function asConfigMap(object: KubeObject): KubeObject {
  return { ...object, apiVersion: 'v1', kind: 'ConfigMap' };
}

/** The passwords stay here: what is seen is only whether they are ours. */
function comparePasswords(
  live: KubeObject | undefined,
  names: readonly string[],
  secrets: Secrets,
): BackupObjects['passwords'] {
  if (!live) return 'absent';
  const same = names.every((name) => {
    const encoded = textOf(dig(live, 'data', name));
    return encoded !== undefined && Buffer.from(encoded, 'base64').toString() === secrets.get(name)?.reveal();
  });
  return same ? 'same' : 'differ';
}

/** This user's crontab as it is. */
export async function readCrontab(exec: Exec): Promise<CronSeen['crontab']> {
  const { code, stdout, stderr } = await exec.run(['crontab', '-l'], { deadline: 20, env: { LC_ALL: 'C' } });
  if (code === 0) return { ok: true, text: stdout };
  if (/no crontab for/i.test(stderr)) return { ok: true, text: '' };
  const missing = code === 127;
  return {
    ok: false,
    reason: missing ? 'this machine has no crontab' : `crontab -l: ${stderr.trim() || `exit code ${code}`}`,
    fix: missing ? 'apt install cron, or let the cluster do it: install --cronjob' : undefined,
  };
}
