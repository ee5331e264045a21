import { isRolledOut } from '../../../kube-object.ts';
import type { ProgramResult } from '../../types.ts';
import { type Kind, resourceName, singularName } from '../api/kinds.ts';
import { isOwnedBy, recordAt, type Thing, textAt } from '../api/thing.ts';
import { type KubectlContext, namespaceOf, poll, targets } from './context.ts';
import { CallError, flag, isSet, milliseconds, type Parsed, parseFlags } from './flags.ts';
import { filter } from './get.ts';
import { jsonPath } from './print.ts';

/** Waits for a condition, a value at a JSONPath, or the end of objects. */
export async function wait(context: KubectlContext, args: string[]): Promise<ProgramResult> {
  const parsed = parseFlags('wait', args, {
    for: false,
    timeout: false,
    all: true,
    selector: false,
    'all-namespaces': true,
  });
  const wanted = flag(parsed, 'for');
  if (!wanted) throw new CallError('error: --for is required');
  const timeout = milliseconds(flag(parsed, 'timeout') ?? '30s');
  const end = Date.now() + timeout;
  const namespace = namespaceOf(parsed);
  const { kinds, named } = targets(context, parsed.words);
  const listed = kinds.flatMap((kind) =>
    named.length > 0 || !(isSet(parsed, 'all') || flag(parsed, 'selector'))
      ? []
      : context.api
          .list(kind, namespace)
          .filter(filter(flag(parsed, 'selector'), undefined))
          .map((o) => ({ kind, name: o.metadata.name })),
  );
  const all = [...named, ...listed];
  if (all.length === 0 && wanted !== 'delete') throw new CallError('error: no matching resources found');
  const out: string[] = [];
  for (const { kind, name } of all) {
    if (wanted === 'delete' && !context.api.find(kind, name, namespace)) continue;
    const look = (): Thing | undefined => context.api.find(kind, name, namespace);
    if (wanted !== 'delete' && !look()) context.api.get(kind, name, namespace);
    const met = await poll(context, end - Date.now(), () => isMet(look(), wanted));
    if (!met)
      return {
        code: 1,
        stdout: out.join(''),
        stderr: `error: timed out waiting for the condition on ${resourceName(kind)}/${name}\n`,
      };
    out.push(`${singularName(kind)}/${name} condition met\n`);
  }
  return { code: 0, stdout: out.join('') };
}

function isMet(object: Thing | undefined, wanted: string): boolean {
  if (wanted === 'delete') return object === undefined;
  const [, condition, status = 'True'] = /^condition=([^=]+)(?:=(.+))?$/.exec(wanted) ?? [];
  if (condition) return textAt(object, `status.conditions[${condition}].status`).toLowerCase() === status.toLowerCase();
  const [, path = '', value] = /^jsonpath=(\{.*?\})(?:=(.*))?$/.exec(wanted) ?? [];
  if (path === '') throw new CallError(`error: unrecognized condition: "${wanted}"`);
  const seen = object ? jsonPath(object, path) : '';
  return value === undefined ? seen !== '' : seen === value;
}

export async function rollout(context: KubectlContext, args: string[]): Promise<ProgramResult> {
  const [action, ...rest] = args;
  const parsed = parseFlags(`rollout ${action}`, rest, { timeout: false, watch: false, selector: false });
  const { named } = targets(context, parsed.words);
  const namespace = namespaceOf(parsed);
  const target = named[0];
  if (!target) throw new CallError('error: required resource not specified');
  const { kind, name } = target;
  const object = context.api.get(kind, name, namespace);
  if (action === 'restart') {
    const template = recordAt(object, 'spec.template');
    const metadata = recordAt(template, 'metadata');
    const annotations = {
      ...recordAt(metadata, 'annotations'),
      'kubectl.kubernetes.io/restartedAt': new Date().toISOString(),
    };
    const spec = { ...recordAt(object, 'spec'), template: { ...template, metadata: { ...metadata, annotations } } };
    context.api.store.put({ ...object, spec }, 'kubectl-rollout');
    return { code: 0, stdout: `${singularName(kind)}/${name} restarted\n` };
  }
  if (action !== 'status') throw new CallError(`error: unknown command "rollout ${action}"`);
  const done = await poll(context, rolloutTimeout(parsed), () => {
    const now = context.api.find(kind, name, namespace);
    return now !== undefined && isRolledOut(now);
  });
  const what = kind.kind === 'DaemonSet' ? 'daemon set' : kind.kind.toLowerCase();
  if (!done) return { code: 1, stderr: 'error: timed out waiting for the condition\n' };
  return { code: 0, stdout: `${what} "${name}" successfully rolled out\n` };
}

function rolloutTimeout(parsed: Parsed): number {
  const timeout = milliseconds(flag(parsed, 'timeout') ?? '0s');
  return timeout === 0 ? 600_000 : timeout;
}

/** The end of the logs of a pod, or of the newest pod of a workload. */
export function logs(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('logs', args, {
    tail: false,
    container: false,
    'all-containers': true,
    selector: false,
    prefix: true,
    previous: true,
    since: false,
    timestamps: true,
    'all-pods': true,
    'ignore-errors': true,
  });
  const namespace = namespaceOf(parsed) ?? 'default';
  const word = parsed.words[0] ?? '';
  const selector = flag(parsed, 'selector');
  const pods = selector
    ? context.api.store.list('v1', 'Pod', namespace).filter(filter(selector, undefined))
    : podsOf(context, word, namespace);
  const tail = Number(flag(parsed, 'tail') ?? -1);
  const lines = pods.slice(-1).flatMap((pod) => context.logs(pod).split('\n').filter(Boolean));
  return {
    code: 0,
    stdout: (tail >= 0 ? lines.slice(-tail || lines.length) : lines).map((line) => `${line}\n`).join(''),
  };
}

function podsOf(context: KubectlContext, word: string, namespace: string): Thing[] {
  const pods = context.api.store.list('v1', 'Pod', namespace);
  const { named } = targets(context, [word.includes('/') ? word : `pod/${word}`]);
  const { kind, name }: { kind?: Kind; name: string } = named[0] ?? { name: '' };
  if (!kind) throw new CallError('error: expected POD or TYPE/NAME');
  const object = context.api.find(kind, name, namespace);
  if (!object)
    throw new CallError(
      `error: error from server (NotFound): ${resourceName(kind)} "${name}" not found in namespace "${namespace}"`,
    );
  if (object.kind === 'Pod') return [object];
  const own = pods.filter((pod) => isOwnedBy(pod, object));
  if (own.length === 0) throw new CallError(`error: no pods found for ${singularName(kind)}/${name}`);
  return own;
}
