import type { Client } from 'pg';
import { EXIT, HomelabError, messageOf } from '../errors.ts';

/** "homelab" in ASCII: the key of our advisory lock in the server that is backed up. */
const KEY = 0x686f6d656c6162n;

/**
 * One backup of a server at a time, from wherever it runs. The lock lives in the server and goes with its session,
 * so that a killed run leaves nothing stale.
 * @param client a session that is kept until the run's end
 * @throws HomelabError with exit code 75 that names the holder; another one where the lock would not be the server's
 */
export async function takeServerLock(client: Client, server: string): Promise<{ assertHeld(): Promise<void> }> {
  await requireOwnSession(client, server);
  const { rows } = await client.query<{ taken: boolean }>('SELECT pg_try_advisory_lock($1) AS taken', [String(KEY)]);
  if (!rows[0]?.taken) {
    const holder = await lockHolder(client);
    throw new HomelabError(`PostgreSQL ${server} is being backed up already${holder ? ` (${holder})` : ''}`, {
      exit: EXIT.locked,
      fix: 'wait until that run has ended',
    });
  }
  return {
    async assertHeld() {
      let held: boolean;
      try {
        held = (await client.query(HELD, WORDS)).rowCount === 1;
      } catch (error) {
        throw new HomelabError(`PostgreSQL ${server}: the session that holds the lock was lost: ${messageOf(error)}`, {
          cause: 'the server was restarted, or the connection to it broke',
        });
      }
      if (!held)
        throw new HomelabError(`PostgreSQL ${server}: the lock is not held any more`, {
          cause: 'something between here and the server ended or exchanged the session',
        });
    },
  };
}

/** The key's two halves, as pg_locks has them. */
const WORDS = [String(KEY >> 32n), String(KEY & 0xffffffffn)];
const HELD = `SELECT FROM pg_locks
  WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() AND classid = $1 AND objid = $2 AND objsubid = 1`;

/**
 * A standby has locks of its own, and may have stopped to replay long ago: its data would pass for today's. A pooler
 * gives each transaction another session, so that a lock, and settings, are not this one's.
 */
async function requireOwnSession(client: Client, server: string): Promise<void> {
  const { rows } = await client.query<{ pid: number; standby: boolean }>(
    'SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby',
  );
  if (rows[0]?.standby)
    throw new HomelabError(`PostgreSQL ${server} is a standby (pg_is_in_recovery)`, {
      cause: 'what it has may be old: nothing says whether it still follows its primary',
      fix: `name the primary under backup.postgresql; in a cluster the Service that leads to it (often …-rw)`,
    });
  // What the server said when the session began: a pooler makes up its own.
  const { processID } = client as Client & { processID?: number };
  if (processID !== undefined && processID !== null && processID !== rows[0]?.pid)
    throw new HomelabError(`PostgreSQL ${server} is reached through a connection pooler (such as PgBouncer)`, {
      cause: 'locks, snapshots and settings of a session do not hold there',
      fix: 'name the server itself under backup.postgresql',
    });
}

/** Who holds the lock, in words. */
async function lockHolder(client: Client): Promise<string | undefined> {
  const { rows } = await client.query<{ pid: number; since: Date; address: string | null }>(
    `SELECT a.pid, a.backend_start AS since, host(a.client_addr) AS address
       FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2`,
    WORDS,
  );
  const [row] = rows;
  return (
    row && `server process ${row.pid}, from ${row.address ?? 'the server itself'}, since ${row.since.toISOString()}`
  );
}
