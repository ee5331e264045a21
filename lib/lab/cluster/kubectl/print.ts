import { stringify } from 'yaml';
import { type Kind, singularName } from '../api/kinds.ts';
import { isRecord, type Thing, textAt, valueAt } from '../api/thing.ts';
import { CallError } from './flags.ts';

export type Found = { kind: Kind; object: Thing };

/** Objects in the form that -o asks for. `single`: one object was named, so no List is made of it. */
export function print(
  found: readonly Found[],
  output: string,
  single: boolean,
  options: { headers: boolean; all: boolean },
): string {
  if (output === 'name') return found.map((f) => `${singularName(f.kind)}/${f.object.metadata.name}\n`).join('');
  const first = found[0];
  const document =
    single && first
      ? first.object
      : { apiVersion: 'v1', items: found.map((f) => f.object), kind: 'List', metadata: { resourceVersion: '' } };
  if (output === 'json') return `${JSON.stringify(document, null, 4)}\n`;
  if (output === 'yaml') return stringify(document);
  if (output.startsWith('jsonpath=')) return jsonPath(document, output.slice('jsonpath='.length));
  if (output !== '' && output !== 'wide')
    throw new CallError(
      `error: unable to match a printer suitable for the output format "${output}", allowed formats are: json,name,yaml,jsonpath,wide`,
    );
  return table(found, options);
}

/** Literal text and `{.a.b[0].c}`, `{.items[*].metadata.name}`, `{.x[?(@.type=="Ready")].status}`. */
export function jsonPath(document: unknown, template: string): string {
  return template.replace(/\{([^}]*)\}/g, (_, expression: string) =>
    walk([document], expression.trim())
      .map((value) => (isRecord(value) || Array.isArray(value) ? JSON.stringify(value) : String(value)))
      .join(' '),
  );
}

function walk(values: unknown[], expression: string): unknown[] {
  if (/^"(.*)"$/.test(expression)) return [expression.slice(1, -1).replaceAll('\\n', '\n')];
  const steps = expression.matchAll(/\.((?:[^.[\\]|\\.)+)|\[(\d+)\]|\[\*\]|\[\?\(@\.([\w.]+)==["']([^"']*)["']\)\]/g);
  let current = values;
  for (const [whole, field, index, key, wanted] of steps) {
    current = current.flatMap((value) => {
      if (field !== undefined) return isRecord(value) ? [value[field.replaceAll('\\.', '.')]] : [];
      if (!Array.isArray(value)) return [];
      if (index !== undefined) return [value[Number(index)]];
      return whole === '[*]' ? value : value.filter((item) => textAt(item, key ?? '') === wanted);
    });
    current = current.filter((value) => value !== undefined);
  }
  return current;
}

function table(found: readonly Found[], { headers, all }: { headers: boolean; all: boolean }): string {
  const rows = found.map(({ object }) => [
    ...(all ? [object.metadata.namespace ?? ''] : []),
    object.metadata.name,
    stateOf(object),
    `${Math.max(0, Math.round((Date.now() - Date.parse(object.metadata.creationTimestamp ?? '')) / 1000))}s`,
  ]);
  const lines = headers ? [[...(all ? ['NAMESPACE'] : []), 'NAME', 'STATUS', 'AGE'], ...rows] : rows;
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('   ')
          .trimEnd()}\n`,
    )
    .join('');
}

function stateOf(object: Thing): string {
  if (object.kind === 'Node') {
    const ready = textAt(object, 'status.conditions[Ready].status') === 'True' ? 'Ready' : 'NotReady';
    return valueAt(object, 'spec.unschedulable') ? `${ready},SchedulingDisabled` : ready;
  }
  if (object.metadata.deletionTimestamp) return 'Terminating';
  return textAt(object, 'status.phase') || textAt(object, 'status.conditions[Ready].status') || '-';
}
