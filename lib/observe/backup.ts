import { randomUUID } from 'node:crypto';
import { type Installation, installations } from '../backup/clients.ts';
import { connectServer } from '../backup/connect.ts';
import { reachDatabase } from '../backup/reach.ts';
import { type ServerFacts, serverFacts } from '../backup/server-facts.ts';
import { type BackupSet, readSets } from '../backup/sets.ts';
import { lookAtTarget, rememberedTarget, type TargetPlace, type TargetState, targetPlace } from '../backup/target.ts';
import { postgresPassword } from '../config/env.ts';
import type { Backup, PostgresServer } from '../config/schema.ts';
import { HomelabError, messageOf, UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import type { Readers } from '../ports/types.ts';
import { suggestion } from '../suggest.ts';

/** What a server says of itself, or why it does not. */
export type SeenDatabase = ({ ok: true } & ServerFacts) | { ok: false; reason: string; fix?: string };

export type SeenServer = {
  name: string;
  /** Left out by the commands that read the target only. */
  database?: SeenDatabase;
  /** All lineages, newest first. */
  sets: BackupSet[];
};

export type SeenBackup = {
  /** Milliseconds since 1970. */
  now: number;
  target: TargetState;
  /** Whether this machine has seen the target before. */
  remembered: boolean;
  /** The id that a new target gets. */
  newId: string;
  servers: SeenServer[];
  /** PostgreSQL programs of this machine; empty where they are not needed. */
  installations: Pick<Installation, 'major' | 'version' | 'server'>[];
};

export type BackupArgs = { server?: string[] };

/** The target and its sets. */
export async function observeSets(
  lab: Lab,
  readers: Pick<Readers, 'files' | 'clock' | 'exec'>,
  args: BackupArgs,
  context: Pick<RunContext, 'endpoints'>,
): Promise<SeenBackup> {
  const backup = backupOf(lab.config);
  const place = targetPlace(lab, backup, context.endpoints);
  const target = await lookAtTarget(readers.files, place);
  const servers = chosenServers(backup, args.server);
  return {
    now: readers.clock.now().getTime(),
    target,
    remembered: (await rememberedTarget(readers.files, place)) !== undefined,
    newId: randomUUID(),
    installations: await installations(readers.exec),
    servers: await Promise.all(servers.map(({ name }) => observeTargetOf(name, readers, target, place))),
  };
}

/** The same, and what the servers say. */
export async function observeBackup(
  lab: Lab,
  readers: Pick<Readers, 'files' | 'clock' | 'exec' | 'kube' | 'ssh'>,
  args: BackupArgs,
  context: Pick<RunContext, 'endpoints' | 'secrets'>,
): Promise<SeenBackup> {
  const seen = await observeSets(lab, readers, args, context);
  const configured = backupOf(lab.config).postgresql;
  const servers = await Promise.all(
    seen.servers.map(async (one) => {
      const server = configured.find(({ name }) => name === one.name);
      return server ? { ...one, database: await observeDatabase(readers, server, context) } : one;
    }),
  );
  return { ...seen, servers };
}

/** @throws UsageError for a name that homelab.yaml does not have */
export function chosenServers(backup: Backup, names: readonly string[] = []): PostgresServer[] {
  const known = backup.postgresql.map(({ name }) => name);
  for (const name of names)
    if (!known.includes(name))
      throw new UsageError(`--server ${name}: backup.postgresql has no such server; ${suggestion(name, known)}`);
  return backup.postgresql.filter(({ name }) => names.length === 0 || names.includes(name));
}

async function observeTargetOf(
  name: string,
  { files }: Pick<Readers, 'files'>,
  target: TargetState,
  place: TargetPlace,
): Promise<SeenServer> {
  return { name, sets: target.ok ? await readSets(files, place.root, name) : [] };
}

/** A server that cannot be reached, or refuses us, is a value. */
export async function observeDatabase(
  readers: Pick<Readers, 'kube' | 'ssh'>,
  server: PostgresServer,
  { secrets }: Pick<RunContext, 'secrets'>,
): Promise<SeenDatabase> {
  const reached = await reachDatabase(readers, server, secrets.get(postgresPassword(server.name)));
  if (!reached.ok) return reached;
  try {
    const { client } = await connectServer(reached.value.address);
    try {
      return { ok: true, ...(await serverFacts(client)) };
    } finally {
      await client.end().catch(() => {});
    }
  } catch (error) {
    if (error instanceof HomelabError) return { ok: false, reason: messageOf(error), fix: error.fix };
    throw error;
  } finally {
    await reached.value.close();
  }
}
