import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { HEALTHCHECK_URL, postgresPassword } from '../lib/config/env.ts';
import type { Config } from '../lib/config/schema.ts';
import { UsageError } from '../lib/errors.ts';
import type { Lab } from '../lib/lab-context.ts';
import { lazily } from '../lib/lazy.ts';
import { backupOf } from '../lib/lookup.ts';
import { command, defineScript, type Report, type ScriptOption } from '../lib/main.ts';
import type { BackupArgs, SeenBackup } from '../lib/observe/backup.ts';
import type { InstallArgs } from '../lib/observe/backup-install.ts';
import { TOOLKIT } from '../lib/paths.ts';
import type { InstallSeen } from '../lib/plan/backup-install-seen.ts';
import { listReport, statusReport } from '../lib/render/backup-report.ts';
import { crontabReport } from '../lib/render/crontab.ts';
import { noSteps, type Plan } from '../lib/step.ts';

// While PostgreSQL works we wait: small code is worth more here than fast code, a tenth of our memory (bench/backup.ts).
setFlagsFromString('--optimize-for-size');

const SERVERS: ScriptOption = {
  flags: '--server <names>',
  description: 'only these servers of backup.postgresql (comma-separated)',
  parse: (text) => text.split(',').filter(Boolean),
};

const FROM: ScriptOption = {
  flags: '--from <target>',
  description: 'which target: first, or second (the copies); default: first',
  choices: ['first', 'second'],
};

const IDENTITY: ScriptOption = {
  flags: '--identity <file>',
  description: 'secret key of age (from age-keygen), for sets that are encrypted',
};

type RunArgs = BackupArgs & { ifStale?: boolean };

/** Of the commands that read the target only. */
const observe = async () => (await import('../lib/observe/backup.ts')).observeSets;
const operations = async () => (await import('../lib/operations/backup.ts')).backupOperations;
const planner = () => import('../lib/plan/backup.ts');

export default defineScript(import.meta.url, {
  name: 'backup-postgres',
  summary: 'PostgreSQL backups that are proven by restoring them',
  description:
    'A set counts when it was restored into a throw-away server and every table was compared. What brings one back is\n' +
    'another script: restore-postgres.ts.',
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
      optionalSecrets: healthcheckUrl,
      lock: 'none',
      afterFailure:
        'correct the cause and run it again: that makes a new set (one that was published and not proven stays so, until backup-postgres verify SET)',
      outcome: async () => (await import('../lib/backup/notify.ts')).tellBackup,
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
      options: [SERVERS, FROM],
      lock: 'none',
      ...lazily<SeenBackup, BackupArgs>({ observe, plan: look }),
      report: ({ config }, seen, { from }) => listReport(backupOf(config), seen, from),
    }),
    command<SeenBackup, BackupArgs & { set?: string }>({
      name: 'verify',
      summary: 'Proves a set once more (default: the newest of each server)',
      arguments: [{ name: '[set]', description: 'a name that `list` shows' }],
      options: [SERVERS, FROM, IDENTITY],
      lock: 'none',
      afterFailure: 'the other sets are as they were: backup-postgres list',
      ...lazily<SeenBackup, BackupArgs & { set?: string }>({
        observe,
        plan: async () => {
          const { planVerify } = await planner();
          return (_lab, seen, { set, identity }) => planVerify(seen, set, identity !== undefined);
        },
        operations,
      }),
    }),
    command<SeenBackup, BackupArgs>({
      name: 'prune',
      summary: 'Deletes the sets that backup.keep does not keep (run does it by itself)',
      options: [SERVERS, FROM],
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
      summary:
        'Says the age of the newest proven set, and of its copy; exit code 3 when one is older than its max_age_hours',
      options: [SERVERS],
      lock: 'none',
      ...lazily<SeenBackup, BackupArgs>({ observe, plan: look }),
      report: ({ config }, seen) => statusReport(backupOf(config), seen),
    }),
    command<InstallSeen, InstallArgs>({
      name: 'install',
      summary: 'Lets it run by itself: as a CronJob in the cluster (backup.cronjob), or with --cron from this machine',
      description:
        'The CronJob is proven by a Job of it, whose set must be restored and compared before it counts. Run again it\n' +
        'changes nothing while everything is as homelab.yaml says.',
      options: [
        { flags: '--cronjob', description: 'the CronJob in the cluster (the default)', default: false },
        { flags: '--cron', description: "this user's crontab, on this machine", default: false },
        { flags: '--remove', description: 'takes it away again; what lies on the target stays', default: false },
      ],
      secrets: (config, { cron, remove }) =>
        cron || remove ? [] : [...passwords(config, {}), ...healthcheckUrl(config)],
      ...lazily<InstallSeen, InstallArgs>({
        observe: async () => (await import('../lib/observe/backup-install.ts')).observeInstall,
        plan: async () => {
          const { planInstallCronJob, planRemoveCronJob } = await import('../lib/plan/backup-install.ts');
          const { planCrontab } = await import('../lib/plan/backup-crontab.ts');
          return (lab, seen, { remove, cron, cronjob }) => {
            if (cron && cronjob) throw new UsageError('--cron and --cronjob: choose one, or two runs would meet');
            if (seen.home === 'cron') return planCrontab(lab.config.name, seen, remove ? undefined : crontabOf(lab));
            return remove ? planRemoveCronJob(lab.config, seen) : planInstallCronJob(lab.config, seen);
          };
        },
        operations: async () => (await import('../lib/operations/backup-install.ts')).installOperations,
        verify: async () => {
          const { verifyInstall } = await import('../lib/verify/backup-install.ts');
          return (lab, ports, args, context, seen, applied) =>
            verifyInstall(lab, ports, args, context, seen, applied, () => crontabOf(lab));
        },
      }),
    }),
    command<undefined, BackupArgs>({
      name: 'crontab',
      summary: 'Prints the line for crontab that runs it at backup.schedule',
      lock: 'none',
      observe: async () => undefined,
      plan: () => noSteps,
      report: (lab) => crontabFor(lab),
    }),
  ],
});

function crontabFor({ config, paths }: Pick<Lab, 'config' | 'paths'>): Report {
  return crontabReport(backupOf(config), {
    ...{ folder: TOOLKIT, node: process.execPath, configFile: paths.config, runs: join(paths.state, 'runs') },
  });
}

function crontabOf(lab: Lab): string {
  return crontabFor(lab).text;
}

/** The plan of a command that only looks. */
async function look(): Promise<(lab: unknown, seen: SeenBackup) => Plan> {
  const { planLook } = await planner();
  return (_lab, seen) => planLook(seen);
}

function passwords({ backup }: Config, { server }: BackupArgs): string[] {
  const names = backup?.postgresql.map(({ name }) => name) ?? [];
  return names.filter((name) => !server || server.includes(name)).map(postgresPassword);
}

function healthcheckUrl({ backup }: Config): string[] {
  return backup?.notify?.healthcheck ? [HEALTHCHECK_URL] : [];
}
