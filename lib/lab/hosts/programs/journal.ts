import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabHost, ProgramCall, ProgramResult } from '../../types.ts';
import { ok, option, parseArgs } from './common.ts';
import { lines, plain } from './unit-names.ts';

/** `journalctl -u UNIT [-n N] [-o cat]`. */
export function journalctl({ host, argv }: ProgramCall): ProgramResult {
  const valued = ['-u', '--unit', '-n', '--lines', '-o', '--output', '-S', '--since', '-p'];
  const { options } = parseArgs(argv.slice(1), valued);
  const unit = option(options, '-u', '--unit') ?? '-xeu';
  const bare = option(options, '-o', '--output') === 'cat';
  const count = Number(option(options, '-n', '--lines') ?? 1000);
  const shown = journalLines(host, plain(unit), bare).slice(-count);
  return ok(shown.length > 0 ? lines(shown) : '-- No entries --\n');
}

/** `logger -t TAG [-p PRIORITY] WORDS`: in the journal under its tag, where a test finds it. */
export function logger({ host, argv }: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(argv.slice(1), ['-t', '--tag', '-p', '--priority']);
  const priority = option(options, '-p', '--priority') ?? 'user.notice';
  host.log(option(options, '-t', '--tag') ?? 'logger', `<${priority}> ${operands.join(' ')}`);
  return ok();
}

/** What LabHost.log wrote of a unit, oldest first. */
export function journalLines(host: LabHost, unit: string, bare = false): string[] {
  const file = join(host.root, '..', 'journal', unit);
  if (!existsSync(file)) return [];
  const entries = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return entries.map((entry) => {
    const [, time, text = ''] = /^(\d+) (.*)$/s.exec(entry) ?? [];
    const stamp = new Date(Number(time)).toUTCString().replace(/^\w+, (\d+) (\w+) \d+ ([\d:]+).*/, '$2 $1 $3');
    return bare ? text : `${stamp} ${host.name} ${unit}[1000]: ${text}`;
  });
}
