import type { Client } from 'pg';
import { EXIT, HomelabError, messageOf } from '../errors.ts';

/** "homelab" in ASCII: the key of our advisory lock in the server that is backed up. */
const KEY = 0x686f6d656c6162n;

/**
 * One backup of a server at a time, from wherever it runs. The lock lives in the server and goes with its session,
 * so that a killed run leaves nothing stale.
 * @param client a session that is kept until the run's end
 * @throws HomelabError with exit code 75 that names the holder
 */
export async function takeServerLock(client: Client, server: string): Promise<{ assertHeld(): Promise<void> }> {
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
      try {
        await client.query('SELECT 1');
      } catch (error) {
        throw new HomelabError(`PostgreSQL ${server}: the session that holds the lock was lost: ${messageOf(error)}`, {
          cause: 'the server was restarted, or the connection to it broke',
        });
      }
    },
  };
}

/** Who holds the lock, in words. */
async function lockHolder(client: Client): Promise<string | undefined> {
  const { rows } = await client.query<{ pid: number; since: Date; address: string | null }>(
    `SELECT a.pid, a.backend_start AS since, host(a.client_addr) AS address
       FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.granted AND l.classid = $1 AND l.objid = $2`,
    [String(KEY >> 32n), String(KEY & 0xffffffffn)],
  );
  const [row] = rows;
  return (
    row && `server process ${row.pid}, from ${row.address ?? 'the server itself'}, since ${row.since.toISOString()}`
  );
}
