import { isTrue } from '../kube-object.ts';
import { dig, mapsIn, textOf } from '../loose.ts';
import type { KubeObject } from '../step.ts';

/** What is seen of a Job and its pods, and whether waiting on is any use. Pure. */
export type JobLook =
  | { state: 'succeeded' }
  /** `cause` and `fix`, where they are known. */
  | { state: 'failed'; reason: string; cause?: string; fix?: string }
  | { state: 'waiting'; seen: string };

/** Seconds after which what Kubernetes tries again by itself is told: a NAS or a node may come back. */
const PATIENCE = { create: 20, mount: 60, schedule: 45, pull: 20, start: 900 };

/** @param seconds since the Job was made */
export function lookAtJob(
  job: KubeObject | undefined,
  pods: readonly KubeObject[],
  events: readonly KubeObject[],
  seconds: number,
): JobLook {
  if (!job) return { state: 'waiting', seen: 'the Job is not there yet' };
  if (isTrue(job, 'Complete')) return { state: 'succeeded' };
  if (isTrue(job, 'Failed')) return failed(job);
  const pod = newest(pods);
  if (!pod) return podless(job, events, seconds);
  const phase = textOf(dig(pod, 'status', 'phase')) ?? 'Pending';
  if (phase !== 'Pending') return { state: 'waiting', seen: `pod ${pod.metadata.name}: ${phase}` };
  return stuck(pod, events, seconds);
}

function failed(job: KubeObject): JobLook {
  const condition = mapsIn(dig(job, 'status', 'conditions')).find(({ type }) => type === 'Failed');
  const reason = [condition?.reason, condition?.message].filter(Boolean).join(': ');
  if (condition?.reason !== 'DeadlineExceeded') return { state: 'failed', reason };
  return {
    state: 'failed',
    reason,
    cause: 'the run took longer than backup.cronjob.deadline_hours',
    fix: 'raise it, or see what the log waited for: a locked table, or a NAS that does not answer',
  };
}

/** The Job's controller may not make one: a quota, or a rule that the pod breaks. */
function podless(job: KubeObject, events: readonly KubeObject[], seconds: number): JobLook {
  const refused = warning(events, job, /^FailedCreate$/);
  if (refused && seconds > PATIENCE.create) return { state: 'failed', reason: `its pod is refused: ${refused}` };
  const seen = refused ?? 'no pod yet';
  return seconds > PATIENCE.start
    ? { state: 'failed', reason: `${seen}, after ${PATIENCE.start} s` }
    : { state: 'waiting', seen };
}

/** The last of what is said of an object for that reason. */
function warning(events: readonly KubeObject[], { metadata }: KubeObject, reason: RegExp): string | undefined {
  return events
    .filter((event) => dig(event, 'involvedObject', 'name') === metadata.name && reason.test(String(event.reason)))
    .map(({ message }) => String(message).replaceAll(/\s+/g, ' '))
    .at(-1);
}

/** A pod that has not started: why, in the words of who could not. */
function stuck(pod: KubeObject, events: readonly KubeObject[], seconds: number): JobLook {
  const statuses = ['initContainerStatuses', 'containerStatuses'].flatMap((key) => mapsIn(dig(pod, 'status', key)));
  const waiting = statuses.map((status) => ({
    image: textOf(status.image),
    reason: textOf(dig(status, 'state', 'waiting', 'reason')) ?? '',
    message: textOf(dig(status, 'state', 'waiting', 'message')) ?? '',
  }));
  const pull = waiting.find(({ reason }) =>
    /^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull)$/.test(reason),
  );
  if (pull && (seconds > PATIENCE.pull || pull.reason !== 'ErrImagePull'))
    return {
      state: 'failed',
      reason: `${pull.reason}: ${pull.message || pull.image}`,
      cause: `the image ${pull.image ?? ''} cannot be pulled: it does not exist, or its registry is not reached from the node`,
      fix: 'name one that does: backup.cronjob.node_image or postgres_image; or see the network of the node',
    };
  const config = waiting.find(({ reason }) => /^Create(Container|Pod).*Error$/.test(reason));
  if (config) return { state: 'failed', reason: `${config.reason}: ${config.message}` };

  const mount = warning(events, pod, /^(FailedMount|FailedAttachVolume)$/);
  if (mount && seconds > PATIENCE.mount) return { state: 'failed', reason: mount, ...mountTrouble(mount) };
  const unscheduled = mapsIn(dig(pod, 'status', 'conditions')).find(
    ({ type, status }) => type === 'PodScheduled' && status === 'False',
  );
  const schedule = textOf(unscheduled?.message);
  if (schedule && seconds > PATIENCE.schedule)
    return { state: 'failed', reason: `no node takes it: ${schedule}`, ...scheduleTrouble(schedule) };
  const seen = mount ?? schedule ?? waiting.map(({ reason }) => reason).find(Boolean) ?? 'Pending';
  if (seconds > PATIENCE.start)
    return { state: 'failed', reason: `pod ${pod.metadata.name} has not started after ${PATIENCE.start} s: ${seen}` };
  return { state: 'waiting', seen: `pod ${pod.metadata.name}: ${seen}` };
}

function mountTrouble(words: string): { cause?: string; fix?: string } {
  if (/access denied|not permitted|permission denied/i.test(words))
    return {
      cause: 'the NAS does not let this node mount the export',
      fix: 'run setup-nfs: it says what to enter at the NAS, and proves who can mount it',
    };
  if (/secret|configmap/i.test(words)) return { fix: 'run backup-postgres install again: it puts it there' };
  if (/timed out|no route|refused|unreachable/i.test(words))
    return { cause: 'the NAS does not answer from this node', fix: 'see whether it is on, and NFS with it' };
  if (/no such file/i.test(words))
    return { cause: 'the NAS has no such export', fix: 'correct nas[].exports[].path, or make it at the NAS' };
  return {};
}

function scheduleTrouble(words: string): { cause?: string; fix?: string } {
  if (/Insufficient (cpu|memory|ephemeral-storage)/.test(words))
    return {
      cause: 'no node that may run it has enough left',
      fix: 'lower backup.cronjob.cpu or scratch, or free a node',
    };
  if (/taint|affinity|unschedulable/.test(words))
    return {
      cause: 'the nodes that may mount the export are cordoned, tainted or down',
      fix: 'uncordon one, or let another K3s node mount the export (nas[].exports[].clients)',
    };
  if (/persistentvolumeclaim|unbound/i.test(words))
    return { fix: 'run backup-postgres install again: it makes the claim' };
  return {};
}

/** Of the pods of a Job the last one. */
export function newest(pods: readonly KubeObject[]): KubeObject | undefined {
  const made = (pod: KubeObject): string => String(pod.metadata.creationTimestamp ?? '');
  return [...pods].sort((a, b) => (made(a) < made(b) ? 1 : -1))[0];
}
