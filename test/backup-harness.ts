import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** A lab in a folder of its own, a real PostgreSQL server, and ports of which only SSH and the cluster are played. */
export type BackupLab = {
  lab: Lab;
  secrets: Secrets;
  /** The mounted export. */
  mount: string;
  /** Where sets are: <mount>/postgresql. */
  root: string;
  folder: string;
  pg: ScratchPostgres;
  ports: Ports;
  context: RunContext;
  /** A time to be used instead of the clock's. */
  setNow(now: Date | undefined): void;
  /** Opens homelab.yaml again. */
  reopen(edit?: (yaml: string) => string): void;
  close(): Promise<void>;
};

const SEED = readFileSync(new URL('../homelab.yaml', import.meta.url), 'utf8');

export async function backupLab(): Promise<BackupLab> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
  const mount = join(folder, 'nas');
  mkdirSync(mount);
  const pg = await startScratchPostgres(join('/tmp', `${folder.split('/').pop()}-pg`));
  if ('missing' in pg) throw new Error(pg.missing);
  const file = join(folder, 'homelab.yaml');
  const yaml = SEED.replace('mount: /mnt/k3s-backups', `mount: ${mount}`)
    .replace('path: postgresql }', 'path: postgresql, require_nfs: false }')
    .replace('last: 3, daily: 7, weekly: 5, monthly: 12', 'last: 2, daily: 0, weekly: 0, monthly: 0');
  writeFileSync(join(folder, '.env'), `POSTGRES_MAIN_PASSWORD=${pg.password}\n`, { mode: 0o600 });
  let now: Date | undefined;
  const open = (text: string): ReturnType<typeof openLab> => {
    writeFileSync(file, text);
    return openLab(file, {});
  };
  const opened = open(yaml);
  const { lab, secrets } = opened;
  const exec = realExec();
  const unused = (): never => {
    throw new Error('not part of this test');
  };
  const tunnel = { forward: async () => ({ port: pg.port, close: async () => {} }), roundTrips: () => ({}) };
  const one: BackupLab = {
    ...{ lab, secrets, mount, folder, pg, root: join(mount, 'postgresql') },
    ports: {
      exec,
      files: realFiles(exec),
      clock: { now: () => now ?? new Date(), sleep: async () => {} },
      ssh: { ...tunnel, reachable: unused, read: unused, readFile: unused, run: unused, upload: unused, learnHostKey: unused },
      kube: {
        reachable: async () => ({ ok: true, value: 'k3s-cp-01' }),
        get: async () => SERVICE,
        list: async () => [SERVICE],
        ...{ apply: unused, delete: unused, logs: unused },
      },
      pve: { get: unused, call: unused },
      net: { http: unused, tcp: unused, download: unused },
      close: async () => {},
    },
    context: { endpoints: realEndpoints, settings: {}, secrets, say: () => {}, detail: () => {} },
    setNow(value) {
      now = value;
    },
    reopen(edit = (text) => text) {
      const again = open(edit(yaml));
      one.lab = again.lab;
      one.secrets = again.secrets;
      one.context = { ...one.context, secrets: again.secrets };
    },
    async close() {
      await pg.stop();
      rmSync(folder, { recursive: true, force: true });
      rmSync(join('/tmp', `${folder.split('/').pop()}-pg`), { recursive: true, force: true });
    },
  };
  return one;
}

const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'postgresql', namespace: 'databases' },
  spec: { clusterIP: '10.43.0.50', ports: [{ port: 5432 }] },
};

export type Ran<Seen> = { seen: Seen; plan: Plan; applied: StepResult[]; proofs: Proof[]; failures: Record<string, unknown> };

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
    ...{ ports, secrets, journal: noJournal, stateFolder: lab.paths.state },
    lock: new LockStore(lab.lock, lab.paths.lock, ports.files),
    operations: script.operations?.(lab, args, context),
  });
  const failures = Object.fromEntries(
    applied.filter(({ outcome }) => outcome === 'failed').map(({ id, error }) => [id, error]),
  );
  const failed = Object.keys(failures).length > 0;
  return { seen, plan, applied, failures, proofs: failed ? [] : ((await script.verify?.(lab, ports, args, context)) ?? []) };
}
