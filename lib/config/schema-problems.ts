import type { ZodError } from 'zod';
import { suggestion } from '../suggest.ts';
import type { ConfigProblem } from './load.ts';
import { knownKeys } from './schema-keys.ts';

type Issue = ZodError['issues'][number];
type Path = (string | number)[];

/** Zod's issues in the words of homelab.yaml: unknown keys get a suggestion, missing ones are called missing. */
export function schemaProblems(error: ZodError, raw: unknown): ConfigProblem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path as Path;
    return problemsOf(issue, path, at(raw, path));
  });
}

function problemsOf(issue: Issue, path: Path, value: unknown): ConfigProblem[] {
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => unknownKey(key, path));
    case 'invalid_type':
      return [{ path, ...wrongType(issue.expected, value) }];
    case 'invalid_value': {
      const known = issue.values.map(String);
      if (value === undefined) return [{ path, message: 'is missing', fix: `add it: ${known.join(', ')}` }];
      return [
        { path, message: `${show(value)} is not one of ${known.join(', ')}`, fix: suggestion(`${value}`, known) },
      ];
    }
    case 'invalid_key':
      return path.at(-1) === ''
        ? [{ path, atKey: true, message: 'the key is empty', fix: 'write a name' }]
        : [
            {
              path,
              atKey: true,
              message: `${show(path.at(-1))} is not the key of a label`,
              fix: 'write it like nvidia.com/gpu.present',
            },
          ];
    case 'too_small':
    case 'too_big':
      return [{ path, ...wrongSize(issue, value) }];
    default: {
      // Our own words; some of them say what to do, after a semicolon.
      const [message = '', fix] = wordsOf(issue).split('; ', 2);
      const said = typeof value === 'string' ? `${show(value)} ${message}` : message;
      return [{ path, message: said, fix: slip(value, issue) ?? fix ?? 'correct it' }];
    }
  }
}

const SECRET = /password|secret(?!Name)|token(?!_id)|api_?key|private_?key/i;

function unknownKey(key: string, parent: Path): ConfigProblem {
  const path = [...parent, key];
  if (SECRET.test(key))
    return {
      path,
      atKey: true,
      message: `"${key}" looks like a secret, and homelab.yaml is committed`,
      fix: 'put it into .env (see .env.example) and take it out here',
    };
  return { path, atKey: true, message: `unknown key "${key}"`, fix: suggestion(key, knownKeys(parent)) };
}

const WORDS: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping of keys to values',
  record: 'a mapping of keys to values',
};

function wrongType(expected: string, value: unknown): { message: string; fix: string } {
  const wanted = WORDS[expected] ?? expected;
  if (value === undefined) return { message: 'is missing', fix: `add it: it must be ${wanted}` };
  if (value === null) return { message: 'is empty', fix: `write ${wanted}, or take the key out` };
  const message = `must be ${wanted}, not ${show(value)}`;
  if (expected === 'string' && typeof value !== 'object') return { message, fix: `write it in quotes: "${value}"` };
  const unquoted = typeof value === 'string' && (expected === 'number' || expected === 'boolean');
  if (unquoted && /^(\d+|true|false)$/.test(value)) return { message, fix: `write it without quotes: ${value}` };
  return { message, fix: `write ${wanted}` };
}

function wrongSize(issue: Issue & { code: 'too_small' | 'too_big' }, value: unknown): { message: string; fix: string } {
  const small = issue.code === 'too_small';
  const limit = small ? issue.minimum : issue.maximum;
  const bound = `${small ? 'at least' : 'at most'} ${limit}`;
  if (issue.origin === 'array')
    return { message: `must have ${bound} ${limit === 1 ? 'entry' : 'entries'}`, fix: 'add one' };
  if (issue.origin === 'string')
    return value === ''
      ? { message: 'is empty', fix: 'write something, or take the key out' }
      : { message: `${show(value)} must have ${bound} characters`, fix: 'correct it' };
  const why = isOurs(issue) ? `: ${issue.message}` : ` is too ${small ? 'small' : 'large'}`;
  return { message: `${show(value)}${why}`, fix: `write ${limit} or ${small ? 'more' : 'less'}` };
}

/** Zod's own sentences are about inputs and formats; ours, from schema.ts, are about the lab. */
function isOurs(issue: Issue): boolean {
  return !/^(Invalid|Too (small|big))/.test(issue.message);
}

function wordsOf(issue: Issue): string {
  if (isOurs(issue)) return issue.message;
  return issue.code === 'invalid_format' && issue.format === 'email' ? 'is not an e-mail address' : 'is not valid';
}

/** A value that is nearly in form: capitals and blanks in a host name, half a version. */
function slip(value: unknown, issue: Issue): string | undefined {
  if (typeof value !== 'string' || issue.code !== 'invalid_format') return undefined;
  const [, pattern] = /^\/(.*)\/$/.exec(issue.pattern ?? '') ?? [];
  if (pattern === undefined) return undefined;
  const lower = value.trim().toLowerCase();
  const version = `v${lower.replace(/^v/, '').replace(/\+.*$/, '')}+k3s1`;
  const better = [lower, lower.replaceAll(/[_\s]+/g, '-'), `${lower}.0`, version].find((t) =>
    new RegExp(pattern).test(t),
  );
  return better === undefined ? undefined : `did you mean "${better}"?`;
}

/** A value as it may stand in one line of a message. */
function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value !== null && typeof value === 'object') return 'a mapping';
  // Put where a public key belongs; nobody should read it in a log as well.
  if (typeof value === 'string' && /AGE-SECRET-KEY/i.test(value)) return 'a secret key of age';
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 77)}…"` : text;
}

function at(raw: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      value !== null && typeof value === 'object' ? (value as Record<string | number, unknown>)[part] : undefined,
    raw,
  );
}
