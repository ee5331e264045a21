/**
 * Names that the backup writes: sets, files, SQL identifiers, connection strings. Database names may hold
 * anything (spaces, quotes, slashes, unicode, a leading "-"), so each place has its own spelling.
 */

const SET_NAME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-([0-9a-f]{8})$/;

/** "20261123T030000Z-1f2e3d4c": UTC to the second, and the run, so that a clock that jumps cannot make two alike. */
export function setName(time: Date, runId: string): string {
  return `${time
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(/[-:]/g, '')}-${runId}`;
}

/** The time in a set's name, in milliseconds since 1970, or undefined when it is not the name of a set. */
export function timeOfSet(name: string): number | undefined {
  const match = SET_NAME.exec(name);
  if (!match) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  return Number.isNaN(time) ? undefined : time;
}

/** The dump's file name (of a folder, `.dir`): percent-encoded, so that no name leaves its folder, hides, or breaks SHA256SUMS. */
export function dumpFileOf(database: string, ending: 'dump' | 'dir' = 'dump'): string {
  const bytes = [...new TextEncoder().encode(database)];
  const plain = (byte: number): boolean => /[A-Za-z0-9_-]/.test(String.fromCharCode(byte)) && byte < 128;
  const encoded = bytes.map((byte, i) =>
    plain(byte) && !(i === 0 && byte === 0x2d)
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
  );
  return `${encoded.join('')}.${ending}`;
}

/**
 * A name as it is shown and typed: as it is, where it cannot be taken for something else, or percent-encoded as in
 * the name of its dump.
 */
export function spelled(name: string): string {
  return /^[\p{L}\p{N}_][\p{L}\p{N}_.-]*$/u.test(name) ? name : dumpFileOf(name).slice(0, -'.dump'.length);
}

/** Whether a database has the name that a restore gives: to what it makes beside one of data, or to what it keeps. */
export function isLeftOf(what: 'restored' | 'before', name: string): boolean {
  return (what === 'restored' ? /__restore_[0-9a-f]{8}(_\d+)?$/ : /_before_\d{8}T\d{6}Z(_\d+)?$/).test(name);
}

/** An SQL identifier, always in quotes. */
export function quoteIdent(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** An SQL literal, whatever standard_conforming_strings says. */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return text.includes('\\') ? `E${quoted}` : quoted;
}

/** libpq's key='value' form. A bare database name would be read as a connection string where it looks like one. */
export function conninfo(parts: Record<string, string | number>): string {
  return Object.entries(parts)
    .map(([key, value]) => `${key}='${String(value).replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`)
    .join(' ');
}

/** The major version in "15.18 (Debian 15.18-0+deb12u1)", "pg_dump (PostgreSQL) 17beta1". */
export function majorOf(version: string): number {
  return Number(/(\d+)/.exec(version.replace(/^.*\(PostgreSQL\)/, ''))?.[1] ?? 0);
}

/** Longest identifier of PostgreSQL, in bytes; longer ones are cut silently, and two could become one. */
const LONGEST = 63;

/** `name` + `suffix`, where the name is cut (at a whole character) so that both fit into an identifier. */
export function derivedName(name: string, suffix: string): string {
  const encoder = new TextEncoder();
  const room = LONGEST - encoder.encode(suffix).length;
  let cut = '';
  for (const character of name) {
    if (encoder.encode(cut + character).length > room) break;
    cut += character;
  }
  return cut + suffix;
}
