import { parseAllDocuments } from 'yaml';
import { messageOf } from '../../../errors.ts';
import type { ProgramResult } from '../../types.ts';
import { type Kind, singularName } from '../api/kinds.ts';
import { isRecord, type Thing } from '../api/thing.ts';
import { undeclaredFields } from '../validation/index.ts';
import { failureText, type KubectlContext, namespaceOf } from './context.ts';
import { CallError, flag, isSet, type Parsed, parseFlags } from './flags.ts';

const FLAGS = {
  filename: false,
  'server-side': true,
  'field-manager': false,
  'force-conflicts': true,
  'dry-run': false,
  output: false,
  validate: false,
  recursive: true,
};

/** Objects one by one: what is refused does not keep the others from being applied. */
export function apply(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('apply', args, FLAGS);
  if (flag(parsed, 'filename') === undefined) throw new CallError('error: must specify one of -f and -k');
  const serverSide = isSet(parsed, 'server-side');
  const dryRun = flag(parsed, 'dry-run') ?? 'none';
  if (!['none', 'server'].includes(dryRun))
    throw new CallError(`error: --dry-run=${dryRun} is not what this emulator does; use --dry-run=server`);
  const out: string[] = [];
  const errors: unknown[] = [];
  const all = sources(context, parsed).flatMap(([source, text]) =>
    items(text, source).map(({ object, listed }) => ({ object, listed, source })),
  );
  for (const { object, listed, source } of all) if (listed) lookThrough(context, object, source);
  for (const { object, listed, source } of all) {
    try {
      const kind = mapped(context, object, source, listed);
      const placed = inNamespace(kind, object, parsed);
      const live = context.api.find(kind, placed.metadata.name, placed.metadata.namespace);
      const applied = context.api.apply(kind, placed, {
        manager: flag(parsed, 'field-manager') ?? (serverSide ? 'kubectl' : 'kubectl-client-side-apply'),
        force: !serverSide || isSet(parsed, 'force-conflicts'),
        dryRun: dryRun === 'server',
        update: !serverSide,
      });
      const verb = serverSide ? 'serverside-applied' : changeWord(live, applied);
      const json = flag(parsed, 'output') === 'json';
      const suffix = dryRun === 'server' ? ' (server dry run)' : '';
      out.push(
        json
          ? `${JSON.stringify(applied, null, 4)}\n`
          : `${singularName(kind)}/${placed.metadata.name} ${verb}${suffix}\n`,
      );
    } catch (error) {
      errors.push(error);
    }
  }
  const stderr = errors.map((error) => `${failureText(error, errors.length > 1)}\n`).join('');
  return { code: errors.length > 0 ? 1 : 0, stdout: out.join(''), stderr };
}

/** What is in a List kubectl compares with the API's schema itself, before it sends anything. */
function lookThrough(context: KubectlContext, object: Thing, source: string): void {
  const kind = context.api.kindOf(object);
  const [field] = kind ? undeclaredFields(kind, object) : [];
  if (field === undefined) return;
  const at = field.lastIndexOf('.');
  const place = at < 0 ? object.kind : `${object.kind}.${field.slice(0, at)}`;
  throw new CallError(
    `error: error validating "${source}": error validating data: ValidationError(${place}): unknown field "${field.slice(at + 1)}"; ` +
      'if you choose to ignore these errors, turn validation off with --validate=false',
  );
}

function changeWord(live: Thing | undefined, applied: Thing): string {
  if (!live) return 'created';
  return live.metadata.resourceVersion === applied.metadata.resourceVersion ? 'unchanged' : 'configured';
}

/** The texts that -f names, with the names that errors give them. */
export function sources({ host, stdin }: KubectlContext, { flags }: Parsed): [string, string][] {
  return (flags.get('filename') ?? []).map((name) => {
    if (name === '-') return ['STDIN', stdin];
    if (/^https?:/.test(name)) throw new CallError(`error: unable to read URL "${name}", the lab has no internet`);
    const text = host.readFile(name);
    if (text === undefined) throw new CallError(`error: the path "${name}" does not exist`);
    return [name, text];
  });
}

/** JSON, YAML with several documents, and Lists, as single objects. */
export function objects(text: string, source: string): Thing[] {
  return items(text, source).map(({ object }) => object);
}

/** The same, and whether each was in a List. */
function items(text: string, source: string): { object: Thing; listed: boolean }[] {
  const documents = parseDocuments(text, source).filter((value) => value !== null && value !== undefined);
  const all = documents.flatMap((value) =>
    isRecord(value) && value.kind === 'List' && Array.isArray(value.items)
      ? value.items.map((item: unknown) => ({ value: item, listed: true }))
      : [{ value, listed: false }],
  );
  if (all.length === 0) throw new CallError('error: no objects passed to apply');
  return all.map(({ value, listed }) => ({ object: asThing(value, source), listed }));
}

function parseDocuments(text: string, source: string): unknown[] {
  if (text.trimStart().startsWith('{')) {
    try {
      return [JSON.parse(text)];
    } catch (error) {
      throw new CallError(`error: error parsing ${source}: ${messageOf(error)}`);
    }
  }
  return parseAllDocuments(text).map((document) => {
    const [problem] = 'errors' in document ? document.errors : [];
    if (problem)
      throw new CallError(`error: error parsing ${source}: error converting YAML to JSON: yaml: ${problem.message}`);
    return document.toJS();
  });
}

function asThing(value: unknown, source: string): Thing {
  const record = isRecord(value) ? value : {};
  const { apiVersion, kind, metadata } = record;
  const unset = [
    ...(typeof apiVersion === 'string' ? [] : ['apiVersion not set']),
    ...(typeof kind === 'string' ? [] : ['kind not set']),
  ];
  if (typeof apiVersion !== 'string' || typeof kind !== 'string')
    throw new CallError(`error: error validating "${source}": error validating data: [${unset.join(', ')}]`);
  if (!isRecord(metadata) || typeof metadata.name !== 'string' || metadata.name === '')
    throw new CallError('error: resource name may not be empty');
  for (const field of ['labels', 'annotations']) {
    const texts = metadata[field];
    const wrong = isRecord(texts) ? Object.values(texts).find((text) => typeof text !== 'string') : undefined;
    if (wrong !== undefined)
      throw new CallError(
        `error: unable to decode "${source}": json: cannot unmarshal ${typeof wrong} into Go struct field ObjectMeta.metadata.${field} of type string`,
      );
  }
  return { ...record, apiVersion, kind, metadata: { ...metadata, name: metadata.name } };
}

export function mapped(context: KubectlContext, object: Thing, source: string, listed = false): Kind {
  const kind = context.api.kindOf(object);
  if (kind) return kind;
  const { name, namespace = '' } = object.metadata;
  if (listed)
    throw new CallError(`unable to recognize no matches for kind "${object.kind}" in version "${object.apiVersion}"`);
  throw new CallError(
    `error: resource mapping not found for name: "${name}" namespace: "${namespace}" from "${source}": ` +
      `no matches for kind "${object.kind}" in version "${object.apiVersion}"\nensure CRDs are installed first`,
  );
}

/** -n fills a missing namespace, and must not contradict one. */
export function inNamespace(kind: Kind, object: Thing, parsed: Parsed): Thing {
  if (!kind.namespaced) return object;
  const given = flag(parsed, 'namespace');
  const own = object.metadata.namespace;
  if (given && own && given !== own)
    throw new CallError(
      `error: the namespace from the provided object "${own}" does not match the namespace "${given}". You must pass '--namespace=${own}' to perform this operation.`,
    );
  return { ...object, metadata: { ...object.metadata, namespace: own ?? namespaceOf(parsed) } };
}
