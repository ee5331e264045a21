import { readFileSync, statSync } from 'node:fs';
import { type Document, LineCounter, parseDocument } from 'yaml';
import { UsageError } from '../errors.ts';
import { ruleProblems } from './rules.ts';
import { type Config, configSchema } from './schema.ts';
import { schemaProblems } from './schema-problems.ts';

/** Something wrong in homelab.yaml. `path` leads to the key; what does not parse has a position instead. */
export type ConfigProblem = {
  path?: readonly (string | number)[];
  offset?: number;
  message: string;
  fix: string;
  warning?: boolean;
};

export type Loaded = { config: Config; warnings: string[] };

const LARGEST = 1024 * 1024;

/**
 * Reads and checks a homelab.yaml.
 * @returns the checked configuration, and warnings (an even number of servers)
 * @throws UsageError with *all* problems, each `homelab.yaml:LINE:COL: path: what is wrong; what to do`
 */
export function loadConfig(file: string): Loaded {
  return parseConfig(readText(file), file);
}

/** The same for a text; `file` is only its name in messages. */
export function parseConfig(text: string, file: string): Loaded {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const place = (problem: ConfigProblem): string => describe(problem, file, document, lines);

  if (document.errors.length > 0) {
    throw failed(
      document.errors.map((error) => place({ offset: error.pos[0], message: error.message, fix: 'correct the YAML' })),
    );
  }
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 50 });
  } catch (error) {
    throw failed([
      place({
        offset: 0,
        message: (error as Error).message,
        fix: 'write the values out instead of using so many aliases',
      }),
    ]);
  }
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw))
    throw failed([
      place({
        offset: 0,
        message: 'is not a mapping of keys to values',
        fix: 'start from the homelab.yaml of the toolkit',
      }),
    ]);

  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) throw failed(schemaProblems(parsed.error, raw).map(place));

  const problems = ruleProblems(parsed.data);
  const errors = problems.filter((problem) => !problem.warning);
  if (errors.length > 0) throw failed(errors.map(place));
  return { config: parsed.data, warnings: problems.map(place) };
}

function failed(lines: string[]): UsageError {
  return new UsageError(lines.join('\n'));
}

function readText(file: string): string {
  try {
    const stat = statSync(file);
    if (stat.isDirectory())
      throw new UsageError(`${file} is a directory`, { fix: 'name the homelab.yaml in it with --config' });
    if (stat.size > LARGEST)
      throw new UsageError(`${file} has ${stat.size} bytes; a homelab.yaml has at most ${LARGEST}`, {
        fix: 'is it the right file?',
      });
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT')
      throw new UsageError(`${file}: there is no such file`, {
        fix: 'copy the homelab.yaml of the toolkit, or name yours with --config',
      });
    if (code === 'EACCES') throw new UsageError(`${file}: not readable by you`, { fix: `chmod u+r ${file}` });
    throw new UsageError(`${file}: ${(error as Error).message}`);
  }
}

function describe(problem: ConfigProblem, file: string, document: Document.Parsed, lines: LineCounter): string {
  const { line, col } = lines.linePos(problem.offset ?? offsetOf(document, problem.path ?? []));
  const path = (problem.path ?? []).reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : text ? `${text}.${part}` : part),
    '',
  );
  return `${file}:${line}:${col}: ${path ? `${path}: ` : ''}${problem.message}; ${problem.fix}`;
}

/** Where a key stands; for a key that is missing, where its parent stands. */
function offsetOf(document: Document.Parsed, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}
