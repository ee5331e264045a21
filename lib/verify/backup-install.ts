import { findObject } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import { dig } from '../loose.ts';
import type { RunContext } from '../main.ts';
import { type InstallArgs, observeInstall } from '../observe/backup-install.ts';
import { holdsBlock } from '../plan/backup-crontab.ts';
import { cronJobOf, cronJobRef, planInstallCronJob } from '../plan/backup-install.ts';
import type { InstallSeen } from '../plan/backup-install-seen.ts';
import type { Ports } from '../ports/types.ts';
import { PROVEN } from '../render/backup-cronjob.ts';
import type { Proof } from '../step.ts';

/** Looks once more: the schedule is there, and what it starts has made a proven set. */
export async function verifyInstall(
  lab: Lab,
  ports: Ports,
  args: InstallArgs,
  context: Pick<RunContext, 'endpoints' | 'secrets'>,
  before: InstallSeen,
  applied: readonly unknown[],
  crontab: () => string,
): Promise<Proof[]> {
  if (args.remove) return [];
  const seen = applied.length === 0 ? before : await observeInstall(lab, ports, args, context);
  if (seen.home === 'cron') {
    const text = seen.crontab.ok ? seen.crontab.text : '';
    const ok = holdsBlock(lab.config.name, text, crontab());
    return [{ claim: `cron runs backup-postgres at "${backupOf(lab.config).schedule}"`, ok, detail: '' }];
  }
  const backup = backupOf(lab.config);
  const left = planInstallCronJob(lab.config, seen);
  const objects = seen.cluster.ok ? seen.cluster.value.objects : [];
  return backup.postgresql.map(({ name }) => {
    const live = findObject(objects, cronJobRef(cronJobOf(backup), name));
    const [, set] = (live?.metadata.annotations?.[PROVEN] ?? '').split(' ');
    const undone = left.steps.filter(({ id }) => id.startsWith(`${name}/`));
    return {
      claim: `${name}: a Job of the CronJob ("${dig(live, 'spec', 'schedule')}", UTC) has made a proven set`,
      ok: live !== undefined && undone.length === 0 && set !== undefined,
      detail: undone.length > 0 ? undone.map(({ id, why }) => `${id}: ${why}`).join('; ') : (set ?? 'there is none'),
    };
  });
}
