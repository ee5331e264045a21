import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import { apply, type StepResult } from '../lib/apply.ts';
import { type Installation, installations } from '../lib/backup/clients.ts';
import { HomelabError } from '../lib/errors.ts';
import { noJournal } from '../lib/journal.ts';
import { type ScratchPostgres, startScratchPostgres } from '../lib/lab/postgres.ts';
import { type Lab, openLab } from '../lib/lab-context.ts';
import { LockStore } from '../lib/ledger/lockfile.ts';
import type { Args, Family, RunContext, Script } from '../lib/main.ts';
import type { SeenBackup } from '../lib/observe/backup.ts';
import { realEndpoints } from '../lib/ports/endpoints.ts';
import { realExec } from '../lib/ports/exec.ts';
import { realFiles } from '../lib/ports/files.ts';
import type { Exec, Ports } from '../lib/ports/types.ts';
import type { Secrets } from '../lib/secret.ts';
import type { Plan, Proof } from '../lib/step.ts';
import script from '../scripts/backup-postgres.ts';

/** Whether PostgreSQL is here; without it a test that needs it says so, unless it is required. */
export async function postgresHere(): Promise<boolean> {
  if ((await installations(realExec())).some(({ server }) => server)) return true;
  if ((process.env.HOMELAB_REQUIRE ?? '').split(',').includes('postgres')) throw new Error('PostgreSQL is missing');
  console.log('skipped: no PostgreSQL server on this machine');
  return false;
}

/** A lab in a folder of its own, and ports of which only SSH and the cluster are played. */
export type BackupLab = {
  lab: Lab;
  secrets: Secrets;
  /** The mounted export. */
  mount: string;
  /** Where sets are: <mount>/postgresql. */
  root: string;
  folder: string;
  ports: Ports;
  context: RunContext;
  /** What is to be done when a run ends. */
  endings: (() => Promise<void>)[];
};

export type StartedLab = BackupLab & { pg: ScratchPostgres; close(): Promise<void> };

const SEED = readFileSync(new URL('../homelab.yaml', import.meta.url), 'utf8');

/** The `backup` of homelab.yaml, to be changed before a lab starts. */
type Configured = { postgresql: Record<string, unknown>[] } & Record<string, unknown>;

/**
 * @param settings of the PostgreSQL server
 * @param direct the server is reached by TCP, so that the real script reaches it too; changes what homelab.yaml says
 * @param tools of its version, where that matters
 */
export async function backupLab(
  settings: Record<string, string> = {},
  direct?: (backup: Configured) => void,
  tools?: Installation,
): Promise<StartedLab> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
  const data = join('/tmp', `${basename(folder)}-pg`);
  mkdirSync(join(folder, 'nas'));
  const pg = await startScratchPostgres(data, { settings, tools });
  if ('missing' in pg) throw new Error(pg.missing);
  const config = configured(join(folder, 'nas'));
  if (direct) {
    const [{ user = 'postgres', name = 'main' } = {}] = config.backup.postgresql;
    config.backup.postgresql = [{ name, host: '127.0.0.1', port: pg.port, user }];
    direct(config.backup);
  }
  writeFileSync(join(folder, 'homelab.yaml'), stringify(config));
  writeFileSync(join(folder, '.env'), `POSTGRES_MAIN_PASSWORD=${pg.password}\n`, { mode: 0o600 });
  return {
    ...attach(folder, pg.port),
    pg,
    async close() {
      await pg.stop();
      for (const path of [folder, data]) rmSync(path, { recursive: true, force: true });
    },
  };
}

/**
 * A suite around one lab, in whose life each test is a step. Where PostgreSQL is not here it has no tests.
 * @returns the suite, to be run, and what adds a test to it
 */
export async function labSuite(name: string, start: () => Promise<StartedLab> = () => backupLab()) {
  const real = suite(name);
  const one = (await postgresHere()) ? await start() : undefined;
  real.after(() => one?.close());
  const test = (title: string, body: (lab: StartedLab) => Promise<void>): void => {
    if (one) real(title, () => body(one));
  };
  return { real, test };
}

/** A command of backup-postgres. */
export function commandOf(name: string): Script<SeenBackup> {
  const family: Family = script;
  const found = family.commands.find((command) => command.name === name);
  if (!found) throw new Error(`no command ${name}`);
  return found;
}

/** The folder of the only lineage that a target has of the server `main`. */
export function lineageIn(root: string): string {
  return join(root, 'main', readdirSync(join(root, 'main'))[0] ?? '');
}

/** Names of its sets, the oldest first. */
export function setsIn(root: string): string[] {
  return existsSync(join(root, 'main')) ? readdirSync(join(lineageIn(root), 'sets')).sort() : [];
}

/** The newest of them, proven or not. */
export function newestIn(root: string): string {
  return join(lineageIn(root), 'sets', setsIn(root).at(-1) ?? '');
}

export function latestIn(root: string): string {
  return readFileSync(join(lineageIn(root), 'LATEST'), 'utf8').trim();
}

/** Programs of this machine, of which initdb is run once and its outcome copied from then on: it is most of a proof's time. */
export function initdbOnce(folder: string): Exec {
  const exec = realExec();
  const made = join(folder, 'initdb');
  return {
    ...exec,
    async run(argv, options) {
      const at = argv.findIndex((word) => word.endsWith('/initdb'));
      const data = argv[argv.indexOf('-D') + 1] ?? '';
      if (at < 0 || argv.includes('--version')) return exec.run(argv, options);
      if (existsSync(made)) return exec.run(['cp', '-a', `${made}/.`, data], options);
      const outcome = await exec.run(argv, options);
      if (outcome.code === 0) await exec.run(['cp', '-a', data, made], { deadline: 60 });
      return outcome;
    },
  };
}

/** Another, empty server in the place of the lab's: what is there after a node died. */
export async function anotherServer(one: StartedLab): Promise<StartedLab> {
  const data = join('/tmp', `${basename(one.folder)}-${randomBytes(3).toString('hex')}-pg`);
  const pg = await startScratchPostgres(data, { password: one.pg.password });
  if ('missing' in pg) throw new Error(pg.missing);
  return {
    ...attach(one.folder, pg.port),
    pg,
    async close() {
      await pg.stop();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** The lab in `folder`, whose database listens on 127.0.0.1:`port`. */
export function attach(folder: string, port: number): BackupLab {
  const { lab, secrets } = openLab(join(folder, 'homelab.yaml'), {});
  const exec = realExec();
  const mount = join(folder, 'nas');
  const endings: (() => Promise<void>)[] = [];
  const one: BackupLab = {
    ...{ lab, mount, folder, root: join(mount, 'postgresql'), secrets, endings },
    ports: {
      exec,
      files: realFiles(exec),
      clock: { now: () => new Date(), sleep: async () => {} },
      ssh: {
        forward: async () => ({ port, close: async () => {} }),
        roundTrips: () => ({}),
        ...{ reachable: unused, read: unused, readFile: unused, run: unused, upload: unused, learnHostKey: unused },
        forgetHostKey: unused,
      },
      kube: {
        reachable: async () => ({ ok: true, value: 'k3s-cp-01' }),
        get: async () => SERVICE,
        survey: async () => ({ ok: true, value: [] }),
        list: async () => [SERVICE],
        ...{ apply: unused, delete: unused, logs: unused },
      },
      pve: { get: unused, call: unused },
      net: { http: unused, send: unused, tcp: unused, download: unused, certificate: unused },
      close: async () => {},
    },
    context: {
      ...{ endpoints: realEndpoints, settings: {}, secrets },
      ...{
        say: () => {},
        detail: () => {},
        aside: (work) => work(),
        atEnd: (work) => endings.push(work),
        warnings: [],
        interrupted: new AbortController().signal,
      },
    },
  };
  return one;
}

const unused = (): never => {
  throw new Error('not part of this test');
};

/** The toolkit's own homelab.yaml, with a target on this machine's disk and the two newest sets kept. */
function configured(mount: string): { backup: Configured } & Record<string, unknown> {
  const config: { backup: Configured; nas: { exports: { name: string; mount?: string }[] }[] } = parse(SEED);
  for (const one of config.nas.flatMap((nas) => nas.exports)) if (one.name === 'k3s-backups') one.mount = mount;
  config.backup = {
    ...config.backup,
    target: { export: 'synology/k3s-backups', path: 'postgresql', require_nfs: false },
    keep: { last: 2, daily: 0, weekly: 0, monthly: 0 },
    // In the folder of homelab.yaml: what fault tests hold a failure against.
    notify: { failure: ['/bin/sh', '-c', 'cat >> notices.jsonl'] },
  };
  return config;
}

const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'postgresql', namespace: 'databases' },
  spec: { clusterIP: '10.43.0.50', ports: [{ port: 5432 }] },
};

export type Ran<Seen> = {
  seen: Seen;
  plan: Plan;
  applied: StepResult[];
  proofs: Proof[];
  failures: Record<string, unknown>;
};

/** What went wrong, with all that is said of it. */
export function said({ failures }: Ran<unknown>): string {
  return Object.entries(failures)
    .map(([id, e]) => `${id}: ${e instanceof HomelabError ? [e.message, e.fix, e.output].join('; ') : e}`)
    .join('\n');
}

/** These steps failed, no others, with this message. */
export function failing(ran: Ran<unknown>, steps: readonly string[], message: RegExp): void {
  assert.equal(Object.keys(ran.failures), steps, said(ran));
  assert.match(said(ran), message);
}

/** The four beats of a script, as lib/run.ts goes through them. */
export async function runBeats<Seen, A extends Args>(
  one: BackupLab,
  script: Script<Seen, A>,
  args: A,
): Promise<Ran<Seen>> {
  try {
    return await beats(one, script, args);
  } finally {
    for (const work of one.endings.splice(0)) await work();
  }
}

async function beats<Seen, A extends Args>(
  { lab, ports, context, secrets }: BackupLab,
  script: Script<Seen, A>,
  args: A,
): Promise<Ran<Seen>> {
  const seen = await script.observe(lab, ports, args, context);
  const plan = script.plan(lab, seen, args);
  if (plan.notes.some(({ level }) => level === 'blocker')) return { seen, plan, applied: [], proofs: [], failures: {} };
  const applied = await apply(plan, {
    ...{ ports, secrets, journal: noJournal, secretsFolder: lab.paths.secrets },
    lock: new LockStore(lab.lock, lab.paths.lock, ports.files),
    operations: script.operations?.(lab, args, context),
  });
  const failures = Object.fromEntries(
    applied.filter(({ outcome }) => outcome === 'failed').map(({ id, error }) => [id, error]),
  );
  const failed = Object.keys(failures).length > 0;
  return {
    seen,
    plan,
    applied,
    failures,
    proofs: failed ? [] : ((await script.verify?.(lab, ports, args, context, seen, applied)) ?? []),
  };
}
