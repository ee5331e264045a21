import type { Operation } from '../apply.ts';
import { resultIn } from '../backup/pod-result.ts';
import { DeadlineError, HomelabError, messageOf } from '../errors.ts';
import { refOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import { dig, isMap } from '../loose.ts';
import { readCrontab } from '../observe/backup-install.ts';
import { BROKEN, crontabWith } from '../plan/backup-crontab.ts';
import { cronJobOf } from '../plan/backup-install.ts';
import { lookAtJob, newest } from '../plan/backup-job.ts';
import { lastLines } from '../ports/exec.ts';
import type { Ports } from '../ports/types.ts';
import { BACKUP_LABEL, PROVEN, targetObject } from '../render/backup-cronjob.ts';
import type { KubeObject } from '../step.ts';

type World = Pick<Ports, 'kube' | 'clock'>;
/** Seconds that a Job's pod has to go: what it was told to do when it is ended. */
const GONE_WITHIN = 120;

/** What `backup-postgres install` does itself: a Job of the CronJob, started, watched, judged, and removed. */
export function installOperations(lab: Lab): Record<string, Operation> {
  return {
    crontab: async ({ lines }, { ports: { exec } }) => {
      const seen = await readCrontab(exec);
      if (!seen.ok) throw new HomelabError(seen.reason, { fix: seen.fix });
      const wanted = crontabWith(lab.config.name, seen.text, typeof lines === 'string' ? lines : undefined);
      if ('broken' in wanted) throw new HomelabError(wanted.broken, { fix: BROKEN });
      const { code, stderr } = await exec.run(['crontab', '-'], { stdin: wanted.text, deadline: 20 });
      if (code !== 0)
        throw new HomelabError(`crontab refused the new table: ${stderr.trim()}`, { fix: 'the old one stands' });
      return undefined;
    },
    'prove-and-apply': async ({ server, cronJob, fingerprint, seconds }, { ports }) => {
      const wanted = cronJob as KubeObject;
      const job = await startJob(ports, wanted);
      const result = await proven(ports, job, Number(seconds), String(server));
      await remove(ports, job);
      const cronjob = cronJobOf(backupOf(lab.config));
      // What is first: a note that a set is proven is worth nothing where the next run may take another target.
      if (result.targets) await ports.kube.apply([targetObject(cronjob, result.targets)], { force: true });
      const annotations = { ...wanted.metadata.annotations, [PROVEN]: `${fingerprint} ${result.set}` };
      // By force: what somebody edited, or suspended, is as homelab.yaml says again.
      await ports.kube.apply([{ ...wanted, metadata: { ...wanted.metadata, annotations } }], { force: true });
      return result.set;
    },
  };
}

/** A Job as the CronJob will make them. One that an interrupted run left goes first. */
async function startJob(ports: World, { metadata, spec }: KubeObject): Promise<KubeObject> {
  const template = dig(spec, 'jobTemplate', 'spec');
  const job: KubeObject = {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name: `${metadata.name}-proof`, namespace: metadata.namespace, labels: BACKUP_LABEL },
    // A person waits: the first failure is told.
    spec: { ...(isMap(template) ? template : {}), backoffLimit: 0 },
  };
  await remove(ports, job);
  await ports.kube.apply([job]);
  return job;
}

/** @throws HomelabError with the cause, and the end of the log, where no proven set came of it */
async function proven(ports: World, job: KubeObject, seconds: number, server: string) {
  const what = `Job ${job.metadata.namespace}/${job.metadata.name}`;
  const began = ports.clock.now().getTime();
  const end = began + seconds * 1000;
  for (let pause = 0.5; ; pause = Math.min(pause * 1.5, 5)) {
    const now = ports.clock.now().getTime();
    const look = await see(ports, job, (now - began) / 1000);
    if (look.state === 'succeeded') break;
    if (look.state === 'failed') throw await failure(ports, job, what, look);
    if (now > end) {
      const log = await logOf(ports, job);
      await remove(ports, job);
      throw new DeadlineError(`${what} makes a proven set`, seconds, { cause: `last seen: ${look.seen}`, output: log });
    }
    await ports.clock.sleep(pause);
  }
  const log = await logOf(ports, job);
  const result = resultIn(log);
  if (result?.exit === 0 && result.set !== undefined && result.server === server) return result;
  await remove(ports, job);
  throw new HomelabError(`${what} ended well, and its log has no proven set`, { output: lastLines(log) });
}

async function see({ kube }: World, job: KubeObject, seconds: number) {
  const namespace = job.metadata.namespace ?? '';
  try {
    const [live, pods, events] = await Promise.all([
      kube.get(refOf(job)),
      kube.list('v1', 'Pod', namespace),
      kube.list('v1', 'Event', namespace),
    ]);
    return lookAtJob(
      live,
      pods.filter((pod) => isOf(pod, job)),
      events,
      seconds,
    );
  } catch (error) {
    // An API server that does not answer for a moment says nothing of the Job.
    return { state: 'waiting' as const, seen: messageOf(error) };
  }
}

async function failure(
  ports: World,
  job: KubeObject,
  what: string,
  { reason, cause, fix }: { reason: string; cause?: string; fix?: string },
): Promise<HomelabError> {
  const log = await logOf(ports, job);
  await remove(ports, job);
  const said = resultIn(log)?.error;
  // What the program says of itself is nearer to the matter than that its Job has failed.
  const knows = said !== undefined && !/DeadlineExceeded/.test(reason);
  return new HomelabError(`${what}: ${knows ? said : reason}`, {
    cause: knows ? undefined : cause,
    fix: fix ?? 'correct the cause, and run backup-postgres install again',
    output: withoutResult(log) || undefined,
  });
}

function withoutResult(log: string): string {
  return lastLines(
    log
      .split('\n')
      .filter((line) => resultIn(line) === undefined)
      .join('\n'),
    25,
  );
}

/** The end of the newest pod's log; where there is none, nothing. */
async function logOf({ kube }: World, job: KubeObject): Promise<string> {
  const namespace = job.metadata.namespace ?? '';
  try {
    const pods = (await kube.list('v1', 'Pod', namespace)).filter((pod) => isOf(pod, job));
    const pod = newest(pods);
    return pod ? await kube.logs(namespace, `pod/${pod.metadata.name}`, 60) : '';
  } catch {
    return '';
  }
}

/** The Job, and, since a killed one holds the server's lock for a moment, its pods. */
async function remove({ kube, clock }: World, job: KubeObject): Promise<void> {
  await kube.delete([refOf(job)], GONE_WITHIN);
  const end = clock.now().getTime() + GONE_WITHIN * 1000;
  while (clock.now().getTime() < end) {
    const pods = await kube.list('v1', 'Pod', job.metadata.namespace);
    if (!pods.some((pod) => isOf(pod, job))) return;
    await clock.sleep(1);
  }
  throw new DeadlineError(`the pods of Job ${job.metadata.name} end`, GONE_WITHIN, {
    fix: `k3s kubectl -n ${job.metadata.namespace} get pods says on which node they hang`,
  });
}

function isOf(pod: KubeObject, job: KubeObject): boolean {
  return pod.metadata.labels?.['job-name'] === job.metadata.name;
}
