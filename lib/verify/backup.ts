import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import type { BackupArgs } from '../observe/backup.ts';
import { observeSets } from '../observe/backup.ts';
import { isStale, newestProven } from '../plan/backup.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** Looks at the target once more: each server's newest proven set, as a restore would find it. */
export async function verifyBackup(
  lab: Lab,
  ports: Ports,
  args: BackupArgs,
  context: Pick<RunContext, 'endpoints'>,
): Promise<Proof[]> {
  const { max_age_hours: hours } = backupOf(lab.config);
  const seen = await observeSets(lab, ports, args, context);
  return seen.servers.map(({ name, sets }) => {
    const newest = newestProven(sets);
    const report = newest?.report;
    return {
      claim: `${name} has a set younger than ${hours} h that was restored and compared`,
      ok: !isStale(sets, hours, seen.now),
      detail:
        newest && report
          ? `${newest.name}: ${report.databases} databases, ${report.tables} tables, ${report.rows} rows, in ${report.seconds} s`
          : 'there is no proven set',
    };
  });
}
