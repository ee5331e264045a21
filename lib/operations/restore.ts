import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { installations } from '../backup/clients.ts';
import { damagedFiles } from '../backup/prove.ts';
import { compareDatabase, type RestoreContext, restoreDatabase, swapDatabases } from '../backup/restore.ts';
import { readLineage } from '../backup/sets.ts';
import { requireTarget, targetPlace } from '../backup/target.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { chosenServers } from '../observe/backup.ts';
import type { Ports } from '../ports/types.ts';
import { requireReach } from './backup.ts';

const operands = z.object({
  ...{ server: z.string(), lineage: z.string(), set: z.string() },
  ...{ database: z.string(), into: z.string(), before: z.string(), systemIdentifier: z.string() },
});
type Operands = z.output<typeof operands>;

/** What the steps of `restore-postgres` (lib/plan/restore.ts) do. */
export function restoreOperations(
  lab: Lab,
  _args: unknown,
  context: Pick<RunContext, 'endpoints' | 'secrets'>,
): Record<string, Operation> {
  const backup = backupOf(lab.config);
  const place = targetPlace(lab, backup, context.endpoints);

  const setOf = async ({ server, lineage, set: name }: Operands, ports: Ports) => {
    const { root } = await requireTarget(ports.files, place);
    const set = (await readLineage(ports.files, root, server, lineage)).find((one) => one.name === name);
    if (set?.state !== 'proven' || !set.manifest)
      throw new HomelabError(`the set ${name} is gone, or not proven any more`);
    return { folder: set.folder, manifest: set.manifest };
  };
  /** The operation that works on the set and the server of its arguments. */
  const acting =
    (work: (restore: RestoreContext, wanted: Operands) => Promise<void>): Operation =>
    async (args, { ports }) => {
      const wanted = operands.parse(args);
      const [server] = chosenServers(backup, [wanted.server]);
      if (!server) throw new Error(`no server ${wanted.server}`);
      const set = await setOf(wanted, ports);
      const reached = await requireReach(ports, server, context);
      try {
        const { address } = reached;
        const found = await installations(ports.exec);
        await work({ ...set, exec: ports.exec, installations: found, address, deadline: 8 * 3600 }, wanted);
      } finally {
        await reached.close();
      }
      return undefined;
    };

  return {
    async hash(args, { ports }) {
      const { folder, manifest } = await setOf(operands.parse(args), ports);
      const problems = await damagedFiles(folder, manifest);
      if (problems.length > 0)
        throw new HomelabError(`${folder} is damaged; nothing was restored`, {
          output: problems.join('\n'),
          fix: 'take another set: backup-postgres list',
        });
      return undefined;
    },
    restore: acting((restore, { database, into }) => restoreDatabase(restore, database, into)),
    compare: acting((restore, { database, into }) => compareDatabase(restore, database, into)),
    swap: acting(swapDatabases),
  };
}
