/**
 * What pg_restore and psql say of a failure, without rows and without options of foreign servers and subscriptions, which
 * may be passwords: it goes into verify.json, journals and notices, and these to other people's servers. Pure.
 */
export function discreetOutput(output: string): string {
  const lines: string[] = [];
  let hiding = false;
  for (const line of output.split('\n')) {
    if (hiding && !STARTS.test(line)) continue;
    const shown = HIDDEN.reduce((text, [what, instead]) => text.replace(what, instead), line);
    hiding = shown !== line || line.startsWith('Command was: ');
    lines.push(shown);
  }
  return lines.join('\n');
}

/** How lines begin that are no more of a value that has several. */
const STARTS =
  /^(pg_restore|psql|pg_dump|ERROR|FATAL|WARNING|LINE|HINT|QUERY|CONTEXT|DETAIL|STATEMENT|Command was|COPY )/;

const HIDDEN: [RegExp, string][] = [
  // A statement up to its values: its kind and its name say which it is.
  [/^(Command was: [^('$]*)[('$].*$/, '$1…'],
  [/^((?:CONTEXT: {2})?COPY .+, line \d+(?:, column [^:]+)?): .*$/, '$1'],
  [/^(DETAIL: {2}Failing row contains ).*$/, '$1…'],
  [/^(DETAIL: {2}Key \(.*?\)=\().*(\) (?:is|already|conflicts)\b.*)$/, '$1…$2'],
  [/^(DETAIL: {2}Token ").*$/, '$1…"'],
  [/^(CONTEXT: {2}JSON data, line \d+: ).*$/, '$1…'],
  // psql and pg_restore repeat the statement up to where it is wrong.
  [/^(LINE \d+: [^('$]*)[('$].*$/, '$1…'],
  [/^(DETAIL: {2}Key \(.*?\)=\()(?!\u2026).*$/, '$1…'],
  [/(invalid input (?:syntax|value) for [^:]+: "|field value out of range: ").*$/, '$1…"'],
  [/(ERROR: {2}value ").*(" is out of range)/, '$1…$2'],
];
