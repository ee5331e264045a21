import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import type { BackupArgs } from '../observe/backup.ts';
import { observeSets } from '../observe/backup.ts';
import { isStale, newestProven } from '../plan/backup-newest.ts';
import type { Ports } from '../ports/types.ts';
import { secondStatus } from '../render/backup-second.ts';
import type { Proof } from '../step.ts';

/** Looks at the target once more: each server's newest proven set, as a restore would find it. */
export async function verifyBackup(
  lab: Lab,
  ports: Ports,
  args: BackupArgs,
  context: Pick<RunContext, 'endpoints'>,
): Promise<Proof[]> {
  const backup = backupOf(lab.config);
  const { max_age_hours: hours } = backup;
  const seen = await observeSets(lab, ports, args, context);
  return seen.servers.flatMap(({ name, sets }) => {
    const newest = newestProven(sets);
    const report = newest?.report;
    const copies = secondStatus(backup, seen, name);
    const first = {
      claim: `${name} has a set younger than ${hours} h that was restored and compared`,
      ok: !isStale(sets, hours, seen.now),
      detail:
        newest && report
          ? `${newest.name}: ${report.databases} databases, ${report.tables} tables, ${report.rows} rows, in ${report.seconds} s`
          : 'there is no proven set',
    };
    if (!copies) return [first];
    const detail = copies.away ?? copies.newest_proven ?? 'there is no proven copy';
    const claim = `${name} has a copy younger than ${copies.max_age_hours} h on the second target that was proven there`;
    return [first, { claim, ok: !copies.stale, detail }];
  });
}
