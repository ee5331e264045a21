import { same } from '../api/server-side-apply.ts';
import {
  isOwnedBy,
  itemsAt,
  numberAt,
  ownerOf,
  recordAt,
  shortHash,
  type Thing,
  textAt,
  textsAt,
} from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

/** Jobs make one pod at a time until one succeeded, or too many failed. CronJobs only wait: no schedule passes in a rehearsal. */
export function jobs(cluster: Cluster): void {
  for (const job of cluster.store.list('batch/v1', 'Job')) {
    const conditions = itemsAt(job, 'status.conditions');
    const ended = conditions.find(({ type }) => type === 'Complete' || type === 'Failed');
    if (ended) expire(cluster, job);
    else if (!recordAt(job, 'spec').suspend) advance(cluster, job);
  }
}

function advance(cluster: Cluster, job: Thing): void {
  const pods = cluster.store.list('v1', 'Pod', job.metadata.namespace).filter((pod) => isOwnedBy(pod, job));
  const succeeded = pods.filter((pod) => textAt(pod, 'status.phase') === 'Succeeded').length;
  const failed = pods.filter((pod) => textAt(pod, 'status.phase') === 'Failed').length;
  const active = pods.length - succeeded - failed;
  const wanted = numberAt(job, 'spec.completions', 1);
  const limit = numberAt(job, 'spec.backoffLimit', 6);
  const startTime = textAt(job, 'status.startTime') || now();
  const counts = { startTime, ...positive({ active, succeeded, failed }) };
  const end = (type: string, reason: string, message: string): void => {
    const condition = { type, status: 'True', reason, message, lastTransitionTime: now() };
    const conditions = [...(type === 'Complete' ? [{ ...condition, type: 'SuccessCriteriaMet' }] : []), condition];
    cluster.store.put({
      ...job,
      status: { ...counts, conditions, ...(type === 'Complete' ? { completionTime: now() } : {}) },
    });
    if (type === 'Complete') tellCronJob(cluster, job);
  };
  if (succeeded >= wanted) {
    end('Complete', 'CompletionsReached', 'Reached expected number of succeeded pods');
    return;
  }
  if (failed === 0 && active > 0 && isLate(cluster, job)) {
    for (const pod of pods) cluster.store.delete(pod);
    cluster.event(job, 'Warning', 'DeadlineExceeded', LATE);
    end('Failed', 'DeadlineExceeded', LATE);
    return;
  }
  if (failed > limit) {
    cluster.event(job, 'Warning', 'BackoffLimitExceeded', 'Job has reached the specified backoff limit');
    end('Failed', 'BackoffLimitExceeded', 'Job has reached the specified backoff limit');
    return;
  }
  if (!same(counts, job.status)) cluster.store.put({ ...job, status: counts });
  if (active > 0) return;
  const template = recordAt(job, 'spec.template');
  const name = `${job.metadata.name}-${shortHash(`${job.metadata.uid}${pods.length}`)}`;
  cluster.store.put({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: job.metadata.namespace,
      labels: {
        ...textsAt(template, 'metadata.labels'),
        'job-name': job.metadata.name,
        'batch.kubernetes.io/job-name': job.metadata.name,
      },
      ownerReferences: [ownerOf(job)],
    },
    spec: recordAt(template, 'spec'),
    status: { phase: 'Pending' },
  });
}

const LATE = 'Job was active longer than specified deadline';

function isLate(cluster: Cluster, job: Thing): boolean {
  const seconds = numberAt(job, 'spec.activeDeadlineSeconds');
  const hour = cluster.faults.jobHour ?? 3_600_000;
  return seconds > 0 && cluster.loop.due(`deadline ${job.metadata.uid}`, (seconds / 3600) * hour);
}

/** A CronJob knows when one of its Jobs ended well, also one that somebody made by hand. */
function tellCronJob({ store }: Cluster, job: Thing): void {
  const owner = (job.metadata.ownerReferences ?? []).find(({ kind }) => kind === 'CronJob');
  const cronJob = owner && store.get('batch/v1', 'CronJob', owner.name, job.metadata.namespace);
  if (cronJob) store.putStatus(cronJob, { lastSuccessfulTime: now() });
}

function expire(cluster: Cluster, job: Thing): void {
  const ttl = recordAt(job, 'spec').ttlSecondsAfterFinished;
  if (typeof ttl === 'number' && cluster.loop.due(`expire ${job.metadata.uid}`, ttl * 1000)) cluster.store.delete(job);
}

function positive(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

function now(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, 'Z');
}
