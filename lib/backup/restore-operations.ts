import type { Operation } from '../apply.ts';
import type { Config } from '../config/schema.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { chosenServers } from '../observe/backup.ts';
import type { Ports } from '../ports/types.ts';
import { installations } from './clients.ts';
import { requireReach } from './operations.ts';
import { damagedFiles } from './prove.ts';
import { compareDatabase, type RestoreContext, restoreDatabase, swapDatabases } from './restore.ts';
import { readLineage } from './sets.ts';
import { requireTarget, targetPlace } from './target.ts';

type Operands = Record<'server' | 'lineage' | 'set' | 'database' | 'into' | 'before' | 'systemIdentifier', string>;

/** What the steps of `restore-postgres` (lib/plan/restore.ts) do. */
export function restoreOperations(
  lab: Lab,
  backup: NonNullable<Config['backup']>,
  context: Pick<RunContext, 'endpoints' | 'secrets'>,
): Record<string, Operation> {
  const place = targetPlace(lab, backup, context.endpoints);

  const setOf = async ({ server, lineage, set: name }: Operands, ports: Ports) => {
    const { root } = await requireTarget(ports.files, place);
    const set = (await readLineage(ports.files, root, server, lineage)).find((one) => one.name === name);
    if (set?.state !== 'proven' || !set.manifest)
      throw new HomelabError(`the set ${name} is gone, or not proven any more`);
    return { folder: set.folder, manifest: set.manifest };
  };
  const withServer = async (operands: Operands, ports: Ports, work: (restore: RestoreContext) => Promise<void>) => {
    const [server] = chosenServers(backup, [operands.server]);
    if (!server) throw new Error(`no server ${operands.server}`);
    const set = await setOf(operands, ports);
    const reached = await requireReach(ports, server, context);
    try {
      const { address } = reached;
      await work({
        ...set,
        exec: ports.exec,
        installations: await installations(ports.exec),
        address,
        deadline: 8 * 3600,
      });
    } finally {
      await reached.close();
    }
    return undefined;
  };

  return {
    async hash(args, { ports }) {
      const { folder, manifest } = await setOf(args as Operands, ports);
      const problems = await damagedFiles(folder, manifest);
      if (problems.length > 0)
        throw new HomelabError(`${folder} is damaged; nothing was restored`, {
          output: problems.join('\n'),
          fix: 'take another set: backup-postgres list',
        });
      return undefined;
    },
    restore: (args, { ports }) => {
      const operands = args as Operands;
      return withServer(operands, ports, (restore) => restoreDatabase(restore, operands.database, operands.into));
    },
    compare: (args, { ports }) => {
      const operands = args as Operands;
      return withServer(operands, ports, (restore) => compareDatabase(restore, operands.database, operands.into));
    },
    swap: (args, { ports }) => {
      const operands = args as Operands;
      return withServer(operands, ports, (restore) => swapDatabases(restore, operands));
    },
  };
}
