import type { Client } from 'pg';
import { HomelabError } from '../errors.ts';
import { connectServer, endSession } from './connect.ts';
import type { JobContext } from './job-context.ts';
import { takeServerLock } from './lock.ts';
import type { Reached } from './reach.ts';
import { makeScratch, type Scratch } from './scratch.ts';
import { type ServerFacts, serverFacts } from './server-facts.ts';

/** What a job holds of its server from the first beat to the last. */
export type ServerSession = {
  reached: Reached;
  client: Client;
  lock: { assertHeld(): Promise<void> };
  scratch: Scratch;
  facts: ServerFacts;
  maintenance: string;
};

/** Reaches the server, takes its lock, and checks that a dump of it can be whole. */
export async function openServer({ reach, server }: Pick<JobContext, 'reach' | 'server'>): Promise<ServerSession> {
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
    if (client) await endSession(client);
    await reached.close();
    throw error;
  }
}

/** Gives back the lock, the way to the server and the temporary files. */
export async function closeServer({ client, reached, scratch }: ServerSession): Promise<void> {
  await endSession(client);
  await reached.close();
  scratch.remove();
}
