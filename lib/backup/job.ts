import { HomelabError } from '../errors.ts';
import { setsToRemove } from '../plan/backup.ts';
import { alarms, alarmsBySums } from '../plan/backup-alarms.ts';
import { newestProven } from '../plan/backup-newest.ts';
import { type DumpedSet, dumpSet } from './dump-set.ts';
import { type JobContext, programSeconds, withinRun } from './job-context.ts';
import { proveSet } from './prove.ts';
import { pointLatest, publishSet, removeSet, writeReport } from './publish.ts';
import { sweepScratch } from './scratch.ts';
import { closeServer, openServer, type ServerSession } from './server-session.ts';
import { readLineage, readSets } from './sets.ts';

/** The beats of one server's backup, to be called in this order; a failure ends what the job holds. */
export type BackupJob = Record<'dump' | 'publish' | 'prove' | 'compare' | 'prune', () => Promise<void>> & {
  close(): Promise<void>;
};

/** A job for one run and server; nothing is opened before `dump`. */
export function backupJob(context: JobContext): BackupJob {
  const { nas, exec, backup, server, installations } = context;
  let session: ServerSession | undefined;
  let dumped: DumpedSet | undefined;
  let published = '';

  const close = async (): Promise<void> => {
    const ending = session;
    session = undefined;
    if (ending) await closeServer(ending);
  };
  const guarded =
    (work: () => Promise<void>, last = false) =>
    async (): Promise<void> => {
      let failed = true;
      try {
        await work();
        failed = false;
      } finally {
        if (failed || last) await close();
      }
    };
  const now = (): DumpedSet => {
    if (!dumped) throw new Error('nothing was dumped');
    return dumped;
  };

  return {
    close,
    dump: guarded(async () => {
      const { root } = await context.target();
      sweepScratch();
      session = await openServer(context);
      const holding = session;
      dumped = await withinRun(context, root, 'the dump', (signal) => dumpSet(context, holding, root, signal));
    }),
    publish: guarded(async () => {
      const { lineage, incoming, name, manifest } = now();
      await session?.lock.assertHeld();
      await context.target();
      published = await publishSet(nas, lineage, incoming, name, manifest);
    }),
    prove: guarded(async () => {
      const { root, name, manifest } = now();
      const place = { name, folder: published, manifest };
      const deadline = programSeconds(context);
      const report = await withinRun(context, root, 'the proof', () =>
        proveSet({ exec, nas, installations, deadline }, place),
      );
      await context.target();
      await writeReport(nas, published, report);
      if (!report.ok)
        throw new HomelabError(`${name} was published, and could not be proven`, {
          output: report.problems.join('\n'),
          cause: 'a restore of it fails, or does not hold what was dumped; it stays, unproven, and LATEST is as it was',
        });
      await context.target();
      const lineage = manifest.system_identifier;
      await pointLatest(nas, root, { server: server.name, lineage }, context.now().getTime());
    }),
    compare: guarded(async () => {
      const { root, name, manifest } = now();
      const sets = await readSets(nas, root, server.name);
      const lineage = sets.filter((set) => set.lineage === manifest.system_identifier && set.name !== name);
      const others = new Set(sets.map((set) => set.lineage)).size - 1;
      const before = newestProven(lineage, undefined, context.now().getTime());
      const found =
        before?.encrypted && before.report
          ? alarmsBySums(manifest, before.report)
          : alarms(manifest, before?.manifest, others);
      if (found.length > 0)
        throw new HomelabError(`${name} is proven, but ${found.join('; ')}`, {
          cause: 'the server may have lost data; nothing was deleted',
          fix: 'look at the server; when this is right, the next run compares with this set, and passes',
        });
    }),
    prune: guarded(async () => {
      const { lineage, manifest } = now();
      const { root } = await context.target();
      const sets = await readLineage(nas, root, server.name, manifest.system_identifier);
      for (const set of setsToRemove(sets, backup, context.now().getTime())) {
        await context.target();
        await removeSet(nas, lineage, set);
      }
    }, true),
  };
}
