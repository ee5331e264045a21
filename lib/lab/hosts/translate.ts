/**
 * What is emulated of a host's file system, and how. Without root there is no chroot, so a command is
 * translated before a real shell runs it:
 *
 * - A command line of plain and single-quoted words (what lib/quote.ts makes) is an argv. Each word that is an
 *   absolute path, or has one after `KEY=`, `--flag=`, `-f` or `@`, is mapped into the host's root folder, in which
 *   a mounted export is a link. All other words go to the shell exactly as they were sent.
 * - The text of `sh -c TEXT`, the script of `sh FILE` (a copy) and of `sh` and `sh -s` (stdin, collected first)
 *   have their absolute paths rewritten by a tokeniser (rewrite.ts), as has a line that is no plain argv.
 * - A program that is called by an absolute path is a stand-in, a tool of this machine that is in TOOLS, or a
 *   script in the host's root, which runs as a rewritten copy. Nothing else runs: PATH has only these.
 * - Output has this machine's paths taken out again (Unmapper in strip.ts).
 * - Refused with exit code 126, before anything runs: `..` that leads out of the root (argv) or at all (text),
 *   `~user`, slashes that are escaped.
 *
 * It guards against mistakes, not against malice: a script that puts a path together from pieces that hold no
 * slash at a word's start, or a symbolic link made by a program, is not seen.
 */
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { quote } from '../../quote.ts';
import { mapPath, mapWord, type PathMap, Refused, standInsOf } from './paths.ts';
import { rewriteText, type TextMap } from './rewrite.ts';
import { splitWords, type Word } from './words.ts';

export type Translation = {
  /** For `/bin/sh -c`. */
  line: string;
  /** The script comes on stdin: collect and rewrite it, then run `line` with it as the file `script`. */
  script?: string;
};

export type TranslateContext = PathMap & {
  /** The host's working folder, as the host names it. */
  cwd: string;
  /** Makes what runs a program of the host by its absolute path, and says where it is. */
  runner: (path: string) => string;
  /** A place for a rewritten copy of a script; `original` is the host's path. */
  copyScript: (original: string, rewrite: (text: string) => string) => string;
  /** An unused file for a script that comes on stdin. */
  newScript: () => string;
};

const SHELLS = new Set(['sh', 'bash', 'dash', 'ash']);
const SYSTEM_FOLDERS = new Set(['/bin', '/sbin', '/usr/bin', '/usr/sbin']);

/** A command as a shell of this machine may run it. @throws Refused */
export function translate(command: string, context: TranslateContext): Translation {
  const words = splitWords(command);
  if (!words) return { line: rewriteText(command, textMap(context)) };
  return translateWords(words, context);
}

/** The same for an argv of which each word is known. */
export function translateWords(words: readonly Word[], context: TranslateContext): Translation {
  const at = programIndex(words.map(({ value }) => value));
  const mapped = (word: Word): string => {
    const value = mapWord(word.value, context, context.cwd);
    return value === word.value ? word.raw : quote(value);
  };
  const called = ({ raw, value }: Word): string => (value.includes('/') ? quote(commandPath(value, context)) : raw);
  const program = words[at];
  if (!program) return { line: words.map(mapped).join(' ') };
  const before = words.slice(0, at).map((word) => (isSystemProgram(word.value) ? called(word) : mapped(word)));
  const rest = words.slice(at + 1);
  if (!SHELLS.has(basename(program.value))) {
    const walks = basename(program.value) === 'find' || basename(program.value) === 'du';
    const isMount = ({ value }: Word): boolean => context.mounts.some(({ point }) => point === value);
    const args = rest.map((word) => (walks && isMount(word) ? `${mapped(word)}/` : mapped(word)));
    return { line: [...before, called(program), ...args].join(' ') };
  }
  const shell = realShell(basename(program.value));
  const { options, kind, operands } = shellCall(rest);
  const head = [...before, shell, ...options.map(({ raw }) => raw)];
  const [first, ...others] = operands;
  if (kind === 'text' && first) {
    const text = rewriteText(first.value, textMap(context));
    return { line: [...head, text === first.value ? first.raw : quote(text), ...others.map(mapped)].join(' ') };
  }
  if (kind === 'file' && first) {
    const path = first.value.startsWith('/') ? first.value : `${context.cwd}/${first.value}`;
    const copy = context.copyScript(path, (text) => rewriteText(text, textMap(context)));
    return { line: [...head, quote(copy), ...others.map(mapped)].join(' ') };
  }
  const script = context.newScript();
  return { script, line: [...head, quote(script), ...operands.map(mapped)].join(' ') };
}

/** Text of a script, for a shell of this machine. @throws Refused */
export function translateScript(text: string, context: TranslateContext): string {
  return rewriteText(text, textMap(context));
}

function textMap(context: TranslateContext): TextMap {
  return { folder: context.folder, mounts: context.mounts, command: (path) => commandPath(path, context) };
}

/** Where a program lies that is called by a path: a stand-in or tool by its name, or what runs it from the root. */
function commandPath(path: string, context: TranslateContext): string {
  if (!path.startsWith('/')) return mapWord(path, context, context.cwd);
  if (path.startsWith(`${context.folder}/`)) return path;
  const folder = path.slice(0, path.lastIndexOf('/'));
  const name = basename(path);
  if (SYSTEM_FOLDERS.has(folder)) {
    const standIn = `${standInsOf(context)}/bin/${name}`;
    if (existsSync(standIn)) return standIn;
  }
  const there = mapPath(path, context);
  return path.endsWith('/') ? there : context.runner(path);
}

function isSystemProgram(word: string): boolean {
  return SYSTEM_FOLDERS.has(word.slice(0, Math.max(0, word.lastIndexOf('/'))));
}

/** The place of the program in an argv, behind sudo, env and their like. */
function programIndex(argv: readonly string[]): number {
  let i = 0;
  while (i < argv.length) {
    const name = basename(argv[i] ?? '');
    if (name === 'sudo') i = skipOptions(argv, i + 1, ['-p', '-u', '-g']);
    else if (name === 'env') i = skipOptions(argv, i + 1, ['-u', '-C', '-S']);
    else if (name === 'nice' || name === 'ionice') i = skipOptions(argv, i + 1, ['-n', '-c']);
    else if (name === 'timeout') i = skipOptions(argv, i + 1, ['-s', '-k']) + 1;
    else if (name === 'nohup' || name === 'setsid' || name === 'exec' || name === 'command') i += 1;
    else return i;
  }
  return i;
}

function skipOptions(argv: readonly string[], from: number, withValue: readonly string[]): number {
  let i = from;
  while (i < argv.length) {
    const word = argv[i] ?? '';
    if (word === '--') {
      i += 1;
      break;
    }
    if (withValue.includes(word)) i += 2;
    else if (word.startsWith('-') || /^[A-Za-z_]\w*=/.test(word)) i += 1;
    else break;
  }
  while (/^[A-Za-z_]\w*=/.test(argv[i] ?? '')) i += 1;
  return i;
}

type ShellCall = { options: Word[]; kind: 'text' | 'file' | 'stdin'; operands: Word[] };

/** What a shell was asked to run: `-c TEXT`, a file, or its stdin. */
function shellCall(words: readonly Word[]): ShellCall {
  const options: Word[] = [];
  let kind: ShellCall['kind'] | undefined;
  let i = 0;
  for (; i < words.length; i += 1) {
    const word = words[i];
    if (!word || !/^[-+]/.test(word.value)) break;
    if (word.value === '-' || word.value === '--') {
      i += 1;
      break;
    }
    // -s would make the shell read stdin although its script is a file by then.
    const flags = word.value.startsWith('--') ? word.value : word.value.replace(/s/g, '');
    if (!word.value.startsWith('--') && word.value.includes('s')) kind = 'stdin';
    if (!word.value.startsWith('--') && word.value.includes('c')) kind = 'text';
    if (flags !== '-') options.push(flags === word.value ? word : { raw: flags, value: flags });
    if (/^[-+]\w*o$/.test(word.value)) {
      i += 1;
      const name = words[i];
      if (name) options.push(name);
    }
  }
  const operands = words.slice(i);
  return { options, kind: kind ?? (operands.length > 0 ? 'file' : 'stdin'), operands };
}

function realShell(name: string): string {
  const found = (name === 'ash' ? ['/bin/sh'] : [`/bin/${name}`, `/usr/bin/${name}`]).find((path) => existsSync(path));
  if (!found) throw new Refused(`${name}: there is none on this machine`);
  return found;
}
