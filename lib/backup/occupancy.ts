import { HomelabError } from '../errors.ts';
import { OCCUPIED } from './catalog.ts';
import { connectServer, type DatabaseAddress, inSession } from './connect.ts';

/** What stands in the way of a restore: databases that have the names already. */
export type Occupancy = {
  /** By database: sessions on it now, and whether nothing is in it (a Service that was set up anew makes it so). */
  databases: Record<string, { sessions: number; empty: boolean }>;
};

/** @param names of which databases it is asked whether something is in them */
export async function occupancyOf(address: DatabaseAddress, names: readonly string[]): Promise<Occupancy> {
  const { client } = await connectServer(address);
  const databases: Occupancy['databases'] = {};
  try {
    const { rows } = await client.query<{ name: string; sessions: number }>(
      `SELECT d.datname AS name, count(a.pid)::int AS sessions
         FROM pg_database d LEFT JOIN pg_stat_activity a ON a.datname = d.datname AND a.pid <> pg_backend_pid()
        WHERE d.datname = ANY ($1) GROUP BY 1 ORDER BY 1`,
      [names],
    );
    for (const { name, sessions } of rows) databases[name] = { sessions, empty: await isEmpty(address, name) };
  } finally {
    await client.end().catch(() => {});
  }
  return { databases };
}

/** Whether a database holds nothing that anybody made. One that cannot be looked into counts as full. */
export async function isEmpty(address: DatabaseAddress, database: string): Promise<boolean> {
  try {
    return await inSession(address, database, async (client) => {
      const { rows } = await client.query<{ occupied: boolean }>(OCCUPIED);
      return rows[0]?.occupied === false;
    });
  } catch (error) {
    if (error instanceof HomelabError) return false;
    throw error;
  }
}
