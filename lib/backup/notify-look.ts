import { within } from '../deadline.ts';
import { backupOf } from '../lookup.ts';
import { observeSets } from '../observe/backup.ts';
import { type Standing, standingOf } from '../plan/backup-standing.ts';
import type { Endpoints } from '../ports/endpoints.ts';
import type { Ports } from '../ports/types.ts';
import type { BackupLab } from './target.ts';

/** How every server stands, with the number of its sets by their state. */
export type StandingsNow = { standings: (Standing & { sets: Record<string, number> })[]; freeBytes?: number };

/** Seconds to read the target: a NAS that hangs must not keep the news of it back. */
const LOOK_SECONDS = 15;

/** What lies on the target now, for those who are told of a run. Undefined where it cannot be read. */
export async function standingsNow(
  lab: BackupLab,
  ports: Pick<Ports, 'files' | 'clock' | 'exec'> & { endpoints: Endpoints },
): Promise<StandingsNow | undefined> {
  if (!lab.config.backup) return undefined;
  const { max_age_hours: maxAgeHours } = backupOf(lab.config);
  try {
    const { target, servers, now } = await within(LOOK_SECONDS, 'reading the backup target', () =>
      observeSets(lab, ports, {}, { endpoints: ports.endpoints }),
    );
    if (!target.ok) return undefined;
    const standings = servers.map(({ name, sets }) => {
      const count = (state: string): number => sets.filter((set) => set.state === state).length;
      const states = { proven: count('proven'), unproven: count('unproven'), damaged: count('damaged') };
      return { ...standingOf(name, sets, { now, maxAgeHours }), sets: states };
    });
    return { standings, freeBytes: target.freeBytes };
  } catch {
    return undefined;
  }
}
