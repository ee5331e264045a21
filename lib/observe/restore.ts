import { randomBytes } from 'node:crypto';
import { nasOf } from '../backup/nas.ts';
import { type Occupancy, occupancyOf } from '../backup/occupancy.ts';
import { reachDatabase } from '../backup/reach.ts';
import { type BackupSet, readOneSet } from '../backup/sets.ts';
import { targetPlace } from '../backup/target.ts';
import { postgresPassword } from '../config/env.ts';
import type { PostgresServer } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { newestProven } from '../plan/backup-newest.ts';
import type { RestoreArgs, SeenRestore } from '../plan/restore.ts';
import type { Readers } from '../ports/types.ts';
import { observeBackup, type SeenBackup, theServer } from './backup.ts';

/** The target with its sets, the server into which something is restored, and what has the names there. */
export async function observeRestore(
  lab: Lab,
  readers: Pick<Readers, 'files' | 'clock' | 'exec' | 'kube' | 'ssh'>,
  args: RestoreArgs,
  context: Pick<RunContext, 'endpoints' | 'secrets'>,
): Promise<SeenRestore> {
  const server = theServer(backupOf(lab.config), args.server);
  const seen = await observeBackup(lab, readers, { ...args, server: [server.name] }, context);
  const place = targetPlace(lab, backupOf(lab.config), context.endpoints, args.from);
  const nas = nasOf(readers.files, backupOf(lab.config).deadlines.nas_seconds, args.from);
  const sets = await Promise.all(
    (seen.servers[0]?.sets ?? []).map(async (set) =>
      set.name === args.set ? ((await readOneSet(nas, place.root, set.server, set.lineage, set.name)) ?? set) : set,
    ),
  );
  return {
    ...seen,
    servers: await Promise.all(seen.servers.map(async (one) => ({ ...one, sets: await opened(sets, args) }))),
    runId: randomBytes(4).toString('hex'),
    there: seen.target.ok ? (await nas.list(place.root)).filter((name) => !/^[.@#]/.test(name)).sort() : [],
    occupancy: await occupancy(readers, server, seen, context),
  };
}

/** With their manifests, the encrypted sets that may be meant, where they can be decrypted. */
async function opened(sets: BackupSet[], { set: name, identity: file }: RestoreArgs): Promise<BackupSet[]> {
  if (file === undefined) return sets;
  const { readIdentity } = await import('../backup/age.ts');
  const { openManifest } = await import('../backup/seal.ts');
  const identity = await readIdentity(file);
  const newest = [...new Set(sets.map(({ lineage }) => lineage))].map((lineage) => newestProven(sets, lineage)?.name);
  return Promise.all(
    sets.map(async (set) => {
      if (!set.encrypted || !(name ? set.name === name : newest.includes(set.name))) return set;
      const { manifest } = await openManifest(set, identity);
      return { ...set, manifest, databases: Object.keys(manifest.databases) };
    }),
  );
}

async function occupancy(
  readers: Pick<Readers, 'kube' | 'ssh'>,
  server: PostgresServer,
  { servers }: SeenBackup,
  { secrets, endpoints }: Pick<RunContext, 'secrets' | 'endpoints'>,
): Promise<Occupancy> {
  const database = servers[0]?.database;
  if (!database?.ok) return { databases: {} };
  const reached = await reachDatabase(readers, server, secrets.get(postgresPassword(server.name)), endpoints);
  if (!reached.ok) return { databases: {} };
  try {
    return await occupancyOf(
      reached.value.address,
      database.databases.map(({ name }) => name),
    );
  } finally {
    await reached.value.close();
  }
}
