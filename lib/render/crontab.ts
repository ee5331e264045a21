import type { Backup } from '../config/schema.ts';
import type { Report } from '../main.ts';
import { commandLine } from '../quote.ts';

/** A crontab with one run of backup-postgres at each time of backup.schedule. @param folder the toolkit's */
export function crontabReport({ schedule }: Backup, folder: string, node: string, configFile: string): Report {
  const script = [node, '--import', 'tsx', 'scripts/backup-postgres.ts', 'run', '--yes', '--config', configFile];
  const command = `${commandLine(['cd', folder])} && ${commandLine(script)}`;
  // cron takes "%" for the end of the command.
  const lines = [
    '# backup.schedule is UTC. A cron that does not know CRON_TZ goes by the time zone of its machine.',
    'CRON_TZ=UTC',
    `${schedule} ${command.replaceAll('%', '\\%')}`,
  ];
  return { text: lines.join('\n'), data: { schedule, command } };
}
