import type { z } from 'zod';
import { ApiError } from '../api/errors.ts';
import type { Kind } from '../api/kinds.ts';
import { fullName, type Thing } from '../api/thing.ts';
import { coreSchemas } from './core.ts';
import { customSchemas } from './custom.ts';
import { dnsLabel, dnsSubdomain, head } from './forms.ts';
import { unchangeable } from './immutable.ts';
import { workloadSchemas } from './workloads.ts';

const schemas: Record<string, z.ZodType> = { ...coreSchemas, ...workloadSchemas, ...customSchemas };
/** Kinds whose names are host names by themselves. */
const LABEL_NAMED = ['Namespace', 'Service'];

/**
 * What the API server refuses: unknown fields in what was sent, missing and wrong ones in what it would become,
 * and changes of what cannot be changed. Kinds that no schema describes pass with their metadata checked.
 * @throws ApiError with the API server's words
 */
export function validate(kind: Kind, sent: Thing, merged: Thing, live: Thing | undefined): void {
  const schema = schemas[kind.kind];
  const name = LABEL_NAMED.includes(kind.kind) ? dnsLabel : dnsSubdomain;
  const named = name.safeParse(sent.metadata.name);
  if (!named.success)
    throw invalid(kind, sent, [
      `metadata.name: Invalid value: "${sent.metadata.name}": ${named.error.issues[0]?.message}`,
    ]);
  const unknown = undeclaredFields(kind, sent);
  if (unknown.length > 0) throw undeclared(kind, sent, unknown);
  const wrong = (schema?.safeParse(merged).error?.issues ?? []).map((issue) => words(issue, merged));
  if (wrong.length > 0) throw invalid(kind, sent, wrong);
  const changed = live ? unchangeable(live, merged) : [];
  if (changed.length > 0) throw invalid(kind, sent, changed);
}

/** Fields that the kind has not got: "spec.porst". */
export function undeclaredFields(kind: Kind, sent: Thing): string[] {
  const metadata = head.metadata.safeParse(sent.metadata);
  return [
    ...unknownFields(metadata.error?.issues ?? [], ['metadata']),
    ...unknownFields(schemas[kind.kind]?.safeParse(sent).error?.issues ?? []),
  ];
}

function unknownFields(issues: readonly z.core.$ZodIssue[], prefix: string[] = []): string[] {
  return issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => dotted([...prefix, ...issue.path, key])) : [],
  );
}

function undeclared({ group, version, kind }: Kind, sent: Thing, [field]: string[]): ApiError {
  const what = `${fullName(sent)}; ${group}/${version}, Kind=${kind}`;
  return new ApiError('', `failed to create typed patch object (${what}): .${field}: field not declared in schema`);
}

function invalid(kind: Kind, sent: Thing, problems: string[]): ApiError {
  const qualified = kind.group ? `${kind.kind}.${kind.group}` : kind.kind;
  const list = problems.length === 1 ? problems[0] : `\n${problems.map((problem) => `* ${problem}`).join('\n')}`;
  return new ApiError('Invalid', `${qualified} "${sent.metadata.name}" is invalid: ${list}`);
}

function words(issue: z.core.$ZodIssue, object: unknown): string {
  const place = dotted(issue.path);
  const value = issue.path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    object,
  );
  if (issue.message.startsWith('Required value')) return `${place}: ${issue.message}`;
  if (value === undefined) return `${place}: Required value`;
  return `${place}: Invalid value: ${JSON.stringify(value)}: ${issue.message}`;
}

function dotted(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text ? `${text}.${String(part)}` : String(part);
  }, '');
}
