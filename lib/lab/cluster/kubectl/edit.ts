import type { ProgramResult } from '../../types.ts';
import { ApiError } from '../api/errors.ts';
import { singularName } from '../api/kinds.ts';
import { same } from '../api/server-side-apply.ts';
import { isRecord, itemsAt, recordAt, type Thing } from '../api/thing.ts';
import { type KubectlContext, kindNamed, type Named, namespaceOf, targets } from './context.ts';
import { CallError, flag, isSet, parseFlags } from './flags.ts';

const CHANGES = { overwrite: true, 'field-manager': false, all: true, selector: false, 'resource-version': false };

export function label(context: KubectlContext, args: string[]): ProgramResult {
  return editTexts(context, args, 'label');
}

export function annotate(context: KubectlContext, args: string[]): ProgramResult {
  return editTexts(context, args, 'annotate');
}

const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

/** "key=value" sets, "key-" removes. Another value is only overwritten when that is said. */
function editTexts(context: KubectlContext, args: string[], verb: 'label' | 'annotate'): ProgramResult {
  const field = verb === 'label' ? 'labels' : 'annotations';
  const parsed = parseFlags(verb, args, CHANGES);
  const isChange = (word: string): boolean => /=|-$/.test(word) && !word.startsWith('-');
  const { named } = targets(
    context,
    parsed.words.filter((word) => !isChange(word)),
  );
  const changes = parsed.words.filter(isChange);
  if (changes.length === 0)
    throw new CallError(`error: at least one ${verb === 'label' ? 'label' : 'annotation'} update is required`);
  const invalid = verb === 'label' && changes.find((change) => /=/.test(change) && !LABEL_VALUE.test(textIn(change)));
  if (invalid)
    throw new CallError(
      `error: invalid label value: "${invalid}": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'`,
    );
  const overwrite = isSet(parsed, 'overwrite');
  return each(context, named, namespaceOf(parsed), (object) => {
    const before = object.metadata[field] ?? {};
    const texts = { ...before };
    const absent: string[] = [];
    for (const change of changes) {
      const key = change.split('=')[0]?.replace(change.includes('=') ? '' : /-$/, '') ?? '';
      if (!change.includes('=')) {
        if (!(key in texts) && verb === 'label') absent.push(`label "${key}" not found.\n`);
        delete texts[key];
        continue;
      }
      const [was, value] = [texts[key], textIn(change)];
      if (was !== undefined && was !== value && !overwrite)
        throw new CallError(
          verb === 'label'
            ? `error: '${key}' already has a value (${was}), and --overwrite is false`
            : `error: --overwrite is false but found the following declared annotation(s): '${key}' already has a value (${was})`,
        );
      texts[key] = value;
    }
    context.api.store.put(
      { ...object, metadata: { ...object.metadata, [field]: texts } },
      flag(parsed, 'field-manager') ?? `kubectl-${verb}`,
    );
    const shorter = JSON.stringify(texts).length < JSON.stringify(before).length;
    const labeled = same(texts, before) ? 'not labeled' : shorter && !overwrite ? 'unlabeled' : 'labeled';
    return { before: absent.join(''), done: verb === 'label' ? labeled : 'annotated' };
  });
}

function textIn(change: string): string {
  return change.slice(change.indexOf('=') + 1);
}

/** "key=value:Effect" adds, "key:Effect-" and "key-" remove. */
export function taint(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('taint', args, CHANGES);
  const isChange = (word: string): boolean => /[:=]|-$/.test(word);
  const { named } = targets(
    context,
    parsed.words.filter((word) => !isChange(word)),
  );
  const changes = parsed.words.filter(isChange);
  const overwrite = isSet(parsed, 'overwrite');
  const [adds, removes] = [changes.some((word) => !word.endsWith('-')), changes.some((word) => word.endsWith('-'))];
  return each(context, named, undefined, (object) => {
    let taints = itemsAt(object, 'spec.taints');
    for (const change of changes) {
      const [, key = '', value, effect, removed] = /^([^=:]+?)(?:=([^:]*))?(?::([A-Za-z]+))?(-)?$/.exec(change) ?? [];
      const same = (t: Record<string, unknown>): boolean =>
        t.key === key && (effect === undefined || t.effect === effect);
      const before = taints.find(same);
      if (removed) {
        if (!before) throw new CallError(`error: taint "${change.slice(0, -1)}" not found`);
        taints = taints.filter((t) => !same(t));
        continue;
      }
      if (!effect || !['NoSchedule', 'PreferNoSchedule', 'NoExecute'].includes(effect))
        throw new CallError(
          `error: invalid taint ${effect ? `effect: ${effect}, unsupported taint effect` : `spec: ${change}`}\nSee 'kubectl taint -h' for help and examples`,
        );
      if (before && !overwrite)
        throw new CallError(
          `error: node ${object.metadata.name} already has ${key} taint(s) with same effect(s) and --overwrite is false`,
        );
      taints = [...taints.filter((t) => !same(t)), { key, ...(value ? { value } : {}), effect }];
    }
    const { taints: _before, ...spec } = recordAt(object, 'spec');
    context.api.store.put({ ...object, spec: taints.length > 0 ? { ...spec, taints } : spec }, 'kubectl-taint');
    return overwrite || (adds && removes) ? 'modified' : adds ? 'tainted' : 'untainted';
  });
}

export function cordon(context: KubectlContext, args: string[]): ProgramResult {
  return setSchedulable(context, args, false);
}

export function uncordon(context: KubectlContext, args: string[]): ProgramResult {
  return setSchedulable(context, args, true);
}

export function setSchedulable(context: KubectlContext, args: string[], schedulable: boolean): ProgramResult {
  const verb = schedulable ? 'uncordon' : 'cordon';
  const parsed = parseFlags(verb, args, { selector: false });
  const kind = kindNamed(context, 'node');
  return each(
    context,
    parsed.words.map((name) => ({ kind, name })),
    undefined,
    (object) => {
      const { unschedulable, ...spec } = recordAt(object, 'spec');
      if ((unschedulable === true) !== schedulable) return `already ${verb}ed`;
      context.api.store.put(
        { ...object, spec: schedulable ? spec : { ...spec, unschedulable: true } },
        'kubectl-cordon',
      );
      return `${verb}ed`;
    },
  );
}

/** A JSON merge patch (and what --type=strategic says in it, as far as it is one). */
export function patch(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('patch', args, { patch: false, type: false, 'field-manager': false, output: false });
  const { named } = targets(context, parsed.words);
  if (flag(parsed, 'type') === 'json')
    throw new CallError('error: --type=json is not what this emulator does; use --type=merge');
  const change: unknown = JSON.parse(flag(parsed, 'patch') ?? '{}');
  return each(context, named, namespaceOf(parsed), (object) => {
    const { apiVersion, kind, metadata } = object;
    const merged = mergePatch(object, change);
    const next = {
      ...merged,
      apiVersion,
      kind,
      metadata: { ...metadata, ...recordAt(merged, 'metadata'), name: metadata.name },
    };
    const after = context.api.store.put(next, flag(parsed, 'field-manager') ?? 'kubectl-patch');
    return after.metadata.resourceVersion === metadata.resourceVersion ? 'patched (no change)' : 'patched';
  });
}

function mergePatch(target: unknown, change: unknown): Record<string, unknown> {
  const merged: Record<string, unknown> = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(isRecord(change) ? change : {})) {
    if (value === null) delete merged[key];
    else merged[key] = isRecord(value) ? mergePatch(merged[key], value) : value;
  }
  return merged;
}

export function scale(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('scale', args, { replicas: false });
  const { named } = targets(context, parsed.words);
  const replicas = Number(flag(parsed, 'replicas'));
  if (!Number.isInteger(replicas) || replicas < 0)
    throw new CallError('error: the --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0');
  return each(context, named, namespaceOf(parsed), (object) => {
    context.api.store.put({ ...object, spec: { ...recordAt(object, 'spec'), replicas } }, 'kubectl');
    return 'scaled';
  });
}

/** Does one thing to each object and says so; what is missing is an error, and the others go on. */
function each(
  context: KubectlContext,
  named: readonly Named[],
  namespace: string | undefined,
  act: (object: Thing) => string | { before: string; done: string },
): ProgramResult {
  const out: string[] = [];
  const errors: string[] = [];
  for (const { kind, name } of named) {
    try {
      const said = act(context.api.get(kind, name, namespace));
      const { before, done } = typeof said === 'string' ? { before: '', done: said } : said;
      out.push(`${before}${singularName(kind)}/${name} ${done}\n`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      errors.push(`Error from server (${error.reason}): ${error.message}\n`);
    }
  }
  return { code: errors.length > 0 ? 1 : 0, stdout: out.join(''), stderr: errors.join('') };
}
