import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { LabHost, ProgramCall, ProgramResult } from '../../types.ts';
import type { RunningHost } from '../spec.ts';

export const ok = (stdout = ''): ProgramResult => ({ code: 0, stdout });
export const fail = (code: number, stderr: string): ProgramResult => ({ code, stderr: `${stderr}\n` });

/** The host that called, with what only hosts of lib/lab/hosts have. */
export function caller({ host }: Pick<ProgramCall, 'host'>): RunningHost {
  if (!isRunning(host)) throw new Error(`${host.name} was not started by startHost`);
  return host;
}

function isRunning(host: LabHost): host is RunningHost {
  return 'spec' in host && 'mounts' in host;
}

/** Options (with the values of those in `valued`) and operands of an argv without its program. */
export function parseArgs(argv: readonly string[], valued: readonly string[] = []) {
  const options = new Map<string, string>();
  const operands: string[] = [];
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? '';
    const [, name = '', value] = /^(--[\w-]+)=(.*)$/s.exec(word) ?? [];
    const attached = /^(-[A-Za-z])(.+)$/s.exec(word);
    if (word === '--') return { options, operands: [...operands, ...argv.slice(i + 1)] };
    if (name) options.set(name, value ?? '');
    else if (valued.includes(word)) {
      i += 1;
      options.set(word, argv[i] ?? '');
    } else if (attached && !word.startsWith('--') && valued.includes(attached[1] ?? ''))
      options.set(attached[1] ?? '', attached[2] ?? '');
    else if (/^-[A-Za-z0-9]{2,}$/.test(word)) {
      // -nJo NAME: the last letter may take the next word
      for (const letter of word.slice(1, -1)) options.set(`-${letter}`, '');
      const last = `-${word.at(-1)}`;
      if (valued.includes(last)) i += 1;
      options.set(last, valued.includes(last) ? (argv[i] ?? '') : '');
    } else if (word.startsWith('-') && word !== '-') options.set(word, '');
    else operands.push(word);
  }
  return { options, operands };
}

/** The value of the first option that was given. */
export function option(options: ReadonlyMap<string, string>, ...names: string[]): string | undefined {
  return names.map((name) => options.get(name)).find((value) => value !== undefined);
}

/** A JSON file of a host's own folder, outside of its root. */
export function stored<T>(host: LabHost, name: string, empty: T): { value: T; save(): void } {
  const file = join(host.root, '..', `${name}.json`);
  const found = {
    value: existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as T) : empty,
    save: () => {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, JSON.stringify(found.value));
    },
  };
  return found;
}

/** Rows as findmnt, lsblk and df print them: columns padded, a header unless `bare`. */
export function table(header: readonly string[], rows: readonly string[][], bare: boolean): string {
  const all = bare ? rows : [[...header], ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length), 0));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join(' ')
          .trimEnd()}\n`,
    )
    .join('');
}
