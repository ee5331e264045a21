import type { Operation } from '../lib/apply.ts';
import { lazyOperations } from '../lib/backup/lazy.ts';
import { postgresPassword } from '../lib/config/env.ts';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import type { RunContext, Script } from '../lib/main.ts';
import { command, defineScript, type ScriptOption } from '../lib/main.ts';
import type { BackupArgs, SeenBackup } from '../lib/observe/backup.ts';
import { planLook, planPrune, planRun, planVerify } from '../lib/plan/backup.ts';
import { listReport, statusReport } from '../lib/render/backup-report.ts';

const SERVERS: ScriptOption = {
  flags: '--server <names>',
  description: 'only these servers of backup.postgresql (comma-separated)',
  parse: (text) => text.split(',').filter(Boolean),
};

type RunArgs = BackupArgs & { ifStale?: boolean };

/** Read once it is needed: `--help` does not load PostgreSQL's client. */
const lookAtSets: Script<SeenBackup, BackupArgs>['observe'] = async (lab, readers, args, context) =>
  (await import('../lib/observe/backup.ts')).observeSets(lab, readers, args, context);

export default defineScript(import.meta.url, {
  name: 'backup-postgres',
  summary: 'PostgreSQL backups that are proven by restoring them',
  description: 'A set counts when it was restored into a throw-away server and every table was compared.',
  commands: [
    command<SeenBackup, RunArgs>({
      name: 'run',
      summary: 'dump every server, publish, prove by a restore, prune',
      options: [
        SERVERS,
        {
          flags: '--if-stale',
          description: 'only servers without a proven set younger than backup.max_age_hours',
          default: false,
        },
      ],
      secrets: (config, args) => passwords(config, args),
      lock: 'none',
      observe: async (lab, readers, args, context) =>
        (await import('../lib/observe/backup.ts')).observeBackup(lab, readers, args, context),
      plan: ({ config }, seen, { ifStale }) => planRun(backupOf(config), seen, { ifStale: ifStale === true }),
      operations,
      verify: async (lab, ports, args, context) =>
        (await import('../lib/verify/backup.ts')).verifyBackup(lab, ports, args, context),
    }),
    command<SeenBackup, BackupArgs>({
      name: 'list',
      summary: 'the sets, newest first, and what is known of each',
      options: [SERVERS],
      lock: 'none',
      observe: lookAtSets,
      plan: (_lab, seen) => planLook(seen),
      report: ({ config }, seen) => listReport(backupOf(config), seen),
    }),
    command<SeenBackup, BackupArgs & { set?: string }>({
      name: 'verify',
      summary: 'prove a set once more (default: the newest of each server)',
      arguments: [{ name: '[set]', description: 'a name that `list` shows' }],
      options: [SERVERS],
      lock: 'none',
      observe: lookAtSets,
      plan: (_lab, seen, { set }) => planVerify(seen, set),
      operations,
    }),
    command<SeenBackup, BackupArgs>({
      name: 'prune',
      summary: 'delete the sets that backup.keep does not keep (run does it by itself)',
      options: [SERVERS],
      lock: 'none',
      observe: lookAtSets,
      plan: ({ config }, seen) => planPrune(backupOf(config), seen),
      operations,
    }),
    command<SeenBackup, BackupArgs>({
      name: 'status',
      summary: 'age of the newest proven set; exit code 3 when it is older than backup.max_age_hours',
      options: [SERVERS],
      lock: 'none',
      observe: lookAtSets,
      plan: (_lab, seen) => planLook(seen),
      report: ({ config }, seen) => statusReport(backupOf(config), seen),
    }),
  ],
});

function passwords({ backup }: Config, { server }: BackupArgs): string[] {
  const names = backup?.postgresql.map(({ name }) => name) ?? [];
  return names.filter((name) => !server || server.includes(name)).map(postgresPassword);
}

/** A plan is made of what was observed, and observing has refused a homelab.yaml without `backup`. */
function backupOf({ backup }: Config): NonNullable<Config['backup']> {
  if (!backup) throw new Error('no backup in homelab.yaml');
  return backup;
}

const OPERATIONS = ['mark', 'dump', 'publish', 'prove', 'compare', 'prune', 'verify', 'remove'];

function operations(lab: Lab, _args: BackupArgs, context: RunContext): Record<string, Operation> {
  return lazyOperations(OPERATIONS, async () =>
    (await import('../lib/backup/operations.ts')).backupOperations(lab, backupOf(lab.config), context),
  );
}
