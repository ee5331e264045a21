import type { Backup } from '../config/schema.ts';
import type { Report } from '../main.ts';
import { commandLine } from '../quote.ts';

/** This machine, as a crontab needs to know it. */
export type CronMachine = {
  /** The toolkit's folder. */
  folder: string;
  /** The absolute path of Node. */
  node: string;
  configFile: string;
  /** Where the journals of the runs are. */
  runs: string;
};

/** cron gives its jobs /usr/bin:/bin, and neither a shell's profile nor an ssh-agent. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin';

/** A crontab with one run of backup-postgres at each time of backup.schedule. */
export function crontabReport({ schedule }: Backup, { folder, node, configFile, runs }: CronMachine): Report {
  const line = (...words: string[]): string => {
    const script = [node, '--import', 'tsx', 'scripts/backup-postgres.ts', ...words, '--quiet', '--config', configFile];
    // PATH stands in the line: set above it, it would hold for every line below. cron takes "%" for the line's end.
    const command = `${commandLine(['cd', folder])} && PATH=${PATH} ${commandLine(script)}`;
    return command.replaceAll('%', '\\%');
  };
  const command = line('run', '--yes');
  const lines = [
    '# PostgreSQL backups of homelab: into `crontab -e`, at its end, for CRON_TZ holds for every line below it.',
    '# backup.schedule is UTC. A cron that does not know CRON_TZ (Debian, macOS) goes by the time zone of its machine.',
    '# It says nothing when all is well. What it says else is mailed to MAILTO, and lost where this machine sends no',
    `# mail (backup.notify tells then). What each run did: ${runs}`,
    '# Two at once do no harm: the one that comes second ends with exit code 75. An SSH key needs to have no passphrase.',
    '#MAILTO=you@example.org',
    'CRON_TZ=UTC',
    `${schedule} ${command}`,
    '# Whether there is a fresh set, best asked from another machine that has the NAS mounted: what never ran, or was',
    '# killed, cannot tell. Take away the # where this is that machine.',
    `#30 12 * * * ${line('status')}`,
  ];
  return { text: lines.join('\n'), data: { schedule, command } };
}
