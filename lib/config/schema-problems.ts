import type { ZodError } from 'zod';
import { suggestion } from '../suggest.ts';
import type { ConfigProblem } from './load.ts';
import { knownKeys } from './schema-keys.ts';

type Issue = ZodError['issues'][number];

/** Zod's issues in the words of homelab.yaml: unknown keys get a suggestion, missing ones are called missing. */
export function schemaProblems(error: ZodError, raw: unknown): ConfigProblem[] {
  return error.issues.flatMap((issue) => problemsOf(issue, raw));
}

const SECRET = /password|secret(?!Name)|token(?!_id)|api_?key|private_?key/i;

function problemsOf(issue: Issue, raw: unknown): ConfigProblem[] {
  const path = issue.path as (string | number)[];
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) =>
        SECRET.test(key)
          ? {
              path: [...path, key],
              message: `"${key}" looks like a secret, and homelab.yaml is committed`,
              fix: 'put it into .env (see .env.example) and take it out here',
            }
          : { path: [...path, key], message: `unknown key "${key}"`, fix: suggestion(key, knownKeys(path)) },
      );
    case 'invalid_type': {
      const value = at(raw, path);
      if (value === undefined) return [{ path, message: 'is missing', fix: `add it: it must be a ${issue.expected}` }];
      return [
        {
          path,
          message: `must be a ${issue.expected}, not ${JSON.stringify(value)}`,
          fix: `write a ${issue.expected}`,
        },
      ];
    }
    case 'invalid_value':
      return [
        {
          path,
          message: `${JSON.stringify(at(raw, path))} is not one of ${issue.values.join(', ')}`,
          fix: suggestion(String(at(raw, path)), issue.values.map(String)),
        },
      ];
    default: {
      const value = at(raw, path);
      const shown = typeof value === 'object' ? '' : `${JSON.stringify(value)} `;
      return [{ path, message: `${shown}${issue.message}`, fix: 'correct it' }];
    }
  }
}

function at(raw: unknown, path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      value !== null && typeof value === 'object' ? (value as Record<string | number, unknown>)[part] : undefined,
    raw,
  );
}
