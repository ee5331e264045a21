import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Installation, installations, installationsIn } from '../lib/backup/clients.ts';
import { inSession } from '../lib/backup/connect.ts';
import { contentOf } from '../lib/backup/content.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { backupLab, type StartedLab } from '../test/backup-harness.ts';
import { best } from './measure.ts';

/**
 * backup-postgres beside the programs that it calls, in one run, on databases of two kinds: pgbench's, which are nearly
 * all blanks, and shop orders as an application has them.
 *
 *     node --import tsx bench/backup.ts [MB …]     (default 500)
 *
 * with this machine's PostgreSQL, and 18 where HOMELAB_POSTGRES_VERSIONS has it, whose dumps are compressed with zstd.
 */
const ROUNDS = 3;

/** What one run of the real script took, by its own journal; and the most memory that it and its helper had. */
type Run = { dump: number; publish: number; prove: number; ours: number; helper: number };

export async function backup(megabytes: readonly number[], say: (line: string) => void): Promise<void> {
  const [here] = (await installations(realExec())).filter(({ server }) => server);
  const place = process.env.HOMELAB_POSTGRES_VERSIONS;
  const newest = place ? await installationsIn([join(place, '18', 'bin')], realExec()) : [];
  const versions = [...(here ? [here] : []), ...newest];
  if (versions.length === 0) return say('  skipped: no PostgreSQL server on this machine');
  for (const tools of versions) await withServer(tools, megabytes, say);
}

async function withServer(
  tools: Installation,
  megabytes: readonly number[],
  say: (line: string) => void,
): Promise<void> {
  const program = (name: string): string => join(tools.folder, name);
  const settings = { max_wal_size: '4GB', shared_buffers: '256MB' };
  const lab = await backupLab(
    settings,
    (backup) => {
      backup.keep = { last: 1, daily: 0, weekly: 0, monthly: 0 };
    },
    tools,
  );
  // The script finds programs of the server's version by itself, on the PATH where they are nowhere else.
  process.env.PATH = `${tools.folder}:${process.env.PATH}`;
  say(`  PostgreSQL ${tools.version}`);
  try {
    for (const size of megabytes) for (const kind of KINDS) await oneDatabase(lab, program, kind, size, say);
    await sideBySide(lab, program, say);
  } finally {
    await lab.close();
  }
}

async function oneDatabase(
  lab: StartedLab,
  program: (name: string) => string,
  kind: Kind,
  megabytes: number,
  say: (line: string) => void,
): Promise<void> {
  await kind.fill(lab, program, 'bench', megabytes);
  const size = await bytesOf(lab, 'bench');
  const bare: number[] = [];
  const piped: number[] = [];
  const runs: Run[] = [];
  await runOf(lab); // makes the target
  for (let round = 0; round < ROUNDS; round += 1) {
    bare.push(bareDump(lab, program('pg_dump'), 'bench'));
    piped.push(pipedDump(lab, program('pg_dump'), 'bench'));
    runs.push(await runOf(lab));
  }
  const counting = await seconds(() =>
    inSession(lab.pg.address, 'bench', async (client) => void (await contentOf(client, 'columns'))),
  );
  const dump = best(bare);
  const whole = best(runs.map((run) => run.dump + run.publish));
  const proof = best(runs.map(({ prove }) => prove));
  say(`  ${Math.round(size / 2 ** 20)} MB of ${kind.name}`);
  say(`    pg_dump -Fc -Z1 -f                   ${show(dump)}   pg_dump | gzip ${show(best(piped))}`);
  say(
    `    dump, count, hash, read, publish     ${show(whole)}   ${ratio(whole, dump)} of the bare dump (aim 1.25), ${ratio(whole, best(piped))} of the pipe (aim under 1)`,
  );
  say(`      of which counting by itself takes  ${show(counting)}`);
  say(`    proof                                ${show(proof)}   ${ratio(proof, dump)} of the bare dump (aim 3)`);
  const most = (part: (run: Run) => number): string => `${Math.round(Math.max(...runs.map(part)))} MB`;
  say(
    `    memory of ours at the most           ${most(({ ours }) => ours)} (aim 120), helper ${most(({ helper }) => helper)}`,
  );
  await query(lab, 'DROP DATABASE bench');
  await runOf(lab, true); // a database that is gone is an alarm, once
}

/** Two databases in one set against the slower of them alone. */
async function sideBySide(
  lab: StartedLab,
  program: (name: string) => string,
  say: (line: string) => void,
): Promise<void> {
  await pgbench(lab, program, 'one', 220);
  const alone: number[] = [];
  const both: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) alone.push((await runOf(lab)).dump);
  await pgbench(lab, program, 'two', 220);
  for (let round = 0; round < ROUNDS; round += 1) both.push((await runOf(lab)).dump);
  say(
    `  two databases side by side ${show(best(both))}   ${ratio(best(both), best(alone))} of one alone (aim 1.1, where there are cores for both)`,
  );
}

/** One run of the real script. @throws Error when it fails */
async function runOf(lab: StartedLab, mayFail = false): Promise<Run> {
  const args = ['--import', 'tsx', join(TOOLKIT, 'scripts/backup-postgres.ts'), 'run', '--yes'];
  const child = spawn(process.execPath, [...args, '--config', join(lab.folder, 'homelab.yaml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  let ours = 0;
  let helper = 0;
  const watching = setInterval(() => {
    ours = Math.max(ours, peakOf(child.pid));
    for (const pid of helpersOf(child.pid)) helper = Math.max(helper, peakOf(pid));
  }, 200);
  const code = await new Promise((done) => child.on('close', done));
  clearInterval(watching);
  if (code !== 0 && !mayFail) throw new Error(`backup-postgres ended with ${code}: ${stderr}`);
  const runs = join(lab.lab.paths.state, 'runs');
  const newest = readdirSync(runs).sort().at(-1) ?? '';
  const events = readFileSync(join(runs, newest), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; id?: string; seconds?: number });
  const of = (id: string): number => events.find((one) => one.event === 'step-end' && one.id === id)?.seconds ?? 0;
  return { dump: of('main/dump'), publish: of('main/publish'), prove: of('main/prove'), ours, helper };
}

/** The most resident memory that a process has had, in MB. */
function peakOf(pid: number | undefined): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function helpersOf(pid: number | undefined): number[] {
  const { stdout } = spawnSync('pgrep', ['-P', String(pid), 'node'], { encoding: 'utf8' });
  return stdout.split('\n').filter(Boolean).map(Number);
}

/** Fills a new database with so many megabytes. */
type Fill = (lab: StartedLab, program: (name: string) => string, name: string, megabytes: number) => Promise<void>;
type Kind = { name: string; fill: Fill };

const pgbench: Fill = async (lab, program, name, megabytes) => {
  await query(lab, `CREATE DATABASE "${name}"`);
  const scale = String(Math.max(1, Math.round(megabytes / 14.9)));
  const { status, stderr } = spawnSync(program('pgbench'), ['-i', '-q', '-s', scale, name], {
    env: environment(lab),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
};

/** The same rows in every run: prose of 40 words, amounts, times, identifiers, JSON; three indexes. */
const orders: Fill = async (lab, _program, name, megabytes) => {
  await query(lab, `CREATE DATABASE "${name}"`);
  const phrase = (k: number): string => `phrase[1 + (i * ${k * 7919} + ${k * k}) % 2000]`;
  await inSession(lab.pg.address, name, async (client) => {
    await client.query(`SET search_path = public; SELECT setseed(0.5);
      CREATE TABLE phrases AS SELECT array_agg(text) AS phrase FROM (
        SELECT string_agg(substr(md5((i * 5 + k)::text), 1, 3 + (i + k) % 7), ' ') AS text
          FROM generate_series(1, 2000) i, generate_series(1, 5) k GROUP BY i) AS one;
      CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, placed timestamptz NOT NULL, number uuid NOT NULL,
                           amount numeric(10, 2), paid boolean, note text, basket jsonb);
      INSERT INTO orders SELECT i, random() * 10000, '2020-01-01'::timestamptz + random() * interval '6 years', md5(i::text)::uuid,
             (random() * 1000)::numeric(10, 2), random() < 0.8, concat_ws(' ', ${[1, 2, 3, 4, 5, 6, 7, 8].map(phrase)}),
             jsonb_build_object('articles', i % 9, 'first', ${phrase(9)}, 'weight', i % 977)
        FROM phrases, generate_series(1, ${Math.round(megabytes * 1700)}::bigint) i;
      CREATE INDEX ON orders (customer); CREATE INDEX ON orders (placed); ANALYZE`);
  });
};

const KINDS: readonly Kind[] = [
  { name: 'pgbench', fill: pgbench },
  { name: 'orders', fill: orders },
];

function bareDump(lab: StartedLab, pgDump: string, database: string): number {
  const file = join(lab.mount, 'bare.dump');
  const began = performance.now();
  const { status, stderr } = spawnSync(pgDump, ['-Fc', '-Z1', '-f', file, database], { env: environment(lab) });
  const took = (performance.now() - began) / 1000;
  if (status !== 0 || statSync(file).size === 0) throw new Error(String(stderr));
  rmSync(file);
  return took;
}

/** As a cron job of the usual kind does it. */
function pipedDump(lab: StartedLab, pgDump: string, database: string): number {
  const file = join(lab.mount, 'piped.sql.gz');
  const began = performance.now();
  spawnSync('sh', ['-c', '"$1" "$2" | gzip > "$3"', 'sh', pgDump, database, file], { env: environment(lab) });
  const took = (performance.now() - began) / 1000;
  rmSync(file);
  return took;
}

function environment({ pg }: StartedLab): NodeJS.ProcessEnv {
  const { PATH } = process.env;
  return { PATH, PGHOST: '127.0.0.1', PGPORT: String(pg.port), PGUSER: pg.superuser, PGPASSWORD: pg.password };
}

async function query(lab: StartedLab, text: string): Promise<void> {
  await inSession(lab.pg.address, 'postgres', async (client) => void (await client.query(text)));
}

async function bytesOf(lab: StartedLab, database: string): Promise<number> {
  return inSession(lab.pg.address, 'postgres', async (client) => {
    const { rows } = await client.query<{ bytes: string }>('SELECT pg_database_size($1) AS bytes', [database]);
    return Number(rows[0]?.bytes);
  });
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

function show(value: number): string {
  return `${value.toFixed(2)} s`.padStart(8);
}

function ratio(one: number, other: number): string {
  return `${(one / other).toFixed(2)} ×`;
}

if (process.argv[1] && import.meta.url.endsWith(process.argv[1].split('/').slice(-2).join('/')))
  await backup(process.argv.length > 2 ? process.argv.slice(2).map(Number) : [500], console.log);
