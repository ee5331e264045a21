import type { ProgramResult } from '../../types.ts';
import { ApiError } from '../api/errors.ts';
import { selects, type Thing, textAt } from '../api/thing.ts';
import { type KubectlContext, namespaceOf, targets } from './context.ts';
import { CallError, flag, isSet, parseFlags } from './flags.ts';
import { type Found, print } from './print.ts';

const FLAGS = {
  'all-namespaces': true,
  output: false,
  selector: false,
  'field-selector': false,
  'ignore-not-found': true,
  'no-headers': true,
  'show-labels': true,
  'show-managed-fields': true,
  raw: false,
  'sort-by': false,
  'chunk-size': false,
};

export function get(context: KubectlContext, args: string[]): ProgramResult {
  const parsed = parseFlags('get', args, FLAGS);
  const raw = flag(parsed, 'raw');
  if (raw !== undefined) return { code: 0, stdout: rawAnswer(context, raw) };
  const { kinds, named } = targets(context, parsed.words);
  const namespace = namespaceOf(parsed);
  const output = flag(parsed, 'output') ?? '';
  const options = { headers: !isSet(parsed, 'no-headers'), all: namespace === undefined };
  if (named.length > 0) {
    if (namespace === undefined)
      throw new CallError('error: a resource cannot be retrieved by name across all namespaces');
    const found: Found[] = [];
    const missing: string[] = [];
    for (const { kind, name } of named) {
      const object = context.api.find(kind, name, namespace);
      if (object) found.push({ kind, object });
      else if (!isSet(parsed, 'ignore-not-found')) missing.push(notFoundText(context, kind, name, namespace));
    }
    const stdout = found.length > 0 ? print(found, output, named.length === 1, options) : '';
    return { code: missing.length > 0 ? 1 : 0, stdout, stderr: missing.join('') };
  }
  const matches = filter(flag(parsed, 'selector'), flag(parsed, 'field-selector'));
  const found = kinds.flatMap((kind) =>
    context.api
      .list(kind, namespace)
      .filter(matches)
      .map((object) => ({ kind, object })),
  );
  if (found.length === 0 && (output === '' || output === 'wide')) {
    const where = namespace === undefined || !kinds[0]?.namespaced ? '' : ` in ${namespace} namespace`;
    return { code: 0, stderr: isSet(parsed, 'ignore-not-found') ? '' : `No resources found${where}.\n` };
  }
  // Of a list that is empty nothing is printed then, not even as JSON.
  if (found.length === 0 && isSet(parsed, 'ignore-not-found')) return { code: 0 };
  return { code: 0, stdout: print(found, output, false, options) };
}

/** What kubectl prints of a list that it could not get, beside the error: one that is empty. */
export function listOfNone(args: string[]): string {
  const parsed = parseFlags('get', args, FLAGS);
  const lists = parsed.words.length === 1 && !parsed.words[0]?.includes('/');
  if (!lists || flag(parsed, 'output') !== 'json' || isSet(parsed, 'ignore-not-found')) return '';
  return print([], 'json', false, { headers: true, all: false });
}

function notFoundText(context: KubectlContext, kind: Found['kind'], name: string, namespace: string): string {
  try {
    context.api.get(kind, name, namespace);
    return '';
  } catch (error) {
    return `Error from server (NotFound): ${error instanceof Error ? error.message : ''}\n`;
  }
}

/** A predicate of -l and --field-selector: equalities joined by commas. */
export function filter(selector: string | undefined, fields: string | undefined): (object: Thing) => boolean {
  const wantedLabels = pairs(selector);
  const wantedFields = pairs(fields);
  return (object) =>
    wantedLabels.every(({ key, value, not }) =>
      value === undefined
        ? (object.metadata.labels?.[key] !== undefined) !== not
        : selects({ [key]: value }, object.metadata.labels) !== not,
    ) && wantedFields.every(({ key, value, not }) => (textAt(object, key) === (value ?? '')) !== not);
}

function pairs(text: string | undefined): { key: string; value?: string; not: boolean }[] {
  return (text ?? '')
    .split(',')
    .filter(Boolean)
    .map((part) => {
      const [, key = '', operator, value] = /^!?([^=!]+)(==?|!=)?(.*)$/.exec(part) ?? [];
      return { key, value: operator ? value : undefined, not: operator === '!=' || part.startsWith('!') };
    });
}

function rawAnswer(context: KubectlContext, path: string): string {
  const [route] = path.split('?');
  if (route === '/readyz' || route === '/livez' || route === '/healthz') return 'ok';
  if (route === '/version') {
    const [major, minor] = context.version.replace('v', '').split('.');
    return `${JSON.stringify({ major, minor, gitVersion: context.version, platform: 'linux/amd64' }, null, 2)}\n`;
  }
  throw new ApiError('NotFound', 'the server could not find the requested resource');
}
