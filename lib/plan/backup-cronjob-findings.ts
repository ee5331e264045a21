import { timeOfSet } from '../backup/names.ts';
import type { Config } from '../config/schema.ts';
import { findObject } from '../kube-object.ts';
import { backupOf } from '../lookup.ts';
import { dig, textOf } from '../loose.ts';
import { majorOfImage, PROVEN } from '../render/backup-cronjob.ts';
import { imageIn } from './backup-image.ts';
import { cronJobOf, cronJobRef, planInstallCronJob } from './backup-install.ts';
import type { ClusterSeen } from './backup-install-seen.ts';
import type { Finding } from './check.ts';

const HOUR = 3_600_000;
const INSTALL = 'run backup-postgres install';

/** What `check` says of the CronJobs. That the cluster does not answer is told by others. */
export function cronJobFindings(config: Config, seen: ClusterSeen): Finding[] {
  if (!seen.cluster.ok) return [];
  const backup = backupOf(config);
  const cronjob = cronJobOf(backup);
  const { objects } = seen.cluster.value;
  const { steps } = planInstallCronJob(config, seen);
  return backup.postgresql.flatMap(({ name }): Finding[] => {
    const live = findObject(objects, cronJobRef(cronjob, name));
    const what = `CronJob ${cronjob.namespace}/${cronJobRef(cronjob, name).name}`;
    const say = (text: string, fix: string): Finding => ({ area: 'backup', level: 'warning', text, fix });
    if (!live) return [say(`${what} is not there: nothing backs ${name} up by itself`, INSTALL)];
    const found: Finding[] = [];
    if (dig(live, 'spec', 'suspend') === true)
      found.push(say(`${what} is suspended: ${name} is not backed up`, INSTALL));
    // The Job that proved it was none of its own.
    const [, set = ''] = (live.metadata.annotations?.[PROVEN] ?? '').split(' ');
    const ended = Date.parse(textOf(dig(live, 'status', 'lastSuccessfulTime')) ?? '');
    const last = Math.max(...[ended, timeOfSet(set) ?? Number.NaN].filter((time) => !Number.isNaN(time)));
    const hours = (seen.now - last) / HOUR;
    if (hours > backup.max_age_hours)
      found.push(
        say(
          last === -Infinity
            ? `${what}: no Job of it has ended well yet`
            : `${what}: its last Job that ended well did ${Math.floor(hours)} h ago (at most ${backup.max_age_hours} h)`,
          `k3s kubectl -n ${cronjob.namespace} get jobs,pods says what became of the others`,
        ),
      );
    const image = imageIn(live) ?? '';
    const database = seen.databases[name];
    const major = majorOfImage(image);
    if (database?.ok && major !== undefined && major !== database.major)
      found.push(say(`${what} has the image ${image}; the server is version ${database.version}`, INSTALL));
    const open = steps.filter(({ id }) => id.startsWith(`${name}/`));
    if (open.length > 0 && found.length === 0)
      found.push(say(`${what} is not as homelab.yaml says: ${open[0]?.why}`, INSTALL));
    return found.length > 0 ? found : [{ area: 'backup', level: 'ok', text: `${what} is as homelab.yaml says` }];
  });
}
