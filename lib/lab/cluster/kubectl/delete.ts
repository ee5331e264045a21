import type { ProgramResult } from '../../types.ts';
import { resourceName, singularName } from '../api/kinds.ts';
import type { Thing } from '../api/thing.ts';
import { inNamespace, mapped, objects, sources } from './apply.ts';
import { failureText, type KubectlContext, type Named, namespaceOf, poll, targets } from './context.ts';
import { CallError, flag, isSet, milliseconds, type Parsed, parseFlags } from './flags.ts';
import { filter } from './get.ts';

const FLAGS = {
  filename: false,
  selector: false,
  'field-selector': false,
  all: true,
  'all-namespaces': true,
  'ignore-not-found': true,
  wait: true,
  timeout: false,
  force: true,
  'grace-period': false,
  now: true,
  cascade: false,
  output: false,
};

type Target = Named & { namespace: string | undefined };

export async function remove(context: KubectlContext, args: string[]): Promise<ProgramResult> {
  const parsed = parseFlags('delete', args, FLAGS);
  const out: string[] = [];
  const errors: string[] = [];
  const going: [Target, Thing][] = [];
  for (const target of wanted(context, parsed)) {
    const { kind, name, namespace } = target;
    try {
      if (isSet(parsed, 'ignore-not-found') && !context.api.find(kind, name, namespace)) continue;
      going.push([target, context.api.delete(kind, name, namespace)]);
      out.push(`${singularName(kind)} "${name}" deleted${kind.namespaced ? ` from ${namespace} namespace` : ''}\n`);
    } catch (error) {
      errors.push(`${failureText(error)}\n`);
    }
  }
  if (flag(parsed, 'wait') !== 'false') {
    const timeout = flag(parsed, 'timeout');
    for (const [{ kind, name, namespace }, object] of going) {
      const gone = (): boolean => context.api.find(kind, name, namespace)?.metadata.uid !== object.metadata.uid;
      const end = timeout === undefined ? 600_000 : milliseconds(timeout);
      if (!(await poll(context, end, gone)))
        errors.push(`error: timed out waiting for the condition on ${resourceName(kind)}/${name}\n`);
    }
  }
  return { code: errors.length > 0 ? 1 : 0, stdout: out.join(''), stderr: errors.join('') };
}

function wanted(context: KubectlContext, parsed: Parsed): Target[] {
  const namespace = namespaceOf(parsed);
  if (flag(parsed, 'filename') !== undefined)
    return sources(context, parsed).flatMap(([source, text]) =>
      objects(text, source).flatMap((object) => {
        const kind = mapped(context, object, source);
        const placed = inNamespace(kind, object, parsed);
        return [{ kind, name: placed.metadata.name, namespace: placed.metadata.namespace }];
      }),
    );
  const { kinds, named } = targets(context, parsed.words);
  if (named.length > 0) return named.map((target) => ({ ...target, namespace }));
  const selector = flag(parsed, 'selector');
  const fields = flag(parsed, 'field-selector');
  if (selector === undefined && fields === undefined && !isSet(parsed, 'all'))
    throw new CallError('error: resource(s) were provided, but no name was specified');
  return kinds.flatMap((kind) =>
    context.api
      .list(kind, namespace)
      .filter(filter(selector, fields))
      .map((object) => ({ kind, name: object.metadata.name, namespace: object.metadata.namespace })),
  );
}
