import type { ProgramResult } from '../../types.ts';
import { ApiError } from '../api/errors.ts';
import { findKind, resourceName } from '../api/kinds.ts';
import { apply, objects, sources } from './apply.ts';
import { failureText, type KubectlContext, type Verb } from './context.ts';
import { remove } from './delete.ts';
import { drain } from './drain.ts';
import { annotate, cordon, label, patch, scale, taint, uncordon } from './edit.ts';
import { CallError, flag, parseFlags } from './flags.ts';
import { get, listOfNone } from './get.ts';
import { logs, rollout, wait } from './watch.ts';

const VERBS: Record<string, Verb> = {
  get,
  apply,
  delete: remove,
  label,
  annotate,
  taint,
  cordon,
  uncordon,
  drain,
  patch,
  scale,
  wait,
  rollout,
  logs,
  create,
  version,
  'api-resources': apiResources,
};

/** The front of the emulated kubectl: one call, with what it prints. Flags that it does not know are refused. */
export async function kubectl(context: KubectlContext, args: readonly string[]): Promise<ProgramResult> {
  const { verb, rest } = splitVerb(args);
  try {
    const run = VERBS[verb];
    if (!run) throw new CallError(`error: unknown command "${verb}" for "kubectl"`);
    context.serving();
    return await run(context, rest);
  } catch (error) {
    const late = error instanceof ApiError && error.reason === 'Timeout';
    const stderr = `${failureText(late && rest.includes('/readyz') ? UNREADY : error)}\n`;
    return { code: 1, stdout: late && verb === 'get' ? listOfNone(rest) : '', stderr };
  }
}

/** /readyz does not wait for etcd: it says which of its checks fail. */
const UNREADY = new ApiError(
  'InternalError',
  'an error on the server ("[+]ping ok\\n[-]etcd failed: reason withheld\\n[-]etcd-readiness failed: reason withheld\\nreadyz check failed") has prevented the request from succeeding',
);

/** Global flags may stand before the verb: `kubectl -n databases get pods`. */
function splitVerb(args: readonly string[]): { verb: string; rest: string[] } {
  const before: string[] = [];
  const queue = [...args];
  while (queue[0]?.startsWith('-')) {
    const arg = queue.shift() ?? '';
    before.push(arg);
    if (!arg.includes('=')) before.push(queue.shift() ?? '');
  }
  const [verb = '', ...rest] = queue;
  return { verb, rest: [...rest, ...before] };
}

function create(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('create', args, {
    filename: false,
    'dry-run': false,
    output: false,
    'field-manager': false,
  });
  const [type, name] = parsed.words;
  const wanted =
    flag(parsed, 'filename') !== undefined
      ? sources(context, parsed).flatMap(([source, text]) => objects(text, source))
      : [{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: name ?? '' } }];
  if (flag(parsed, 'filename') === undefined && type !== 'namespace' && type !== 'ns')
    throw new CallError(`error: unknown command "create ${type}"`);
  const out = wanted.map((object) => {
    const kind = context.api.kindOf(object) ?? findKind(context.api.kinds(), object.kind);
    if (!kind) throw new CallError(`error: no matches for kind "${object.kind}" in version "${object.apiVersion}"`);
    const namespace = kind.namespaced
      ? (object.metadata.namespace ?? flag(parsed, 'namespace') ?? 'default')
      : undefined;
    if (context.api.find(kind, object.metadata.name, namespace))
      throw new CallError(
        `Error from server (AlreadyExists): ${resourceName(kind)} "${object.metadata.name}" already exists`,
      );
    context.api.apply(
      kind,
      { ...object, metadata: { ...object.metadata, namespace } },
      { manager: 'kubectl-create', update: true },
    );
    return `${object.kind.toLowerCase()}/${object.metadata.name} created\n`;
  });
  return { code: 0, stdout: out.join('') };
}

function version(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('version', args, { output: false, client: true });
  const versions = { clientVersion: { gitVersion: context.version }, serverVersion: { gitVersion: context.version } };
  if (flag(parsed, 'output') === 'json') return { code: 0, stdout: `${JSON.stringify(versions, null, 2)}\n` };
  return { code: 0, stdout: `Client Version: ${context.version}\nServer Version: ${context.version}\n` };
}

function apiResources(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('api-resources', args, {
    'api-group': false,
    output: false,
    'no-headers': true,
    namespaced: false,
  });
  const group = flag(parsed, 'api-group');
  const names = context.api.kinds().filter((kind) => group === undefined || kind.group === group);
  return { code: 0, stdout: names.map((kind) => `${resourceName(kind)}\n`).join('') };
}
