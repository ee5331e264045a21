import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import type { Exec } from '../ports/types.ts';
import type { DumpedDatabase } from './manifest.ts';
import { majorOf } from './names.ts';

export { majorOf };

/** PostgreSQL programs of one version on this machine. */
export type Installation = {
  folder: string;
  /** "15.18". */
  version: string;
  major: number;
  /** Whether a throw-away server can be started from it (initdb, postgres). */
  server: boolean;
};

/** Where packages put versions side by side: Debian, Red Hat, Homebrew (both prefixes), Postgres.app. */
const PLACES: { folder: string; inside: string; like: RegExp }[] = [
  { folder: '/usr/lib/postgresql', inside: 'bin', like: /^\d+$/ },
  { folder: '/usr', inside: 'bin', like: /^pgsql-\d+$/ },
  { folder: '/opt/homebrew/opt', inside: 'bin', like: /^(postgresql(@\d+)?|libpq)$/ },
  { folder: '/usr/local/opt', inside: 'bin', like: /^(postgresql(@\d+)?|libpq)$/ },
  { folder: '/Applications/Postgres.app/Contents/Versions', inside: 'bin', like: /^\d+$/ },
];

const known = new WeakMap<Exec, Promise<Installation[]>>();

/** Every PostgreSQL on this machine with pg_dump, newest first; of one major those with a server come first. Looked for once a run. */
export function installations(exec: Exec): Promise<Installation[]> {
  const found = known.get(exec) ?? find(exec);
  known.set(exec, found);
  return found;
}

/** The programs with which a server of `major` is dumped: its own version, or the next newer one. */
export function dumpersFor(major: number, all: readonly Installation[]): Installation | undefined {
  return lowest(all.filter((installation) => installation.major >= major));
}

/** The programs of a throw-away server for dumps of `major`, at least as new as the pg_dump that wrote them. */
export function proversFor(major: number, all: readonly Installation[]): Installation | undefined {
  return lowest(all.filter((installation) => installation.server && installation.major >= major));
}

/**
 * pg_restore's option for a dump: workers cost more than they bring to a small one. What compresses well is small as a
 * file and large as tables, so rows count too.
 */
export function restoreJobs({ bytes, tables }: Pick<DumpedDatabase, 'bytes' | 'tables'>): string[] {
  const rows = Object.values(tables).reduce((sum, table) => sum + table.rows, 0);
  return bytes < 32 * 2 ** 20 && rows < 1_000_000 ? [] : [`--jobs=${Math.min(4, availableParallelism())}`];
}

async function find(exec: Exec): Promise<Installation[]> {
  const onPath = exec.which('pg_dump');
  // Debian's /usr/bin/pg_dump picks a version by itself; the folders below name theirs, and so come first.
  const folders = new Set([...PLACES.flatMap(foldersIn), ...(onPath ? [dirname(onPath)] : [])]);
  return installationsIn([...folders], exec);
}

/** The same, of these folders with programs. */
export async function installationsIn(folders: readonly string[], exec: Exec): Promise<Installation[]> {
  const found = await Promise.all(folders.map((folder) => look(folder, exec)));
  return found
    .filter((installation) => installation !== undefined)
    .sort((a, b) => b.major - a.major || Number(b.server) - Number(a.server));
}

function lowest(all: readonly Installation[]): Installation | undefined {
  return [...all].sort((a, b) => a.major - b.major)[0];
}

function foldersIn({ folder, inside, like }: (typeof PLACES)[number]): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => like.test(name))
      .map((name) => join(folder, name, inside));
  } catch {
    return [];
  }
}

async function look(folder: string, exec: Exec): Promise<Installation | undefined> {
  const { code, stdout } = await exec.run([join(folder, 'pg_dump'), '--version'], { deadline: 20 });
  const major = majorOf(stdout);
  if (code !== 0 || major === 0) return undefined;
  const names = new Set(readdirSync(folder));
  const version = /\(PostgreSQL\) (\S+)/.exec(stdout)?.[1] ?? String(major);
  return { folder, version, major, server: ['initdb', 'postgres', 'pg_restore', 'psql'].every((n) => names.has(n)) };
}
