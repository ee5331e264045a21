import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { readIdentity } from '../backup/age.ts';
import { installations } from '../backup/clients.ts';
import type { Manifest } from '../backup/manifest.ts';
import { quoteIdent, spelled } from '../backup/names.ts';
import { type Nas, nasOf } from '../backup/nas.ts';
import { damagedFiles } from '../backup/prove.ts';
import { compareDatabase, type RestoreContext, restoreDatabase, restoreRoles } from '../backup/restore.ts';
import { makeScratch } from '../backup/scratch.ts';
import { openSet } from '../backup/seal.ts';
import { type BackupSet, readOneSet } from '../backup/sets.ts';
import { swapDatabases } from '../backup/swap.ts';
import { requireTarget, targetPlace } from '../backup/target.ts';
import { HomelabError, messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { chosenServers } from '../observe/backup.ts';
import type { RestoreArgs } from '../plan/restore.ts';
import type { Ports } from '../ports/types.ts';
import { requireReach } from './backup.ts';

const common = z.object({
  ...{ server: z.string(), lineage: z.string(), set: z.string(), unproven: z.boolean() },
  ...{ systemIdentifier: z.string(), major: z.number() },
});
const hashed = common.extend({ databases: z.array(z.string()) });
const one = common.extend({
  ...{ database: z.string(), into: z.string(), before: z.string() },
  over: z.enum(['nothing', 'empty', 'any']).optional(),
});
type Common = z.output<typeof common>;

type Context = Pick<RunContext, 'endpoints' | 'secrets' | 'atEnd' | 'say'>;

/** What the steps of `restore-postgres` (lib/plan/restore.ts) do. */
export function restoreOperations(
  lab: Lab,
  { from, identity }: Pick<RestoreArgs, 'from' | 'identity'>,
  context: Context,
): Record<string, Operation> {
  const backup = backupOf(lab.config);
  const place = targetPlace(lab, backup, context.endpoints, from);
  /** Encrypted sets, by their folder: where they are decrypted, once. */
  const decrypted = new Map<string, ReturnType<typeof decrypt>>();
  const nasFor = ({ files }: Pick<Ports, 'files'>): Nas => nasOf(files, backup.deadlines.nas_seconds, from);

  const setOf = async ({ server, lineage, set: name, unproven }: Common, ports: Ports) => {
    const nas = nasFor(ports);
    const { root } = await requireTarget(nas, place);
    const set = await readOneSet(nas, root, server, lineage, name);
    if (!set || (set.state !== 'proven' && !unproven) || !(set.manifest || set.encrypted))
      throw new HomelabError(`the set ${name} is gone, or not proven any more`);
    if (set.manifest) return { folder: set.folder, manifest: set.manifest };
    const opened = decrypted.get(set.folder) ?? decrypt(nas, set, identity, context);
    decrypted.set(set.folder, opened);
    return opened;
  };
  /** The operation that works on the set and the server of its arguments. */
  const acting =
    <T extends Common>(schema: z.ZodType<T>, work: (restore: RestoreContext, wanted: T) => Promise<void>): Operation =>
    async (args, { ports }) => {
      const wanted = schema.parse(args);
      const [server] = chosenServers(backup, [wanted.server]);
      if (!server) throw new Error(`no server ${wanted.server}`);
      const set = await setOf(wanted, ports);
      const reached = await requireReach(ports, server, context);
      try {
        const { address } = reached;
        const { systemIdentifier, major } = wanted;
        const found = await installations(ports.exec);
        await work(
          { ...set, exec: ports.exec, installations: found, address, systemIdentifier, major, deadline: 8 * 3600 },
          wanted,
        );
      } finally {
        await reached.close();
      }
      return undefined;
    };

  return {
    async hash(args, { ports }) {
      const wanted = hashed.parse(args);
      const { folder, manifest } = await setOf(wanted, ports);
      const problems = await damagedFiles(
        ports.exec,
        nasFor(ports),
        folder,
        manifest,
        wanted.unproven ? wanted.databases : undefined,
      );
      if (problems.length > 0)
        throw new HomelabError(`${folder} is damaged; nothing was restored`, {
          output: problems.join('\n'),
          fix: 'take another set: backup-postgres list; with --unproven only what is restored must be whole',
        });
      return undefined;
    },
    roles: acting(common, (restore) => restoreRoles(restore)),
    restore: acting(one, async (restore, { database, into }) => {
      let ended = false;
      // What an interrupted run leaves is said while it still can be.
      context.atEnd(async () => {
        if (!ended) context.say(left(into));
      });
      try {
        const note = await restoreDatabase(restore, database, into);
        if (note) context.say(`${spelled(into)}: ${note}`);
      } catch (error) {
        const known = error instanceof HomelabError ? error : undefined;
        const full = FULL.test(`${messageOf(error)} ${known?.output}`);
        throw new HomelabError(messageOf(error), {
          ...{ output: known?.output, exit: known?.exit },
          cause: full
            ? 'the disk of the PostgreSQL server is full, which stops what else writes to it'
            : known?.likelyCause,
          fix: [full ? 'make room on the volume of the server' : known?.fix, left(into)].filter(Boolean).join('; '),
        });
      } finally {
        ended = true;
      }
    }),
    compare: acting(one, (restore, { database, into }) => compareDatabase(restore, database, into)),
    place: acting(one, ({ address }, { over = 'nothing', ...wanted }) => swapDatabases(address, { ...wanted, over })),
  };
}

/** What PostgreSQL says without room for its files; without room for its log it ends, and sessions with it. */
const FULL = /no space left|check free disk space|disk quota/i;

function left(into: string): string {
  return `what is there of it is in ${spelled(into)}, and nothing was renamed; to remove it: DROP DATABASE IF EXISTS ${quoteIdent(into)};`;
}

/** Into a folder that goes when the script ends. @throws HomelabError when it is damaged, or the identity is another's */
async function decrypt(
  nas: Nas,
  set: BackupSet,
  file: string | undefined,
  { atEnd }: Pick<RunContext, 'atEnd'>,
): Promise<{ folder: string; manifest: Manifest }> {
  if (file === undefined) throw new HomelabError(`${set.name} is encrypted`, { fix: 'give --identity FILE' });
  const scratch = makeScratch();
  atEnd(async () => scratch.remove());
  const { manifest, problems } = await openSet(nas, set, await readIdentity(file), scratch.path);
  if (problems.length > 0)
    throw new HomelabError(`${set.folder} is damaged; nothing was restored`, {
      output: problems.join('\n'),
      fix: 'take another set: backup-postgres list',
    });
  return { folder: scratch.path, manifest };
}
