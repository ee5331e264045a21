import { randomUUID } from 'node:crypto';
import { type Installation, installations } from '../backup/clients.ts';
import { connectServer } from '../backup/connect.ts';
import { type Nas, nasOf } from '../backup/nas.ts';
import { withFilesThere } from '../backup/present.ts';
import { reachDatabase } from '../backup/reach.ts';
import { type ServerFacts, serverFacts } from '../backup/server-facts.ts';
import { type BackupSet, readSets } from '../backup/sets.ts';
import {
  type BackupLab,
  lookAtSecond,
  lookAtTarget,
  rememberedTarget,
  type TargetPlace,
  type TargetState,
  targetPlace,
  type Which,
} from '../backup/target.ts';
import { postgresPassword } from '../config/env.ts';
import type { Backup, PostgresServer } from '../config/schema.ts';
import { HomelabError, messageOf, UsageError } from '../errors.ts';
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
  /** Where homelab.yaml has a second target, and it was not the one that was asked for. */
  second?: SeenSecond;
  /** PostgreSQL programs of this machine; empty where they are not needed. */
  installations: Pick<Installation, 'major' | 'version' | 'server'>[];
};

/** The second target, and its copies by server. */
export type SeenSecond = Pick<SeenBackup, 'target' | 'remembered' | 'newId'> & { sets: Record<string, BackupSet[]> };

export type BackupArgs = {
  server?: string[];
  /** Which target is read; default: the first, and what the second holds too. */
  from?: Which;
  /** A file with a secret key of age, for what is encrypted. */
  identity?: string;
};

/** The target and its sets. */
export async function observeSets(
  lab: BackupLab,
  readers: Pick<Readers, 'files' | 'clock' | 'exec'>,
  args: BackupArgs,
  context: Pick<RunContext, 'endpoints'>,
): Promise<SeenBackup> {
  const backup = backupOf(lab.config);
  // A file that is none is told before anything is done.
  if (args.identity !== undefined) await (await import('../backup/age.ts')).readIdentity(args.identity);
  const place = targetPlace(lab, backup, context.endpoints, args.from);
  const files = nasOf(readers.files, backup.deadlines.nas_seconds, args.from);
  const target = await lookAtTarget(files, place);
  const servers = chosenServers(backup, args.server);
  return {
    now: readers.clock.now().getTime(),
    target,
    remembered: (await rememberedTarget(readers.files, place)) !== undefined,
    newId: randomUUID(),
    installations: await installations(readers.exec),
    servers: await Promise.all(servers.map(({ name }) => observeTargetOf(name, { files }, target, place))),
    second: args.from === undefined ? await observeSecond(lab, readers, servers, target, context) : undefined,
  };
}

async function observeSecond(
  lab: BackupLab,
  readers: Pick<Readers, 'files'>,
  servers: readonly PostgresServer[],
  first: TargetState,
  { endpoints }: Pick<RunContext, 'endpoints'>,
): Promise<SeenSecond | undefined> {
  const backup = backupOf(lab.config);
  if (!backup.second_target) return undefined;
  const place = targetPlace(lab, backup, endpoints, 'second');
  const files = nasOf(readers.files, backup.deadlines.nas_seconds, 'second');
  const target = await lookAtSecond(files, place, first);
  const sets = await Promise.all(
    servers.map(async ({ name }) => [name, (await observeTargetOf(name, { files }, target, place)).sets] as const),
  );
  return {
    target,
    remembered: (await rememberedTarget(readers.files, place)) !== undefined,
    newId: randomUUID(),
    sets: Object.fromEntries(sets),
  };
}

/** The same, and what the servers say. */
export async function observeBackup(
  lab: BackupLab,
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

/** All, or those that are named. @throws UsageError for a name that homelab.yaml does not have, and for none */
export function chosenServers(backup: Backup, names?: readonly string[]): PostgresServer[] {
  if (!names) return backup.postgresql;
  // An empty variable of a script must not stand for every server.
  if (names.length === 0) throw new UsageError('--server: name at least one server; left out, every server is meant');
  const known = backup.postgresql.map(({ name }) => name);
  for (const name of names)
    if (!known.includes(name))
      throw new UsageError(`--server ${name}: backup.postgresql has no such server; ${suggestion(name, known)}`);
  return backup.postgresql.filter(({ name }) => names.includes(name));
}

/** The one that is named, or the only one. @throws UsageError for a name that homelab.yaml does not have, and where there are several */
export function theServer(backup: Backup, name?: string): PostgresServer {
  const [server, ...others] = chosenServers(backup, name === undefined ? undefined : [name]);
  if (server && others.length === 0) return server;
  const known = backup.postgresql.map((one) => one.name).join(', ');
  throw new UsageError(`which server is meant? backup.postgresql has ${known}`, { fix: 'add --server NAME' });
}

async function observeTargetOf(
  name: string,
  { files }: { files: Nas },
  target: TargetState,
  place: TargetPlace,
): Promise<SeenServer> {
  return { name, sets: target.ok ? await withFilesThere(files, await readSets(files, place.root, name)) : [] };
}

/** A server that cannot be reached, or refuses us, is a value. */
export async function observeDatabase(
  readers: Pick<Readers, 'kube' | 'ssh'>,
  server: PostgresServer,
  { secrets, endpoints }: Pick<RunContext, 'secrets' | 'endpoints'>,
): Promise<SeenDatabase> {
  const reached = await reachDatabase(readers, server, secrets.get(postgresPassword(server.name)), endpoints);
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
