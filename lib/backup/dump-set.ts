import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import { HomelabError } from '../errors.ts';
import { dumpersFor, type Installation } from './clients.ts';
import { programEnvironment } from './connect.ts';
import { dumpDatabase } from './dump.ts';
import { type DumpContext, dumpGlobals } from './dump-programs.ts';
import { type JobContext, programSeconds } from './job-context.ts';
import { type Manifest, manifestText, parseManifest } from './manifest.ts';
import { setName } from './names.ts';
import { openIncoming } from './publish.ts';
import { type ServerFacts, selectDatabases } from './server-facts.ts';
import type { ServerSession } from './server-session.ts';
import { lineageFolder, readLineage } from './sets.ts';
import { sideBySide } from './side-by-side.ts';

/** Databases of one server that are dumped at a time: while one is read back, the next one is written. */
const SIDE_BY_SIDE = 2;

/** A set that is whole, and not yet published. */
export type DumpedSet = { root: string; lineage: string; incoming: string; name: string; manifest: Manifest };

/** Dumps all of a server into `.incoming`, with the manifest that says what is there. */
export async function dumpSet(
  context: JobContext,
  session: ServerSession,
  root: string,
  signal: AbortSignal,
): Promise<DumpedSet> {
  const { server, installations, nas } = context;
  const { facts, reached, scratch } = session;
  const tools = dumpersFor(facts.major, installations);
  if (!tools) throw noDumper(server.name, facts, installations);
  const begun = context.now();
  const runId = randomBytes(4).toString('hex');
  const selected = selectDatabases(server, facts);
  const sets = await readLineage(nas, root, server.name, facts.systemIdentifier);
  const previous = sets.sort((a, b) => b.time - a.time)[0];
  const lineage = { server: server.name, lineage: facts.systemIdentifier };
  const incoming = await openIncoming(nas, root, lineage, runId);
  // Only now: what a run that was killed has left may be what there is no room for.
  requireSpace(previous?.bytes ?? 0, await nas.freeBytes(root), root);
  const dumping: DumpContext = {
    ...{ exec: context.exec, nas, tools, major: facts.major, address: reached.address, folder: incoming },
    env: programEnvironment(reached.address, scratch.path),
    deadline: () => programSeconds(context),
    signal,
  };
  const { globals, databases } = await dumpAll(context, session, dumping, selected.dump).catch(async (error) => {
    // Half a dump would keep a full NAS full until the next run. One that hangs is not asked any more.
    if (!signal.aborted) await nas.remove(incoming).catch(() => {});
    throw error;
  });

  const manifest: Manifest = {
    format: 1,
    run: runId,
    lab: context.lab,
    server: server.name,
    system_identifier: facts.systemIdentifier,
    started: begun.toISOString(),
    finished: context.now().toISOString(),
    versions: { server: facts.version, client: tools.version },
    bootstrap_role: facts.bootstrapRole,
    roles: facts.roles,
    discovered: facts.databases.map(({ name }) => name),
    excluded: selected.excluded,
    databases,
    globals,
    previous: previous?.name ?? null,
  };
  requireWhole(manifest);
  const folder = lineageFolder(root, server.name, facts.systemIdentifier);
  return { root, lineage: folder, incoming, name: setName(begun, runId), manifest };
}

async function dumpAll(
  { server }: JobContext,
  { client, maintenance }: ServerSession,
  dumping: DumpContext,
  names: readonly string[],
): Promise<Pick<Manifest, 'globals' | 'databases'>> {
  const globals = await dumpGlobals(dumping, maintenance);
  const largestFirst = await bySize(client, names);
  const databases = await sideBySide(largestFirst, SIDE_BY_SIDE, async (name) => {
    const { jobs, lock_wait_seconds: lockWait } = own(server.databases, name) ?? {};
    return [name, await dumpDatabase(dumping, name, { jobs, lockWait })] as const;
  });
  return { globals, databases: Object.fromEntries(databases) };
}

/** The largest one decides how long all take, and so begins. */
async function bySize(client: Client, databases: readonly string[]): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    'SELECT datname AS name FROM pg_database WHERE datname = ANY ($1) ORDER BY pg_database_size(oid) DESC, datname',
    [databases],
  );
  const sorted = rows.map(({ name }) => name);
  // One that was dropped since is dumped too, and fails: nothing that was found is left out in silence.
  return [...sorted, ...databases.filter((name) => !sorted.includes(name))];
}

function own<T>(record: Record<string, T>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** Every database that was discovered is excluded by name or in the manifest, as it will be read again. */
function requireWhole(manifest: Manifest): void {
  const read = parseManifest(manifestText(manifest));
  if ('damaged' in read) throw new Error(`the manifest cannot be read again: ${read.damaged}`);
  const missing = manifest.discovered.filter(
    (name) => !manifest.excluded.includes(name) && !Object.hasOwn(read.databases, name),
  );
  if (missing.length > 0)
    throw new HomelabError(`not dumped: ${missing.map((name) => JSON.stringify(name)).join(', ')}`);
}

function requireSpace(lastBytes: number, freeBytes: number, root: string): void {
  if (freeBytes >= 2 * lastBytes) return;
  const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
  throw new HomelabError(
    `${root}: ${mib(freeBytes)} free; the last set has ${mib(lastBytes)}, and twice that is needed`,
    {
      fix: 'make room on the NAS, or lower backup.keep and run backup-postgres prune',
    },
  );
}

function noDumper(name: string, { version, major }: ServerFacts, found: readonly Installation[]): HomelabError {
  const have = found.length > 0 ? `only ${found.map((one) => one.version).join(', ')}` : 'none';
  return new HomelabError(
    `PostgreSQL ${name} is version ${version}; this machine has ${have}, and pg_dump must not be older than the server`,
    { fix: `apt install postgresql-${major} (macOS: brew install postgresql@${major})` },
  );
}
