/** The call itself is wrong: kubectl says so and exits 1. */
export class CallError extends Error {}

/** Flags of a verb: `true` for those without a value. */
export type FlagTable = Record<string, boolean>;

export type Parsed = { words: string[]; flags: Map<string, string[]> };

/** Flags that every verb takes. */
const EVERYWHERE: FlagTable = {
  namespace: false,
  kubeconfig: false,
  context: false,
  'request-timeout': false,
  v: false,
  'cache-dir': false,
};
const SHORT: Record<string, string> = {
  n: 'namespace',
  A: 'all-namespaces',
  o: 'output',
  l: 'selector',
  f: 'filename',
  p: 'patch',
  c: 'container',
  R: 'recursive',
};

/** Splits a verb's arguments into words and flags. @throws CallError for a flag that the verb does not have */
export function parseFlags(verb: string, args: readonly string[], table: FlagTable): Parsed {
  const known = { ...EVERYWHERE, ...table };
  const words: string[] = [];
  const flags = new Map<string, string[]>();
  const queue = [...args];
  for (let arg = queue.shift(); arg !== undefined; arg = queue.shift()) {
    if (arg === '--') {
      words.push(...queue.splice(0));
    } else if (arg === '-' || !arg.startsWith('-')) {
      words.push(arg);
    } else {
      const { name, value } = split(arg);
      const bare = known[name];
      if (bare === undefined)
        throw new CallError(`error: unknown flag: ${arg.split('=')[0]}\nSee 'kubectl ${verb} --help' for usage.`);
      const given = value ?? (bare ? 'true' : queue.shift());
      if (given === undefined) throw new CallError(`error: flag needs an argument: ${arg}`);
      flags.set(name, [...(flags.get(name) ?? []), given]);
    }
  }
  return { words, flags };
}

function split(arg: string): { name: string; value?: string } {
  const [, long, rest] = /^--([^=]+)(?:=([\s\S]*))?$/.exec(arg) ?? [];
  if (long !== undefined) return { name: long, value: rest };
  const letter = arg[1] ?? '';
  const value = arg.slice(2).replace(/^=/, '');
  return { name: SHORT[letter] ?? letter, value: value === '' ? undefined : value };
}

export function flag({ flags }: Parsed, name: string): string | undefined {
  return flags.get(name)?.at(-1);
}

export function isSet(parsed: Parsed, name: string): boolean {
  const value = flag(parsed, name);
  return value !== undefined && value !== 'false';
}

/** "90s", "2m", "1m30s" in milliseconds. */
export function milliseconds(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text) {
    if (text === '0') return 0;
    throw new CallError(`error: invalid argument "${text}" for "--timeout" flag: time: invalid duration "${text}"`);
  }
  const unit: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  return parts.reduce((sum, [, count, name]) => sum + Number(count) * (unit[name ?? ''] ?? 0), 0);
}
