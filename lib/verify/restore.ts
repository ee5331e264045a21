import { OWN_TABLES } from '../backup/catalog.ts';
import { inSession } from '../backup/connect.ts';
import { spelled } from '../backup/names.ts';
import { reachDatabase } from '../backup/reach.ts';
import { postgresPassword } from '../config/env.ts';
import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { theServer } from '../observe/backup.ts';
import { chosenFor, type RestoreArgs, type SeenRestore } from '../plan/restore.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** Each restored database answers under the name that it should have now, as its owner left it. */
export async function verifyRestore(
  lab: Lab,
  ports: Ports,
  args: RestoreArgs,
  { secrets, endpoints }: Pick<RunContext, 'secrets' | 'endpoints'>,
  seen: SeenRestore,
): Promise<Proof[]> {
  const chosen = chosenFor(seen, args);
  const server = theServer(backupOf(lab.config), args.server);
  if (!chosen) return [];
  const reached = await reachDatabase(ports, server, secrets.get(postgresPassword(server.name)), endpoints);
  if (!reached.ok) return [{ claim: `${server.name} answers`, ok: false, detail: reached.reason }];
  try {
    const proofs: Proof[] = [];
    for (const { database, into, over } of chosen.all) {
      const name = over === undefined ? into : database;
      const dumped = chosen.manifest.databases[database];
      const tables = Object.keys(dumped?.tables ?? {}).length;
      const claim = `${spelled(name)} holds what ${chosen.set.name} has of ${spelled(database)}`;
      try {
        const found = await inSession(reached.value.address, name, async (client) => {
          const { rowCount } = await client.query(OWN_TABLES);
          const { rows } = await client.query<{ owner: string }>(
            'SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = current_database()',
          );
          return { tables: rowCount ?? 0, owner: rows[0]?.owner ?? '' };
        });
        // Rows were compared before the rename; since then applications may have written.
        const detail = `${found.tables} of ${tables} tables, its owner is ${found.owner}`;
        proofs.push({ claim, ok: found.tables >= tables && found.owner === dumped?.owner, detail });
      } catch (error) {
        proofs.push({ claim, ok: false, detail: messageOf(error) });
      }
    }
    return proofs;
  } finally {
    await reached.value.close();
  }
}
