import type { Operation } from '../apply.ts';
import { installations } from '../backup/clients.ts';
import { type BackupJob, backupJob } from '../backup/job.ts';
import { type Nas, nasOf } from '../backup/nas.ts';
import { pointLatest, removeSet, writeReport } from '../backup/publish.ts';
import { type Reached, reachDatabase, whereabouts } from '../backup/reach.ts';
import { type BackupSet, lineageFolder, readOneSet } from '../backup/sets.ts';
import { type BackupLab, lookAtTarget, markTarget, requireTarget, targetPlace } from '../backup/target.ts';
import { UNUSABLE, verifySet } from '../backup/verify-set.ts';
import { postgresPassword } from '../config/env.ts';
import type { PostgresServer } from '../config/schema.ts';
import { HomelabError } from '../errors.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { type BackupArgs, chosenServers } from '../observe/backup.ts';
import type { Ports } from '../ports/types.ts';
import { copyOperations } from './backup-copies.ts';

type Context = Pick<RunContext, 'endpoints' | 'secrets' | 'atEnd'>;

/** What the steps of `backup-postgres` (lib/plan/backup.ts) do. The beats of one server share a job. */
export function backupOperations(
  lab: BackupLab,
  { from, identity }: BackupArgs,
  context: Context,
): Record<string, Operation> {
  const backup = backupOf(lab.config);
  const place = targetPlace(lab, backup, context.endpoints, from);
  const jobs = new Map<string, BackupJob>();
  const nasFor = ({ files }: Pick<Ports, 'files'>): Nas => nasOf(files, backup.deadlines.nas_seconds, from);
  const end = performance.now() + backup.deadlines.run_seconds * 1000;

  const begin = async (server: PostgresServer, ports: Ports): Promise<BackupJob> => {
    const job = backupJob({
      exec: ports.exec,
      nas: nasFor(ports),
      lab: lab.config.name,
      backup,
      server,
      installations: await installations(ports.exec),
      reach: () => requireReach(ports, server, context),
      target: () => requireTarget(nasFor(ports), place),
      now: () => ports.clock.now(),
      secondsLeft: () => (end - performance.now()) / 1000,
    });
    jobs.set(server.name, job);
    context.atEnd(() => job.close());
    return job;
  };
  const beat =
    (name: 'dump' | 'publish' | 'prove' | 'compare' | 'prune'): Operation =>
    async ({ server: wanted }, { ports }) => {
      const [server] = chosenServers(backup, [String(wanted)]);
      if (!server) throw new Error(`no server ${wanted}`);
      const job = name === 'dump' ? await begin(server, ports) : jobs.get(server.name);
      await job?.[name]();
      return undefined;
    };

  return {
    ...copyOperations(lab, context),
    ...{ dump: beat('dump'), publish: beat('publish'), prove: beat('prove'), compare: beat('compare') },
    prune: beat('prune'),
    async mark({ id }, { ports }) {
      const nas = nasFor(ports);
      const state = await lookAtTarget(nas, place);
      if (!state.ok) throw new HomelabError(state.reason, { fix: state.fix });
      await markTarget(nas, place, String(id), state.sentinel);
      return undefined;
    },
    async verify(args, { ports }) {
      const nas = nasFor(ports);
      const { root } = await requireTarget(nas, place);
      const set = await theSet(nas, root, args);
      const found = await installations(ports.exec);
      const proving = { exec: ports.exec, nas, installations: found, deadline: backup.deadlines.program_seconds };
      const { report, problems } = await verifySet(proving, set, identity);
      await requireTarget(nas, place);
      await writeReport(nas, set.folder, report);
      await pointLatest(nas, root, set, ports.clock.now().getTime());
      if (!report.ok)
        throw new HomelabError(`${set.folder} is not sound`, { ...UNUSABLE, output: problems.join('\n') });
      return undefined;
    },
    async remove(args, { ports }) {
      const nas = nasFor(ports);
      const { root } = await requireTarget(nas, place);
      const set = await theSet(nas, root, args);
      await removeSet(nas, lineageFolder(root, set.server, set.lineage), set);
      return undefined;
    },
  };
}

/** A way to the server. @throws HomelabError where there is none */
export async function requireReach(
  ports: Pick<Ports, 'kube' | 'ssh'>,
  server: PostgresServer,
  { secrets, endpoints }: Pick<RunContext, 'secrets' | 'endpoints'>,
): Promise<Reached> {
  const reached = await reachDatabase(ports, server, secrets.get(postgresPassword(server.name)), endpoints);
  if (reached.ok) return reached.value;
  throw new HomelabError(`PostgreSQL ${server.name} cannot be reached: ${reached.reason}`, {
    fix: `see whether ${whereabouts(server)} runs: backup.postgresql in homelab.yaml names it`,
  });
}

async function theSet(nas: Nas, root: string, args: Record<string, unknown>): Promise<BackupSet> {
  const set = await readOneSet(nas, root, String(args.server), String(args.lineage), String(args.set));
  if (!set) throw new HomelabError(`the set ${args.set} is gone`);
  return set;
}
