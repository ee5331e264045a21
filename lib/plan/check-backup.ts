import { span } from '../backup/span.ts';
import type { Backup } from '../config/schema.ts';
import type { SeenBackup } from '../observe/backup.ts';
import { secondStatus, secondStatusLine } from '../render/backup-second.ts';
import { standingOf } from './backup-standing.ts';
import type { Finding } from './check.ts';

/** Who is told, as far as this machine can tell. */
export type SeenNotify = {
  /** BACKUP_HEALTHCHECK_URL is set. */
  hasUrl: boolean;
  /** Programs of backup.notify that are not on this machine. */
  missing: readonly string[];
};

const area = 'backup';

/** How the backups stand, and whether anybody would hear that they fail. Notes: a backup is no part of the chain. */
export function backupFindings(backup: Backup, seen: SeenBackup, notify: SeenNotify): Finding[] {
  if (!seen.target.ok)
    return [
      { area, level: 'warning', text: seen.target.reason, fix: seen.target.fix },
      ...notifyFindings(backup, notify),
    ];
  const standings = seen.servers.map(({ name, sets }) =>
    standingOf(name, sets, { now: seen.now, maxAgeHours: backup.max_age_hours }),
  );
  return [
    ...standings.map(({ server, stale, newest, hours, remarks }): Finding => {
      const what = newest ? `${newest.name} is proven, ${span(hours ?? 0)} old` : 'there is no proven set';
      const text = [`${server}: ${what}`, ...remarks].join('; ');
      return stale
        ? {
            area,
            level: 'warning',
            text,
            fix: 'backup-postgres run makes a set; its journal says why the last one failed',
          }
        : { area, level: remarks.length > 0 ? 'warning' : 'ok', text };
    }),
    ...seen.servers.flatMap(({ name }) => copyFindings(backup, seen, name)),
    ...notifyFindings(backup, notify),
  ];
}

/** How the copies of a server stand, where there is a second target. */
function copyFindings(backup: Backup, seen: SeenBackup, server: string): Finding[] {
  const status = secondStatus(backup, seen, server);
  if (!status) return [];
  const text = secondStatusLine(server, status);
  const fix = 'attach it; backup-postgres run --if-stale copies what is missing';
  return [status.stale ? { area, level: 'warning', text, fix } : { area, level: 'ok', text }];
}

/** What is not told is not known until somebody needs the backup. */
function notifyFindings({ notify }: Backup, { hasUrl, missing }: SeenNotify): Finding[] {
  const warning = (text: string, fix: string): Finding => ({ area, level: 'warning', text, fix });
  if (!notify?.healthcheck && !notify?.failure)
    return [
      warning(
        'nobody is told when a backup fails',
        'add backup.notify.healthcheck, or failure, to homelab.yaml; the one of the toolkit shows how',
      ),
    ];
  return [
    ...(notify.healthcheck && !hasUrl
      ? [warning('backup.notify.healthcheck is set, and BACKUP_HEALTHCHECK_URL is not', 'add it to .env')]
      : []),
    ...missing.map((name) =>
      warning(`backup.notify: the program ${name} is not on this machine`, 'install it, or correct its path'),
    ),
  ];
}
