import { randomBytes } from 'node:crypto';
import type { Client } from 'pg';
import type { Backup, PostgresServer } from '../config/schema.ts';
import { HomelabError } from '../errors.ts';
import { newestProven, setsToRemove } from '../plan/backup.ts';
import { alarms } from '../plan/backup-alarms.ts';
import type { Exec, FilesReader } from '../ports/types.ts';
import { dumpersFor, type Installation } from './clients.ts';
import { connectServer, programEnvironment } from './connect.ts';
import { dumpDatabase, dumpGlobals } from './dump.ts';
import { takeServerLock } from './lock.ts';
import { type Manifest, manifestText, parseManifest } from './manifest.ts';
import { setName } from './names.ts';
import { proveSet } from './prove.ts';
import { openIncoming, pointLatest, publishSet, removeSet, writeReport } from './publish.ts';
import type { Reached } from './reach.ts';
import { makeScratch, type Scratch, sweepScratch } from './scratch.ts';
import { type ServerFacts, selectDatabases, serverFacts } from './server-facts.ts';
import { lineageFolder, readLineage, readSets } from './sets.ts';

/** What a backup of one server needs; how the server is reached is not the engine's business. */
export type JobContext = {
  exec: Exec;
  files: FilesReader;
  lab: string;
  backup: Backup;
  server: PostgresServer;
  installations: readonly Installation[];
  reach: () => Promise<Reached>;
  /** The target, looked at anew. @throws HomelabError when it is not there, or not ours */
  target: () => Promise<{ root: string; freeBytes: number }>;
  now: () => Date;
};

/** The beats of one server's backup, to be called in this order; a failure ends what the job holds. */
export type BackupJob = Record<'dump' | 'publish' | 'prove' | 'compare' | 'prune', () => Promise<void>> & {
  close(): Promise<void>;
};

/** Seconds for one program; a table that is locked ends it far sooner. */
const PROGRAM_SECONDS = 4 * 3600;

type Started = {
  reached: Reached;
  client: Client;
  lock: { assertHeld(): Promise<void> };
  scratch: Scratch;
  facts: ServerFacts;
  maintenance: string;
};
type Dumped = { root: string; lineage: string; incoming: string; name: string; manifest: Manifest };

/** A job for one run and server; nothing is opened before `dump`. */
export function backupJob(context: JobContext): BackupJob {
  const { files, exec, backup, server, installations } = context;
  let started: Started | undefined;
  let dumped: Dumped | undefined;
  let published = '';

  const close = async (): Promise<void> => {
    const ending = started;
    started = undefined;
    await ending?.client.end().catch(() => {});
    await ending?.reached.close();
    ending?.scratch.remove();
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
  const now = (): Dumped => {
    if (!dumped) throw new Error('nothing was dumped');
    return dumped;
  };

  return {
    close,
    dump: guarded(async () => {
      const { root, freeBytes } = await context.target();
      sweepScratch();
      started = await start(context);
      dumped = await dumpSet(context, started, root, freeBytes);
    }),
    publish: guarded(async () => {
      const { lineage, incoming, name, manifest } = now();
      await started?.lock.assertHeld();
      await context.target();
      published = await publishSet(lineage, incoming, name, manifest);
    }),
    prove: guarded(async () => {
      const { root, name, manifest } = now();
      const place = { name, folder: published, manifest };
      const report = await proveSet({ exec, installations, deadline: PROGRAM_SECONDS }, place);
      await context.target();
      await writeReport(published, report);
      if (!report.ok)
        throw new HomelabError(`${name} was published, and could not be proven`, {
          output: report.problems.join('\n'),
          cause: 'a restore of it fails, or does not hold what was dumped; it stays, unproven, and LATEST is as it was',
        });
      await pointLatest(files, root, { server: server.name, lineage: manifest.system_identifier });
    }),
    compare: guarded(async () => {
      const { root, name, manifest } = now();
      const sets = await readSets(files, root, server.name);
      const lineage = sets.filter((set) => set.lineage === manifest.system_identifier && set.name !== name);
      const others = new Set(sets.map((set) => set.lineage)).size - 1;
      const found = alarms(manifest, newestProven(lineage)?.manifest, others);
      if (found.length > 0)
        throw new HomelabError(`${name} is proven, but ${found.join('; ')}`, {
          cause: 'the server may have lost data; nothing was deleted',
          fix: 'look at the server; when this is right, the next run compares with this set, and passes',
        });
    }),
    prune: guarded(async () => {
      const { lineage, manifest } = now();
      const { root } = await context.target();
      const sets = await readLineage(files, root, server.name, manifest.system_identifier);
      for (const set of setsToRemove(sets, backup, context.now().getTime())) await removeSet(lineage, set);
    }, true),
  };
}

/** Reaches the server, takes its lock, and checks that a dump of it can be whole. */
async function start({ reach, server }: JobContext): Promise<Started> {
  const reached = await reach();
  let client: Client | undefined;
  try {
    const session = await connectServer(reached.address);
    client = session.client;
    const lock = await takeServerLock(client, server.name);
    const facts = await serverFacts(client);
    if (!facts.superuser)
      throw new HomelabError(`PostgreSQL ${server.name}: ${server.user} is not a superuser`, {
        cause: 'without it large objects, roles and rows behind row-level security would be left out',
        fix: `name a superuser under backup.postgresql[].user`,
      });
    return { reached, client, lock, facts, scratch: makeScratch(), maintenance: session.database };
  } catch (error) {
    await client?.end().catch(() => {});
    await reached.close();
    throw error;
  }
}

async function dumpSet(context: JobContext, started: Started, root: string, freeBytes: number): Promise<Dumped> {
  const { server, installations, files } = context;
  const { facts, reached, scratch } = started;
  const tools = dumpersFor(facts.major, installations);
  if (!tools) throw noDumper(server.name, facts, installations);
  const begun = context.now();
  const runId = randomBytes(4).toString('hex');
  const selected = selectDatabases(server.name, facts, server.exclude);
  const sets = await readLineage(files, root, server.name, facts.systemIdentifier);
  const previous = sets.sort((a, b) => b.time - a.time)[0];
  requireSpace(previous?.bytes ?? 0, freeBytes, root);

  const lineage = lineageFolder(root, server.name, facts.systemIdentifier);
  const incoming = await openIncoming(lineage, runId);
  const env = programEnvironment(reached.address, scratch.path);
  const dumping = {
    exec: context.exec,
    tools,
    address: reached.address,
    env,
    folder: incoming,
    deadline: PROGRAM_SECONDS,
  };
  const globals = await dumpGlobals(dumping, started.maintenance);
  const databases: [string, Manifest['databases'][string]][] = [];
  for (const name of selected.dump) databases.push([name, await dumpDatabase(dumping, name)]);

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
    databases: Object.fromEntries(databases),
    globals,
    previous: previous?.name ?? null,
  };
  requireWhole(manifest);
  return { root, lineage, incoming, name: setName(begun, runId), manifest };
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
