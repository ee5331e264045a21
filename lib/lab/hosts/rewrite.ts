import { mapPath, type PathMap, Refused } from './paths.ts';

export type TextMap = PathMap & {
  /** What stands for a program that is called by its absolute path. */
  command: (path: string) => string;
};

/** After these a path begins: the word's start, a redirection, an assignment, a list. */
const BEFORE_PATH = new Set(['', '(', '<', '>', '=', ':', ',', '`', '{', '[', '!', '@', ';', '&', '|']);
/** Words after which another command follows. A lone `)` is that of `name()`, before its body. */
const PREFIX = new Set(
  'then do else if elif while until ! exec sudo command env nohup time timeout -n -E -- { ( ) && || ;'.split(' '),
);
/** Their quoted words are programs of their own, in which a slash is mostly not a path. */
const TAKES_PATTERNS = new Set(['sed', 'awk', 'grep', 'egrep', 'tr', 'expr']);
const TOP_FOLDERS = new Set(
  'bin boot data dev etc home lib media mnt opt proc root run sbin srv sys tmp usr var volume1'.split(' '),
);

/**
 * Shell text in which absolute paths became the host's: a tokeniser that knows quotes, comments, here-documents
 * and arithmetic, not a parser. What is not a path is left as it is; here-documents are data, unless the shell
 * would expand commands in them.
 * @throws Refused for what cannot be told in advance to stay inside: `..`, `~user`, escaped slashes
 */
export function rewriteText(text: string, map: TextMap): string {
  if (/\\(057|x2[fF]|u002[fF])/.test(text)) throw new Refused('a slash that is spelt as an escape');
  let out = '';
  let quoted: '' | "'" | '"' = '';
  let word = '';
  let head = true;
  let program = '';
  let arithmetic = false;
  const bodies: { delimiter: string; expands: boolean; tabs: boolean }[] = [];

  const endWord = (): void => {
    // `timeout 60 PROGRAM`
    if (word !== '' && head && !/^\w+=/.test(word) && !/^\d+[smhd]?$/.test(word) && !PREFIX.has(word)) {
      program = word;
      head = false;
    }
    word = '';
  };
  const operator = (): void => {
    endWord();
    head = true;
    program = '';
  };

  let i = 0;
  while (i < text.length) {
    const char = text[i] ?? '';
    const previous = word.at(-1) ?? '';
    if (char === '\\' && quoted !== "'") {
      const next = text[i + 1] ?? '';
      if (next === '/' && startsPath(word)) throw new Refused('an escaped slash');
      out += char + next;
      if (next !== '\n') word += next;
      i += 2;
    } else if (char === "'" && quoted !== '"') {
      quoted = quoted === "'" ? '' : "'";
      out += char;
      i += 1;
    } else if (char === '"' && quoted !== "'") {
      quoted = quoted === '"' ? '' : '"';
      out += char;
      i += 1;
    } else if (quoted === '' && char === '#' && word === '' && (i === 0 || /[\s;&|(]/.test(text[i - 1] ?? ''))) {
      const end = text.indexOf('\n', i);
      out += text.slice(i, end === -1 ? undefined : end);
      i = end === -1 ? text.length : end;
    } else if (text.startsWith('$((', i) && quoted !== "'") {
      arithmetic = true;
      out += '$((';
      i += 3;
    } else if (arithmetic && text.startsWith('))', i)) {
      arithmetic = false;
      out += '))';
      word += ')';
      i += 2;
    } else if (quoted === '' && text.startsWith('<<', i) && text[i + 2] !== '<' && !arithmetic) {
      const [all = '', tabs, mark, delimiter = ''] = /^<<(-?)[ \t]*(['"\\]?)(\w+)['"]?/.exec(text.slice(i)) ?? ['<<'];
      if (delimiter) bodies.push({ delimiter, expands: mark === '', tabs: tabs === '-' });
      out += all;
      i += all.length;
    } else if (char === '\n' && quoted === '') {
      operator();
      out += char;
      i += 1;
      for (const body of bodies.splice(0)) {
        const raw = takeBody(text.slice(i), body.delimiter, body.tabs);
        out += body.expands && /\$\(|`/.test(raw) ? rewriteText(raw, map) : raw;
        i += raw.length;
      }
    } else if (/[;&|(`\n]/.test(char) && (quoted !== "'" || char === '\n')) {
      operator();
      out += char;
      i += 1;
    } else if (/\s/.test(char)) {
      endWord();
      out += char;
      i += 1;
    } else if (char === '/' && !arithmetic && startsPath(word) && !(previous === ':' && text[i + 1] === '/')) {
      const literal = /^[\w.@%+~/-]*/.exec(text.slice(i))?.[0] ?? '/';
      const pattern = quoted !== '' && TAKES_PATTERNS.has(program) && !TOP_FOLDERS.has(literal.split('/')[1] ?? '');
      const lone = literal === '/' && quoted === "'" && word === '' && text[i - 1] !== "'";
      // `#!/bin/sh` that a script writes into another names a program of this machine, when it comes to it.
      if (pattern || lone || word.endsWith('#!')) out += literal;
      else out += head && word === '' ? map.command(literal) : mapPath(literal, map);
      word += literal;
      i += literal.length;
    } else {
      if (climbs(text, i, previous)) throw new Refused('".." in a shell text: where it leads is not known in advance');
      if (char === '~' && quoted === '' && /^$|[=:]/.test(previous) && /\w/.test(text[i + 1] ?? ''))
        throw new Refused("~user: only one's own home is known");
      out += char;
      word += char;
      i += 1;
    }
  }
  return out;
}

/** Whether a slash after what a word holds so far is the beginning of a path. */
function startsPath(word: string): boolean {
  return BEFORE_PATH.has(word.at(-1) ?? '') || /\$\{\w+:?[-+]$/.test(word) || /^-[A-Za-z]$/.test(word);
}

/** Whether `..` at `i` is a part of a path of its own. */
function climbs(text: string, i: number, previous: string): boolean {
  return text.startsWith('..', i) && /^$|[/=:,]/.test(previous) && !/[\w.-]/.test(text[i + 2] ?? '');
}

/** A here-document's lines, up to and with the one that is its delimiter. */
function takeBody(text: string, delimiter: string, tabs: boolean): string {
  let end = 0;
  for (const line of text.split(/(?<=\n)/)) {
    end += line.length;
    const bare = line.replace(/\n$/, '');
    if ((tabs ? bare.replace(/^\t+/, '') : bare) === delimiter) break;
  }
  return text.slice(0, end);
}
