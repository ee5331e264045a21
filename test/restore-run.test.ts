import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { inSession } from '../lib/backup/connect.ts';
import { quoteIdent } from '../lib/backup/names.ts';
import type { HomelabError } from '../lib/errors.ts';
import { ODD_DATABASES } from '../lib/lab/postgres.ts';
import type { Family, Script } from '../lib/main.ts';
import type { RestoreArgs, SeenRestore } from '../lib/plan/restore.ts';
import backup from '../scripts/backup-postgres.ts';
import restore from '../scripts/restore-postgres.ts';
import { backupLab, postgresHere, type Ran, runBeats, type StartedLab } from './backup-harness.ts';

/** Against a real PostgreSQL server. */
const real = suite('restore-postgres, for real');
const one: StartedLab | undefined = (await postgresHere()) ? await backupLab() : undefined;
real.after(() => one?.close());
const test = (name: string, body: (lab: StartedLab) => Promise<void>): void => {
  if (one) real(name, () => body(one));
};

const TABLE = '"Shop ""x"""."r"';
const script: Script<SeenRestore, RestoreArgs> = restore;
const run = (lab: StartedLab, args: Partial<RestoreArgs>): Promise<Ran<SeenRestore>> =>
  runBeats(lab, script, { server: 'main', database: 'app', ...args });
const blocker = ({ plan }: Ran<SeenRestore>): string => `${plan.notes[0]?.level}: ${plan.notes[0]?.text}`;
const query = async (lab: StartedLab, database: string, text: string): Promise<Record<string, string>[]> =>
  inSession(lab.pg.address, database, async (client) => (await client.query<Record<string, string>>(text)).rows);
const databases = async (lab: StartedLab): Promise<string[]> =>
  (await query(lab, 'postgres', 'SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1')).map((row) =>
    String(row.datname),
  );
const identifier = async (lab: StartedLab): Promise<string> =>
  String((await query(lab, 'postgres', 'SELECT system_identifier AS id FROM pg_control_system()'))[0]?.id);

test('without a proven set nothing is restored', async (lab) => {
  await lab.pg.seed(ODD_DATABASES);
  const backups: Family = backup;
  assert.is(blocker(await run(lab, {})), 'blocker: main has no proven set');
  const ran = await runBeats(lab, backups.commands[0] as Script<unknown>, {});
  assert.equal(ran.failures, {});
});

test('a restore goes into a fresh database, and leaves the old one alone', async (lab) => {
  await query(lab, 'app', `DELETE FROM ${TABLE} WHERE "r" > 10`);
  const before = await databases(lab);
  const ran = await run(lab, {});
  assert.equal(ran.failures, {});
  assert.equal(
    ran.applied.map(({ id }) => id),
    ['main/hash', 'main/restore', 'main/compare'],
  );
  const added = (await databases(lab)).filter((name) => !before.includes(name));
  assert.equal(added, [`app__restore_${ran.seen.runId}`]);
  assert.equal(await query(lab, added[0] ?? '', `SELECT count(*) FROM ${TABLE}`), [{ count: '2000' }]);
  assert.equal(await query(lab, 'app', `SELECT count(*) FROM ${TABLE}`), [{ count: '10' }]);
});

test('--swap asks for the system identifier, and refuses another', async (lab) => {
  assert.match(blocker(await run(lab, { swap: true })), /^blocker: --swap needs --system-identifier/);
  assert.match(
    blocker(await run(lab, { swap: true, systemIdentifier: '1' })),
    /--system-identifier 1 is not that of main/,
  );
});

test('--swap exchanges the names while sessions are open, and keeps the old database', async (lab) => {
  const session = inSession(lab.pg.address, 'app', (client) => client.query('SELECT pg_sleep(60)')).catch(String);
  const ran = await run(lab, { swap: true, systemIdentifier: await identifier(lab) });
  assert.match(String(await session), /terminat/);
  assert.equal(ran.failures, {});
  assert.equal(await query(lab, 'app', `SELECT count(*) FROM ${TABLE}`), [{ count: '2000' }]);
  const kept = (await databases(lab)).filter((name) => name.startsWith('app_before_'));
  assert.is(kept.length, 1);
  assert.equal(await query(lab, kept[0] ?? '', `SELECT count(*) FROM ${TABLE}`), [{ count: '10' }]);
});

test('owner, settings and missing roles come along', async (lab) => {
  const settings = await query(
    lab,
    'postgres',
    `SELECT unnest(setconfig) AS s, pg_get_userbyid(datdba) AS owner FROM pg_db_role_setting r JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'app' ORDER BY 1`,
  );
  assert.equal(settings, [
    { s: 'search_path=shop, public', owner: 'app_owner' },
    { s: 'work_mem=8MB', owner: 'app_owner' },
  ]);
  await query(lab, 'postgres', 'DROP DATABASE app');
  for (const name of (await databases(lab)).filter((one) => one !== 'postgres'))
    await query(lab, 'postgres', `DROP DATABASE ${quoteIdent(name)}`);
  await query(lab, 'postgres', `DROP ROLE "read ""only"""; DROP ROLE app_owner; DROP ROLE "d'Artagnan; --"`);
  const ran = await run(lab, { swap: true, systemIdentifier: await identifier(lab) });
  assert.equal(ran.failures, {});
  assert.equal(await databases(lab), ['app', 'postgres']);
  const grants = `SELECT pg_has_role('read "only"', 'app_owner', 'member') AS member, has_table_privilege('read "only"', '${TABLE}', 'SELECT') AS read`;
  assert.equal(JSON.stringify(await query(lab, 'app', grants)), '[{"member":true,"read":true}]');
});

test('a name that looks like a connection string or an option is a name', async (lab) => {
  for (const database of ['postgresql://evil', '--help', 'o\'Brien\'s "shop"', 'größe/../x']) {
    const ran = await run(lab, { database, swap: true, systemIdentifier: await identifier(lab) });
    assert.equal(ran.failures, {}, database);
    assert.equal(await query(lab, database, `SELECT count(*) FROM ${TABLE}`), [{ count: '2000' }]);
  }
});

test('a database that the set does not have, a set that is not there', async (lab) => {
  assert.match(blocker(await run(lab, { database: 'nope' })), /has no database "nope"/);
  assert.is(
    blocker(await run(lab, { set: '20200101T000000Z-00000000' })),
    'blocker: main has no set 20200101T000000Z-00000000',
  );
});

test('a damaged dump is refused before anything is made', async (lab) => {
  const sets = join(lab.root, 'main', await identifier(lab), 'sets');
  const dump = join(sets, readdirSync(sets)[0] ?? '', 'app.dump');
  const bytes = readFileSync(dump);
  writeFileSync(dump, bytes.subarray(0, bytes.length - 1));
  const before = await databases(lab);
  const ran = await run(lab, {});
  writeFileSync(dump, bytes);
  assert.equal(Object.keys(ran.failures), ['main/hash']);
  assert.match((ran.failures['main/hash'] as HomelabError).output ?? '', /^app\.dump: its SHA-256/);
  assert.equal(await databases(lab), before);
});

real.run();
