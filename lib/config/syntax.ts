import { type Document, isScalar, visit } from 'yaml';
import type { ConfigProblem } from './load.ts';

/** More than any homelab.yaml has by far, and less than makes a parser give up. */
const DEEPEST = 100;
/** After the first few, errors of the parser are mostly about the first. */
const SHOWN = 10;

/** Whether brackets, dashes of lists in lists, or indentation are nested without end: parsing that takes seconds, and fails. */
export function isDeep(text: string): boolean {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1;
    if (depth > DEEPEST) return true;
  }
  return new RegExp(`(?:[-?:] ){${DEEPEST}}|^ {${2 * DEEPEST}}`, 'm').test(text);
}

/** What is not YAML, or YAML that nobody means: unknown tags, NUL bytes, keys that are lists. */
export function syntaxProblems(document: Document.Parsed, text: string): ConfigProblem[] {
  const faults = [...document.errors, ...document.warnings];
  const problems: ConfigProblem[] = faults.slice(0, SHOWN).map(({ code, message, pos: [offset] }) => {
    if (code === 'DUPLICATE_KEY') {
      const [key = ''] = /^[^\s:]*/.exec(text.slice(offset)) ?? [];
      return { offset, message: `the key "${key}" is there already`, fix: 'take one of the two out' };
    }
    if (code === 'MULTIPLE_DOCS') return { offset, message: 'a second document starts here (---)', fix: 'take it out' };
    return { offset, message: message.replaceAll(/\s*\n\s*/g, ' '), fix: 'correct the YAML' };
  });
  if (problems.length > 0) return problems;
  visit(document, {
    Pair: (_, { key }) => {
      if (!isScalar(key))
        problems.push({ offset: document.range[0], message: 'a key is a list or a mapping', fix: 'write a word' });
    },
    Scalar: (_, { value, range }) => {
      if (typeof value === 'string' && value.includes('\0'))
        problems.push({ offset: range?.[0], message: 'a NUL byte cannot be part of a value', fix: 'take it out' });
    },
  });
  return problems;
}
