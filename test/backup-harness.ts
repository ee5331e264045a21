import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parse, stringify } from 'yaml';
import { apply, type StepResult } from '../lib/apply.ts';
import { installations } from '../lib/backup/clients.ts';
import { noJournal } from '../lib/journal.ts';
import { type ScratchPostgres, startScratchPostgres } from '../lib/lab/postgres.ts';
import { type Lab, openLab } from '../lib/lab-context.ts';
import { LockStore } from '../lib/ledger/lockfile.ts';
import type { Args, RunContext, Script } from '../lib/main.ts';
import { realEndpoints } from '../lib/ports/endpoints.ts';
import { realExec } from '../lib/ports/exec.ts';
import { realFiles } from '../lib/ports/files.ts';
import type { Ports } from '../lib/ports/types.ts';
import type { Secrets } from '../lib/secret.ts';
import type { Plan, Proof } from '../lib/step.ts';

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
};

export type StartedLab = BackupLab & { pg: ScratchPostgres; close(): Promise<void> };

const SEED = readFileSync(new URL('../homelab.yaml', import.meta.url), 'utf8');

/** @param settings of the PostgreSQL server */
export async function backupLab(settings: Record<string, string> = {}): Promise<StartedLab> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
  const data = join('/tmp', `${basename(folder)}-pg`);
  mkdirSync(join(folder, 'nas'));
  const pg = await startScratchPostgres(data, { settings });
  if ('missing' in pg) throw new Error(pg.missing);
  writeFileSync(join(folder, 'homelab.yaml'), stringify(configured(join(folder, 'nas'))));
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

/** The lab in `folder`, whose database listens on 127.0.0.1:`port`. */
export function attach(folder: string, port: number): BackupLab {
  const { lab, secrets } = openLab(join(folder, 'homelab.yaml'), {});
  const exec = realExec();
  const mount = join(folder, 'nas');
  const one: BackupLab = {
    ...{ lab, mount, folder, root: join(mount, 'postgresql'), secrets },
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
        list: async () => [SERVICE],
        ...{ apply: unused, delete: unused, logs: unused },
      },
      pve: { get: unused, call: unused },
      net: { http: unused, tcp: unused, download: unused, certificate: unused },
      close: async () => {},
    },
    context: {
      ...{ endpoints: realEndpoints, settings: {}, secrets },
      ...{
        say: () => {},
        detail: () => {},
        aside: (work) => work(),
        atEnd: () => {},
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
function configured(mount: string): Record<string, unknown> {
  const config: { backup: object; nas: { exports: { name: string; mount?: string }[] }[] } = parse(SEED);
  for (const one of config.nas.flatMap((nas) => nas.exports)) if (one.name === 'k3s-backups') one.mount = mount;
  config.backup = {
    ...config.backup,
    target: { export: 'synology/k3s-backups', path: 'postgresql', require_nfs: false },
    keep: { last: 2, daily: 0, weekly: 0, monthly: 0 },
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

/** The four beats of a script, as lib/run.ts goes through them. */
export async function runBeats<Seen, A extends Args>(
  one: BackupLab,
  script: Script<Seen, A>,
  args: A,
): Promise<Ran<Seen>> {
  const { lab, ports, context, secrets } = one;
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
