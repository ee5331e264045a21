import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, connect as dial, type Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { installations } from '../lib/backup/clients.ts';
import { serverUser } from '../lib/backup/cluster.ts';
import { connect, type DatabaseAddress, inSession } from '../lib/backup/connect.ts';
import { takeServerLock } from '../lib/backup/lock.ts';
import { realExec } from '../lib/ports/exec.ts';
import { backupLab, postgresHere, type StartedLab } from './backup-harness.ts';

/** The lock in the server is worth something only where the session is the server's own, and the server the primary. */
const real = suite('backup: the lock in the server');
const one: StartedLab | undefined = (await postgresHere())
  ? await backupLab({ wal_level: 'replica', max_wal_senders: '4' })
  : undefined;
real.after(() => one?.close());
const test = (name: string, body: (lab: StartedLab) => Promise<void>): void => {
  if (one) real(name, () => body(one));
};
const taken = (address: DatabaseAddress): Promise<string> =>
  inSession(address, 'postgres', (client) => takeServerLock(client, 'main')).then(
    () => 'taken',
    (error) => `${error.message} (${error.fix})`,
  );

test('a lock that was released behind our back is not held', async (lab) => {
  const client = await connect(lab.pg.address, 'postgres');
  try {
    const lock = await takeServerLock(client, 'main');
    await lock.assertHeld();
    await client.query('SELECT pg_advisory_unlock_all()');
    const said = await lock.assertHeld().catch((error) => error.message);
    assert.match(String(said), /the lock is not held any more/);
  } finally {
    await client.end();
  }
});

test('a connection pooler is recognised: it tells another process than the one that answers', async (lab) => {
  const sockets: Socket[] = [];
  const pooler = createServer((socket) => {
    const server = dial(lab.pg.port, '127.0.0.1');
    sockets.push(socket, server);
    for (const end of [socket, server]) end.on('error', () => {});
    socket.pipe(server);
    server.on('data', (bytes) => socket.write(withOtherKey(bytes)));
  });
  pooler.listen(0, '127.0.0.1');
  await once(pooler, 'listening');
  const address = pooler.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const said = await taken({ ...lab.pg.address, port });
  for (const socket of sockets) socket.destroy();
  pooler.close();
  assert.match(said, /through a connection pooler.*\(name the server itself/);
  assert.is(await taken(lab.pg.address), 'taken');
});

/** BackendKeyData ("K", 12 bytes, process, key) with another process. */
function withOtherKey(bytes: Buffer): Buffer {
  const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
  if (at >= 0) bytes.writeUInt32BE(4_000_000, at + 5);
  return bytes;
}

test('a standby is refused: its data may be of any age, and its locks are its own', async (lab) => {
  const exec = realExec();
  const [tools] = (await installations(exec)).filter(({ version }) => version === lab.pg.version);
  if (!tools) throw new Error('the programs of the server are not here');
  const user = await serverUser(exec);
  const folder = mkdtempSync('/tmp/homelab-test-standby-');
  if (user.ids) chownSync(folder, user.ids.uid, user.ids.gid);
  const data = join(folder, 'data');
  writeFileSync(join(folder, 'pgpass'), `*:*:*:*:${lab.pg.password}\n`, { mode: 0o600 });
  if (user.ids) chownSync(join(folder, 'pgpass'), user.ids.uid, user.ids.gid);
  const source = `host=127.0.0.1 port=${lab.pg.port} user=${lab.pg.superuser}`;
  const copy = [...user.prefix, join(tools.folder, 'pg_basebackup'), '-D', data, '-R', '-c', 'fast', '-d', source];
  const copied = await exec.run(copy, { env: { PGPASSFILE: join(folder, 'pgpass') }, deadline: 60, cwd: folder });
  assert.is(copied.code, 0, copied.stderr);
  const settings = ['port=5432', 'listen_addresses=', 'hot_standby=on', 'primary_conninfo='];
  const [program = '', ...args] = [...user.prefix, join(tools.folder, 'postgres'), '-D', data, '-k', folder];
  const standby = spawn(program, [...args, ...settings.flatMap((one) => ['-c', one])], {
    stdio: 'ignore',
    cwd: folder,
  });
  const ended = once(standby, 'exit');
  try {
    const address = { ...lab.pg.address, host: folder, port: 5432 };
    let said = '';
    for (let i = 0; i < 300 && !/is a standby|^taken$/.test(said); i++) {
      await new Promise((done) => setTimeout(done, 100));
      said = await taken(address);
    }
    assert.match(said, /^PostgreSQL main is a standby \(pg_is_in_recovery\) \(name the primary/);
  } finally {
    standby.kill('SIGINT');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
});

real.run();
