import { postgresPassword } from '../lib/config/env.ts';
import type { Config } from '../lib/config/schema.ts';
import { lazily } from '../lib/lazy.ts';
import { backupOf } from '../lib/lookup.ts';
import { command, defineScript, type ScriptOption } from '../lib/main.ts';
import type { BackupArgs, SeenBackup } from '../lib/observe/backup.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { listReport, statusReport } from '../lib/render/backup-report.ts';
import { crontabReport } from '../lib/render/crontab.ts';
import { noSteps, type Plan } from '../lib/step.ts';

const SERVERS: ScriptOption = {
  flags: '--server <names>',
  description: 'only these servers of backup.postgresql (comma-separated)',
  parse: (text) => text.split(',').filter(Boolean),
};

type RunArgs = BackupArgs & { ifStale?: boolean };

/** Of the commands that read the target only. */
const observe = async () => (await import('../lib/observe/backup.ts')).observeSets;
const operations = async () => (await import('../lib/operations/backup.ts')).backupOperations;
const planner = () => import('../lib/plan/backup.ts');

export default defineScript(import.meta.url, {
  name: 'backup-postgres',
  summary: 'PostgreSQL backups that are proven by restoring them',
  description: 'A set counts when it was restored into a throw-away server and every table was compared.',
  commands: [
    command<SeenBackup, RunArgs>({
      name: 'run',
      summary: 'Dumps every server, publishes, proves by a restore, prunes',
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
      ...lazily<SeenBackup, RunArgs>({
        observe: async () => (await import('../lib/observe/backup.ts')).observeBackup,
        plan: async () => {
          const { planRun } = await planner();
          return ({ config }, seen, { ifStale }) => planRun(backupOf(config), seen, { ifStale: ifStale === true });
        },
        operations,
        verify: async () => (await import('../lib/verify/backup.ts')).verifyBackup,
      }),
    }),
    command<SeenBackup, BackupArgs>({
      name: 'list',
      summary: 'Lists the sets, newest first, and what is known of each',
      options: [SERVERS],
      lock: 'none',
      ...lazily<SeenBackup, BackupArgs>({ observe, plan: look }),
      report: ({ config }, seen) => listReport(backupOf(config), seen),
    }),
    command<SeenBackup, BackupArgs & { set?: string }>({
      name: 'verify',
      summary: 'Proves a set once more (default: the newest of each server)',
      arguments: [{ name: '[set]', description: 'a name that `list` shows' }],
      options: [SERVERS],
      lock: 'none',
      ...lazily<SeenBackup, BackupArgs & { set?: string }>({
        observe,
        plan: async () => {
          const { planVerify } = await planner();
          return (_lab, seen, { set }) => planVerify(seen, set);
        },
        operations,
      }),
    }),
    command<SeenBackup, BackupArgs>({
      name: 'prune',
      summary: 'Deletes the sets that backup.keep does not keep (run does it by itself)',
      options: [SERVERS],
      lock: 'none',
      ...lazily<SeenBackup, BackupArgs>({
        observe,
        plan: async () => {
          const { planPrune } = await planner();
          return ({ config }, seen) => planPrune(backupOf(config), seen);
        },
        operations,
      }),
    }),
    command<SeenBackup, BackupArgs>({
      name: 'status',
      summary: 'Says the age of the newest proven set; exit code 3 when it is older than backup.max_age_hours',
      options: [SERVERS],
      lock: 'none',
      ...lazily<SeenBackup, BackupArgs>({ observe, plan: look }),
      report: ({ config }, seen) => statusReport(backupOf(config), seen),
    }),
    command<undefined, BackupArgs>({
      name: 'crontab',
      summary: 'Prints the line for crontab that runs it at backup.schedule',
      lock: 'none',
      observe: async () => undefined,
      plan: () => noSteps,
      report: ({ config, paths }) => crontabReport(backupOf(config), TOOLKIT, process.execPath, paths.config),
    }),
  ],
});

/** The plan of a command that only looks. */
async function look(): Promise<(lab: unknown, seen: SeenBackup) => Plan> {
  const { planLook } = await planner();
  return (_lab, seen) => planLook(seen);
}

function passwords({ backup }: Config, { server }: BackupArgs): string[] {
  const names = backup?.postgresql.map(({ name }) => name) ?? [];
  return names.filter((name) => !server || server.includes(name)).map(postgresPassword);
}
