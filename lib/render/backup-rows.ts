import { shortRecipient } from '../backup/recipients.ts';
import type { BackupSet } from '../backup/sets.ts';
import { span } from '../backup/span.ts';

/** Sets as `list` shows them: in the columns of a terminal that nobody has widened. */

const WIDTH = 80;
/** Columns before the last one, its indentation included. */
const ROW = 64;

export type Listed = ReturnType<typeof listed>;

/** What is told of a set. @param kept the rules that keep it */
export function listed(set: BackupSet, kept: string[], now: number) {
  const { name, server, lineage, state, bytes, databases, problem, folder, time, encrypted, report } = set;
  const age_hours = rounded((now - time) / 3_600_000);
  // The names in an encrypted set nobody sees here; how many there are its proof has counted.
  const database_count = encrypted ? (report?.databases ?? 0) : databases.length;
  return {
    name,
    server,
    lineage,
    state,
    bytes,
    age_hours,
    databases,
    database_count,
    rows: report?.rows ?? null,
    kept,
    problem,
    folder,
    encrypted,
  };
}

/**
 * Sets under a title. Whose identity opens them stands there, where it is the same of all; else below each.
 * @param keeps what is called the column of the rules that keep a set
 * @param fate of a set that no rule keeps
 */
export function groupLines(title: string, sets: readonly Listed[], { keeps, fate }: { keeps: string; fate: string }) {
  const keys = new Set(sets.map(({ encrypted }) => (encrypted ? encryptedTo(encrypted) : '')));
  const [key = ''] = keys;
  const same = keys.size === 1 && key !== '';
  return [
    ...wrapped(same ? `${title}, ${key}` : title, '    ', '  '),
    row('SET', 'STATE', 'SIZE', 'AGE', 'DBS', keeps),
    ...sets.flatMap((set) => setLines(same ? { ...set, encrypted: undefined } : set, fate)),
  ];
}

/** A set, and below it why it does not count, and whose identity opens it. @param fate where no rule keeps it */
function setLines({ kept, ...set }: Listed, fate: string): string[] {
  const age = set.age_hours < 0 ? 'future' : span(set.age_hours);
  const [first = '', ...more] = kept;
  const short = kept.join(', ').length > WIDTH - ROW ? `${first} +${more.length}` : kept.join(', ');
  return [
    row(set.name, set.state, size(set.bytes), age, String(set.database_count), kept.length > 0 ? short : fate),
    ...(set.problem ? wrapped(set.problem, '      ') : []),
    ...(set.encrypted ? wrapped(encryptedTo(set.encrypted), '      ') : []),
  ];
}

/** Whose identity opens a set. */
function encryptedTo({ recipients }: NonNullable<BackupSet['encrypted']>): string {
  return `encrypted to ${recipients.map(shortRecipient).join(', ')}`;
}

function row(name: string, state: string, bytes: string, age: string, databases: string, kept: string): string {
  const columns = [name.padEnd(25), state.padEnd(8), bytes.padStart(9), age.padStart(7), databases.padStart(3), kept];
  return `  ${columns.join('  ').trimEnd()}`;
}

/** Lines that fit, each indented. A word that is longer than a line stays whole. */
export function wrapped(text: string, indent: string, first = indent): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`${last === undefined ? first : indent}${word}`);
  }
  return lines;
}

export function rounded(hours: number): number {
  return Math.round(hours * 100) / 100;
}

export function size(bytes: number): string {
  if (bytes < 2 ** 20) return `${Math.ceil(bytes / 1024)} KiB`;
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
