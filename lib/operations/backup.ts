import type { Operation } from '../apply.ts';
import { installations } from '../backup/clients.ts';
import { type BackupJob, backupJob } from '../backup/job.ts';
import { proveSet } from '../backup/prove.ts';
import { pointLatest, removeSet, writeReport } from '../backup/publish.ts';
import { type Reached, reachDatabase } from '../backup/reach.ts';
import { type BackupSet, lineageFolder, readLineage } from '../backup/sets.ts';
import { lookAtTarget, markTarget, requireTarget, targetPlace } from '../backup/target.ts';
import { postgresPassword } from '../config/env.ts';
import type { PostgresServer } from '../config/schema.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { chosenServers } from '../observe/backup.ts';
import type { Ports } from '../ports/types.ts';

type Context = Pick<RunContext, 'endpoints' | 'secrets' | 'atEnd'>;

/** What the steps of `backup-postgres` (lib/plan/backup.ts) do. The beats of one server share a job. */
export function backupOperations(lab: Lab, _args: unknown, context: Context): Record<string, Operation> {
  const backup = backupOf(lab.config);
  const place = targetPlace(lab, backup, context.endpoints);
  const jobs = new Map<string, BackupJob>();

  const begin = async (server: PostgresServer, ports: Ports): Promise<BackupJob> => {
    const job = backupJob({
      exec: ports.exec,
      files: ports.files,
      lab: lab.config.name,
      backup,
      server,
      installations: await installations(ports.exec),
      reach: () => requireReach(ports, server, context),
      target: () => requireTarget(ports.files, place),
      now: () => ports.clock.now(),
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
    ...{ dump: beat('dump'), publish: beat('publish'), prove: beat('prove'), compare: beat('compare') },
    prune: beat('prune'),
    async mark({ id }, { ports }) {
      const state = await lookAtTarget(ports.files, place);
      if (!state.ok) throw new HomelabError(state.reason, { fix: state.fix });
      await markTarget(place, String(id), state.sentinel);
      return undefined;
    },
    async verify(args, { ports }) {
      const { root } = await requireTarget(ports.files, place);
      const set = await theSet(ports, root, args);
      if (!set.manifest) throw new HomelabError(`${set.folder} is damaged: ${set.problem}`, UNUSABLE);
      const found = await installations(ports.exec);
      const proving = { exec: ports.exec, installations: found, deadline: 4 * 3600 };
      const report = await proveSet(proving, { ...set, manifest: set.manifest });
      await requireTarget(ports.files, place);
      await writeReport(set.folder, report);
      await pointLatest(ports.files, root, set);
      if (!report.ok)
        throw new HomelabError(`${set.folder} is not sound`, { ...UNUSABLE, output: report.problems.join('\n') });
      return undefined;
    },
    async remove(args, { ports }) {
      const { root } = await requireTarget(ports.files, place);
      const set = await theSet(ports, root, args);
      await removeSet(lineageFolder(root, set.server, set.lineage), set);
      return undefined;
    },
  };
}

const UNUSABLE = { fix: 'it does not count any more; take a new one with backup-postgres run' };

/** A way to the server. @throws HomelabError where there is none */
export async function requireReach(
  ports: Pick<Ports, 'kube' | 'ssh'>,
  server: PostgresServer,
  { secrets }: Pick<RunContext, 'secrets'>,
): Promise<Reached> {
  const reached = await reachDatabase(ports, server, secrets.get(postgresPassword(server.name)));
  if (reached.ok) return reached.value;
  throw new HomelabError(`PostgreSQL ${server.name} cannot be reached: ${reached.reason}`, {
    fix: `see whether ${server.namespace}/${server.service} runs: backup.postgresql in homelab.yaml names it`,
  });
}

async function theSet(ports: Ports, root: string, args: Record<string, unknown>): Promise<BackupSet> {
  const sets = await readLineage(ports.files, root, String(args.server), String(args.lineage));
  const set = sets.find(({ name }) => name === args.set);
  if (!set) throw new HomelabError(`the set ${args.set} is gone`);
  return set;
}
