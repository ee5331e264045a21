import { readFileSync, statSync } from 'node:fs';
import { type Document, LineCounter, parseDocument } from 'yaml';
import { UsageError } from '../errors.ts';
import { offsetOf, pathText } from './place.ts';
import { ruleProblems } from './rules.ts';
import { type Config, configSchema } from './schema.ts';
import { schemaProblems } from './schema-problems.ts';
import { isDeep, syntaxProblems } from './syntax.ts';

/** Something wrong in homelab.yaml. `path` leads to the key; what does not parse has a position instead. */
export type ConfigProblem = {
  path?: readonly (string | number)[];
  /** The place is the key itself, not its value. */
  atKey?: boolean;
  offset?: number;
  message: string;
  fix: string;
  warning?: boolean;
};

export type Loaded = {
  config: Config;
  warnings: string[];
  /** A problem that is found later (no address is left), as one line with its place. */
  place: (problem: ConfigProblem) => string;
};

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
  const document = parseYaml(text, file, lines);
  const places = (problems: ConfigProblem[]): string[] =>
    problems
      .map((problem) => ({ problem, offset: problem.offset ?? offsetOf(document, problem) }))
      .sort((a, b) => a.offset - b.offset)
      .map(({ problem, offset }) => describe(problem, offset, file, lines));
  const failed = (problems: ConfigProblem[]): UsageError => new UsageError(places(problems).join('\n'));

  if (document.errors.some(({ message }) => message.includes('call stack'))) throw tooDeep(file);
  const syntax = syntaxProblems(document, text);
  if (syntax.length > 0) throw failed(syntax);
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 1000 });
  } catch {
    // Aliases of aliases: what is a kilobyte here would be gigabytes when written out.
    throw failed([{ offset: 0, message: 'its aliases (*x) multiply too often', fix: 'write the values out' }]);
  }
  if (raw === null || typeof raw !== 'object' || Array.isArray(raw))
    throw failed([
      { offset: 0, message: 'is not a mapping of keys to values', fix: 'start from the homelab.yaml of the toolkit' },
    ]);

  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) throw failed(schemaProblems(parsed.error, raw));

  const problems = ruleProblems(parsed.data);
  const errors = problems.filter((problem) => !problem.warning);
  if (errors.length > 0) throw failed(errors);
  return { config: parsed.data, warnings: places(problems), place: (problem) => places([problem]).join() };
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

function parseYaml(text: string, file: string, lines: LineCounter): Document.Parsed {
  try {
    if (isDeep(text)) throw new RangeError();
    return parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  } catch {
    throw tooDeep(file);
  }
}

function tooDeep(file: string): UsageError {
  return new UsageError(`${file}:1:1: is nested too deeply; start from the homelab.yaml of the toolkit`);
}

function describe({ path, message, fix }: ConfigProblem, offset: number, file: string, lines: LineCounter): string {
  const { line, col } = lines.linePos(offset);
  const key = pathText(path ?? []);
  return `${file}:${line}:${col}: ${key ? `${key}: ` : ''}${message}; ${fix}`;
}
