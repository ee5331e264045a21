import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import type { Client } from 'pg';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inSession } from '../lib/backup/connect.ts';
import type { HomelabError } from '../lib/errors.ts';
import { type ScratchPostgres, startScratchPostgres } from '../lib/lab/postgres.ts';
import type { Family, Script } from '../lib/main.ts';
import backup from '../scripts/backup-postgres.ts';
import restore from '../scripts/restore-postgres.ts';
import { attach, backupLab, postgresHere, runBeats, type StartedLab } from './backup-harness.ts';
import { ownTmp, withNamespaces } from './namespaces/enter.ts';

/** A restore into a server whose disk is too small for it. */
const disk = suite('restore-postgres, into a full disk');
const SMALL = '/tmp/small-disk';

withNamespaces(disk, import.meta.url, () => {
  let lab: StartedLab | undefined;
  let pg: ScratchPostgres | { missing: string };
  disk.before(async () => {
    if (!(await postgresHere())) return;
    ownTmp();
    lab = await backupLab();
    await lab.pg.seed(['app']);
    await inSession(lab.pg.address, 'app', (client) =>
      client
        .query('CREATE TABLE public.wide AS SELECT i, md5(i::text) FROM generate_series(1, 400000) i')
        .then(() => {}),
    );
    const family: Family = backup;
    assert.equal((await runBeats(lab, family.commands[0] as Script<unknown>, {})).failures, {});
    mkdirSync(SMALL);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', SMALL]);
    pg = await startScratchPostgres(SMALL, { password: lab.pg.password });
  });
  disk.after(async () => {
    if (pg && 'stop' in pg) await pg.stop();
    await lab?.close();
  });

  for (const free of [3, 14])
    disk(`${free} MiB are free: the disk is named, nothing is renamed, and what is left can be removed`, async () => {
      if (!lab || 'missing' in pg) return;
      const server = pg;
      const { bavail, bsize } = statfsSync(SMALL);
      writeFileSync(`${SMALL}/ballast`, Buffer.alloc(bavail * bsize - free * 2 ** 20));
      const ran = await runBeats(attach(lab.folder, pg.port), restore, {
        ...{ server: 'main', database: ['app'], of: await identifier(lab) },
      });
      rmSync(`${SMALL}/ballast`);
      assert.equal(Object.keys(ran.failures), ['main/app/restore']);
      const error = ran.failures['main/app/restore'] as HomelabError;
      const said = `${error.message} ${error.output}`;
      // Where it was the log that found no room, and not in our session, the server ends that: why, its own log knows.
      if (!/closed the connection|terminating connection|terminated/.test(said)) {
        assert.match(said, /No space left on device|Check free disk space/i);
        assert.match(error.likelyCause ?? '', /the disk of the PostgreSQL server is full/);
      }
      const [, drop = ''] =
        /nothing was renamed; to remove it: (DROP DATABASE IF EXISTS "app__restore_\w+")/.exec(error.fix ?? '') ?? [];
      const names = await patiently(server, async (client) => {
        await client.query(drop);
        return (await client.query<{ datname: string }>('SELECT datname FROM pg_database ORDER BY 1')).rows;
      });
      assert.equal(
        names.map(({ datname }) => datname),
        ['postgres', 'template0', 'template1'],
      );
    });
});

/** A server that ended for want of room starts again by itself. */
async function patiently<T>({ address }: ScratchPostgres, work: (client: Client) => Promise<T>): Promise<T> {
  for (let i = 0; ; i++) {
    try {
      return await inSession(address, 'postgres', work);
    } catch (error) {
      if (i === 100) throw error;
      await new Promise((done) => setTimeout(done, 200));
    }
  }
}

async function identifier({ pg }: StartedLab): Promise<string> {
  return inSession(pg.address, 'postgres', async (client) => {
    const { rows } = await client.query<{ id: string }>(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    return rows[0]?.id ?? '';
  });
}

disk.run();
