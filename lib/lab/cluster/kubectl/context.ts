import type { LabHost, ProgramResult } from '../../types.ts';
import type { Api } from '../api/api.ts';
import { ApiError, FieldConflict, NoConnection } from '../api/errors.ts';
import { findKind, type Kind } from '../api/kinds.ts';
import type { Thing } from '../api/thing.ts';
import { CallError, flag, isSet, type Parsed } from './flags.ts';

/** One call of kubectl: the API server that it talks to, and where it runs. */
export type KubectlContext = {
  api: Api;
  host: LabHost;
  stdin: string;
  /** Of K3s, "v1.36.5+k3s1". */
  version: string;
  logs(pod: Thing): string;
  /** Throws what the API server answers when it cannot serve; asked again and again while waiting. */
  serving(): void;
};

export type Verb = (context: KubectlContext, args: string[]) => Promise<ProgramResult> | ProgramResult;

/** An object as it is named on the command line. */
export type Named = { kind: Kind; name: string };

/** The namespace of a call; undefined with -A. */
export function namespaceOf(parsed: Parsed): string | undefined {
  return isSet(parsed, 'all-namespaces') ? undefined : (flag(parsed, 'namespace') ?? 'default');
}

export function kindNamed(context: KubectlContext, name: string): Kind {
  const kind = findKind(context.api.kinds(), name);
  if (!kind) throw new CallError(`error: the server doesn't have a resource type "${name.split('.')[0]}"`);
  return kind;
}

/** "job/x job/y", "job x y", "pods,services": kinds, and the names that were given. */
export function targets(context: KubectlContext, words: readonly string[]): { kinds: Kind[]; named: Named[] } {
  const [first, ...rest] = words;
  if (first === undefined) throw new CallError('error: You must specify the type of resource.');
  if (first.includes('/')) {
    const named = words.map((word) => {
      const [kind = '', name = ''] = word.split('/');
      return { kind: kindNamed(context, kind), name };
    });
    return { kinds: [], named };
  }
  const kinds = first.split(',').map((name) => kindNamed(context, name));
  return { kinds, named: kinds.flatMap((kind) => rest.map((name) => ({ kind, name }))) };
}

/** What kubectl prints for what went wrong. `among`: it is one of several errors. */
export function failureText(error: unknown, among = false): string {
  if (among && error instanceof FieldConflict) return error.message;
  if (error instanceof CallError || error instanceof NoConnection) return error.message;
  if (!(error instanceof ApiError)) return `error: ${error instanceof Error ? error.message : String(error)}`;
  // By itself it names the kind without its group.
  if (error.reason === 'Invalid' && !among) return `The ${error.message.replace(/^(\w+)\S*/, '$1')}`;
  return error.reason ? `Error from server (${error.reason}): ${error.message}` : `Error from server: ${error.message}`;
}

/** Looks every few milliseconds until `done`. @returns false when the time is over */
export async function poll(context: KubectlContext, timeout: number, done: () => boolean): Promise<boolean> {
  const end = Date.now() + timeout;
  while (true) {
    context.serving();
    if (done()) return true;
    if (Date.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
