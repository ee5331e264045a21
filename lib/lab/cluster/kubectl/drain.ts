import type { ProgramResult } from '../../types.ts';
import { fullName, itemsAt, selects, type Thing, textAt, textsAt, valueAt } from '../api/thing.ts';
import { type KubectlContext, poll } from './context.ts';
import { setSchedulable } from './edit.ts';
import { flag, isSet, milliseconds, parseFlags } from './flags.ts';

/** Milliseconds in which nothing could be evicted, after which the emulator says that --timeout is over. */
const STUCK = 700;

/**
 * Cordons, and evicts every pod but those of DaemonSets: what no controller would make again is refused, and a
 * PodDisruptionBudget is asked again and again. Time is short here: what is stuck for a moment is stuck for good.
 */
export async function drain(context: KubectlContext, args: string[]): Promise<ProgramResult> {
  const parsed = parseFlags('drain', args, {
    'ignore-daemonsets': true,
    'delete-emptydir-data': true,
    force: true,
    timeout: false,
    'grace-period': false,
    'disable-eviction': true,
  });
  const cordoned = setSchedulable(context, parsed.words, false);
  if (cordoned.code !== 0) return cordoned;
  const node = parsed.words[0] ?? '';
  const timeout = flag(parsed, 'timeout') ?? '0';
  const all = podsOf(context, node);
  const refused = [
    named(
      'cannot delete Pods that declare no controller (use --force to override)',
      all.filter(isBare),
      isSet(parsed, 'force'),
    ),
    named(
      'cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)',
      all.filter(ofDaemonSet),
      isSet(parsed, 'ignore-daemonsets'),
    ),
    named(
      'cannot delete Pods with local storage (use --delete-emptydir-data to override)',
      all.filter((pod) => !ofDaemonSet(pod) && hasEmptyDir(pod)),
      isSet(parsed, 'delete-emptydir-data'),
    ),
  ].filter((text) => text !== undefined);
  if (refused.length > 0) {
    const why = refused.length > 1 ? `[${refused.join(', ')}]` : refused[0];
    return failed(
      cordoned,
      `unable to drain node "${node}" due to error: ${why}, continuing command...`,
      node,
      refused,
    );
  }
  const left = new Map(all.filter((pod) => !ofDaemonSet(pod)).map((pod) => [pod.metadata.uid ?? '', pod]));
  const gone: string[] = [];
  const evict = (): boolean => {
    for (const [uid, { metadata }] of left) {
      const live = context.api.store.get('v1', 'Pod', metadata.name, metadata.namespace);
      if (live?.metadata.uid === uid) {
        if (isGuarded(context, live)) continue;
        context.api.store.delete(live);
      }
      gone.push(`pod/${metadata.name} evicted\n`);
      left.delete(uid);
    }
    return left.size === 0;
  };
  for (let before = -1; left.size > 0 && before !== left.size; ) {
    before = left.size;
    await poll(context, Math.min(STUCK, milliseconds(timeout) || STUCK), evict);
  }
  if (left.size === 0) return { code: 0, stdout: `${cordoned.stdout ?? ''}${gone.join('')}node/${node} drained\n` };
  const of = ({ metadata }: Thing): string => `error when evicting pods/"${metadata.name}" -n "${metadata.namespace}"`;
  const late = [...left.values()].map((pod) => `${of(pod)}: global timeout reached: ${timeout}`);
  const again = [...left.values()].map(
    (pod) => `${of(pod)} (will retry after 5s): Cannot evict pod as it would violate the pod's disruption budget.\n`,
  );
  const why = `unable to drain node "${node}" due to error: [${late.join(', ')}], continuing command...`;
  const { code, stdout, stderr } = failed(cordoned, why, node, late);
  return { code, stdout, stderr: again.join('') + stderr };
}

function failed(cordoned: ProgramResult, error: string, node: string, why: readonly string[]): ProgramResult {
  const stderr = `error: ${error}\nThere are pending nodes to be drained:\n ${node}\n${why.join('\n')}\n`;
  return { code: 1, stdout: cordoned.stdout, stderr };
}

function named(words: string, pods: readonly Thing[], allowed: boolean): string | undefined {
  return allowed || pods.length === 0 ? undefined : `${words}: ${pods.map(fullName).join(', ')}`;
}

function podsOf(context: KubectlContext, node: string): Thing[] {
  return context.api.store.list('v1', 'Pod').filter((pod) => textAt(pod, 'spec.nodeName') === node);
}

function ofDaemonSet(pod: Thing): boolean {
  return pod.metadata.ownerReferences?.[0]?.kind === 'DaemonSet';
}

function isBare(pod: Thing): boolean {
  const ended = ['Succeeded', 'Failed'].includes(textAt(pod, 'status.phase'));
  return !ended && (pod.metadata.ownerReferences ?? []).length === 0;
}

function hasEmptyDir(pod: Thing): boolean {
  return itemsAt(pod, 'spec.volumes').some((volume) => 'emptyDir' in volume);
}

/** Whether a PodDisruptionBudget forbids that this pod goes now. */
function isGuarded(context: KubectlContext, pod: Thing): boolean {
  const { namespace } = pod.metadata;
  return context.api.store.list('policy/v1', 'PodDisruptionBudget', namespace).some((budget) => {
    const selector = textsAt(budget, 'spec.selector.matchLabels');
    if (!selects(selector, pod.metadata.labels)) return false;
    const all = context.api.store.list('v1', 'Pod', namespace).filter((one) => selects(selector, one.metadata.labels));
    const ready = all.filter((one) => textAt(one, 'status.conditions[Ready].status') === 'True').length;
    const least = count(valueAt(budget, 'spec.minAvailable'), all.length);
    const away = count(valueAt(budget, 'spec.maxUnavailable'), all.length);
    return least !== undefined ? ready - 1 < least : away !== undefined && all.length - ready + 1 > away;
  });
}

/** 1, or "50%" of them. */
function count(value: unknown, of: number): number | undefined {
  if (typeof value === 'number') return value;
  return typeof value === 'string' ? Math.ceil((Number.parseInt(value, 10) * of) / 100) : undefined;
}
