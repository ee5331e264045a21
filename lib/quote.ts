/**
 * Quotes words for a POSIX shell (dash, bash, busybox sh). Single quotes take everything literally,
 * newlines included; zx's own quote emits `$'…'`, which dash does not know.
 */
export function quote(word: string): string {
  if (word.includes('\0')) throw new Error('a NUL byte cannot be part of a command');
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** One command line of an argv array, safe to hand to a POSIX shell. */
export function commandLine(argv: readonly string[]): string {
  // A first word with "=" would be an assignment; quoting it makes it a (failing) command name.
  const [first = '', ...rest] = argv;
  const head = first.includes('=') ? `'${first.replaceAll("'", `'\\''`)}'` : quote(first);
  return [head, ...rest.map(quote)].join(' ');
}
