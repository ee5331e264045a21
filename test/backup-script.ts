import { type ChildProcess, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { sha256 } from '../lib/backup/sets.ts';
import { type ScratchPostgres, startScratchPostgres } from '../lib/lab/postgres.ts';
import { TOOLKIT } from '../lib/paths.ts';
import type { Notice } from '../lib/render/backup-notice.ts';
import { nodeArgv } from './node-argv.ts';

/** The real backup-postgres, as cron starts it, against a real server that is reached by TCP; and who is told of it. */
export type ScriptLab = {
  folder: string;
  /** The mounted export, and where the sets are in it. */
  nas: string;
  root: string;
  pg: ScratchPostgres;
  /** The last part of the healthcheck's URL, which is a secret. */
  pingKey: string;
  /** A URL of the same server, at another path. */
  monitor(path: string): string;
  /** What the healthcheck answers; 200 when there is nothing left. */
  answers: number[];
  /** homelab.yaml as it is, with something changed. Without a change: as it is. */
  configure(change?: (raw: Raw) => void): void;
  env(values?: Record<string, string>, mode?: number): void;
  start(args: readonly string[], how?: How): { child: ChildProcess; ended: Promise<Ran> };
  script(args: readonly string[], how?: How): Promise<Ran>;
  /** What was told since it was asked last. */
  told(): { notices: (Notice & { text: string })[]; pings: Ping[] };
  /** The metrics file, where there is one. */
  metrics(): string;
  /** Every file of the target with its hash; what is not finished, and so counts for nothing, left out. */
  target(): Record<string, string>;
  close(): Promise<void>;
};

/** What homelab.yaml says, where tests change it; the values may be wrong ones. */
type Keys = Record<string, unknown>;
export type Raw = Keys & {
  nas: { exports: Keys[] }[];
  backup: Keys & { target: Keys; keep: Keys; notify: Keys; postgresql: [Keys] };
};
export type Ran = { code: number | null; stdout: string; stderr: string };
export type Ping = { method: string; path: string; body: string };
export type How = {
  /** A module that is loaded before the script. */
  preload?: string;
  /** What comes before node on the command line: unshare, sh. */
  before?: readonly string[];
  env?: Record<string, string>;
};

const SEED = readFileSync(join(TOOLKIT, 'homelab.yaml'), 'utf8');

export async function scriptLab(settings: Record<string, string> = {}): Promise<ScriptLab> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
  const data = join('/tmp', `${basename(folder)}-pg`);
  const nas = join(folder, 'nas');
  const root = join(nas, 'postgresql');
  mkdirSync(nas);
  const pg = await startScratchPostgres(data, { settings });
  if ('missing' in pg) throw new Error(pg.missing);
  const pings: Ping[] = [];
  const answers: number[] = [];
  const healthchecks = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      pings.push({ method: request.method ?? '', path: request.url ?? '', body });
      response.writeHead(answers.shift() ?? 200).end('OK');
    });
  });
  await new Promise<void>((done) => healthchecks.listen(0, '127.0.0.1', done));
  const pingKey = 'c0ffee00-1234-4321-8888-5ec4e75ec4e7';
  const monitor = (path: string): string => `http://127.0.0.1:${(healthchecks.address() as AddressInfo).port}${path}`;
  const notices = join(folder, 'notices.jsonl');
  const metrics = join(folder, 'metrics', 'homelab-backup.prom');
  mkdirSync(dirname(metrics));
  const configFile = join(folder, 'homelab.yaml');
  writeFileSync(join(folder, 'notify.sh'), `cat >> '${notices}'\n`);

  const configure: ScriptLab['configure'] = (change = () => {}) => {
    const raw = parse(SEED) as Raw;
    for (const one of raw.nas.flatMap(({ exports }) => exports)) if (one.name === 'k3s-backups') one.mount = nas;
    const program = ['/bin/sh', 'notify.sh'];
    raw.backup = {
      ...raw.backup,
      target: { export: 'synology/k3s-backups', path: 'postgresql', require_nfs: false },
      keep: { last: 3, daily: 0, weekly: 0, monthly: 0 },
      notify: { start: program, success: program, failure: program, healthcheck: true, metrics_file: metrics },
      postgresql: [{ name: 'main', host: '127.0.0.1', port: pg.port, user: pg.superuser }],
    };
    change(raw);
    writeFileSync(configFile, stringify(raw));
  };
  const env: ScriptLab['env'] = (values = {}, mode = 0o600) => {
    const all = { POSTGRES_MAIN_PASSWORD: pg.password, BACKUP_HEALTHCHECK_URL: monitor(`/ping/${pingKey}`), ...values };
    const lines = Object.entries(all).map(([name, value]) => `${name}=${value}\n`);
    rmSync(join(folder, '.env'), { force: true });
    writeFileSync(join(folder, '.env'), lines.join(''), { mode });
  };
  const start: ScriptLab['start'] = (args, { preload, before = [], env: more = {} } = {}) => {
    const node = nodeArgv('scripts/backup-postgres.ts', ...(preload ? [preload] : []));
    const argv = [...before, ...node, ...args, '--config', configFile];
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      ...{ cwd: TOOLKIT, stdio: ['ignore', 'pipe', 'pipe'] },
      env: { PATH: process.env.PATH, HOME: folder, ...more },
    });
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    return { child, ended: new Promise((done) => child.once('close', (code) => done({ code, stdout, stderr }))) };
  };

  configure();
  env();
  return {
    ...{ folder, nas, root, pg, pingKey, monitor, answers, configure, env, start },
    script: (args, how) => start(args, how).ended,
    told: () => {
      const lines = existsSync(notices) ? readFileSync(notices, 'utf8').trim().split('\n') : [];
      rmSync(notices, { force: true });
      return { notices: lines.map((line) => JSON.parse(line)), pings: pings.splice(0) };
    },
    metrics: () => (existsSync(metrics) ? readFileSync(metrics, 'utf8') : ''),
    target: () => treeOf(nas),
    close: async () => {
      await new Promise((done) => healthchecks.close(done));
      await pg.stop();
      for (const path of [folder, data]) rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Files by their paths, with their hashes. */
export function treeOf(folder: string): Record<string, string> {
  if (!existsSync(folder)) return {};
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (name) => !name.includes('.incoming'),
  );
  const files = names.sort().filter((name) => statSync(join(folder, name)).isFile());
  return Object.fromEntries(files.map((name) => [name, sha256(readFileSync(join(folder, name), 'latin1'))]));
}
