import { spawn } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { bundleEngine } from '../lib/backup/bundle.ts';
import { serverUser } from '../lib/backup/cluster.ts';
import { inSession } from '../lib/backup/connect.ts';
import { takeServerLock } from '../lib/backup/lock.ts';
import { parsePodConfig, podConfigText } from '../lib/backup/pod-config.ts';
import { resultIn } from '../lib/backup/pod-result.ts';
import { readSets } from '../lib/backup/sets.ts';
import { startScratchPostgres } from '../lib/lab/postgres.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { realFiles } from '../lib/ports/files.ts';
import { postgresHere } from './backup-harness.ts';
import { labWith } from './k3s-fixtures.ts';

/** The file that a pod runs, run as a pod runs it: plain Node, nobody's rights, nothing writable but its volumes. */
const test = suite('the bundle');

test('fits a ConfigMap, has the same bytes again, and needs nothing of node_modules', async () => {
  const bundle = await bundleEngine();
  // The API server reads what is applied as YAML, which has no control characters.
  assert.match(bundle.text, /^[\t\n\r\x20-\x7e]*$/);
  assert.ok(Buffer.byteLength(bundle.text) < 700_000, `${Buffer.byteLength(bundle.text)} bytes`);
  const { text } = await fresh();
  assert.is(text, bundle.text);
  assert.not.ok(bundle.text.includes(TOOLKIT));
});

/** Made anew, as another process makes it. */
async function fresh(): Promise<{ text: string }> {
  return (await import(`../lib/backup/bundle.ts?${Date.now()}`)).bundleEngine();
}

test('what a pod is told is checked where it is written and where it is read', () => {
  const { config } = labWith();
  const text = podConfigText(config, config.backup!, true);
  const read = parsePodConfig(text);
  assert.not('wrong' in read);
  assert.match(text, /"host": "postgresql.databases.svc"/);
  assert.not.match(text, /VMStorage|mount|cronjob|proxmox/);
  const wrong = parsePodConfig(text.replace('"schedule"', '"shedule"'));
  assert.match('wrong' in wrong ? wrong.wrong : '', /Unrecognized key: "shedule"/);
  assert.equal(parsePodConfig('{'), { wrong: 'it is not JSON' });
});

const here = await postgresHere();
const real = (name: string, body: (pod: Pod) => Promise<void>): void => {
  if (!here) return;
  test(name, async () => {
    const pod = await startPod();
    try {
      await body(pod);
    } finally {
      await pod.close();
    }
  });
};

type Ran = { code: number | null; stdout: string; stderr: string };
type Pod = {
  pg: Exclude<Awaited<ReturnType<typeof startScratchPostgres>>, { missing: string }>;
  /** A URL of its healthcheck. */
  monitor(path: string): string;
  volumes: Record<'target' | 'secrets' | 'memory' | 'scratch' | 'code', string>;
  run(options?: { onLine?: (line: string, end: (signal: NodeJS.Signals) => void) => void }): Promise<Ran>;
  /** What its healthcheck was told since it was asked last: path and body. */
  pings(): string[];
  sets(): ReturnType<typeof readSets>;
  close(): Promise<void>;
};

async function startPod(): Promise<Pod> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-pod-'));
  chmodSync(folder, 0o755);
  const ids = (await serverUser(realExec())).ids;
  const volumes = Object.fromEntries(
    ['target', 'secrets', 'memory', 'scratch', 'code'].map((name) => {
      const path = join(folder, name);
      mkdirSync(path);
      const own = name === 'target' || name === 'scratch';
      if (ids && own) chownSync(path, ids.uid, ids.gid);
      return [name, path];
    }),
  ) as Pod['volumes'];
  const data = join('/tmp', `${folder.split('/').at(-1)}-pg`);
  const pg = await startScratchPostgres(data);
  if ('missing' in pg) throw new Error(pg.missing);
  const told: string[] = [];
  const healthcheck = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      told.push(`${request.url} ${body}`);
      response.end();
    });
  });
  await new Promise<void>((done) => healthcheck.listen(0, '127.0.0.1', done));
  const { config } = labWith((draft) => {
    const [server] = draft.backup!.postgresql;
    draft.backup!.notify = { healthcheck: true, timeout_seconds: 20, failure: ['/a/program/of/a/machine'] };
    draft.backup!.postgresql = [{ ...server!, host: '127.0.0.1', port: pg.port }];
  });
  const write = (path: string, text: string): void => writeFileSync(path, text, { mode: 0o444 });
  write(join(volumes.code, 'backup.cjs'), (await bundleEngine()).text);
  write(join(volumes.code, 'config.json'), podConfigText(config, config.backup!, false));
  write(join(volumes.secrets, 'POSTGRES_MAIN_PASSWORD'), pg.password);
  const { port } = healthcheck.address() as AddressInfo;
  const monitor = (path: string): string => `http://127.0.0.1:${port}${path}`;
  write(join(volumes.secrets, 'BACKUP_HEALTHCHECK_URL'), monitor('/pod'));
  return {
    ...{ pg, monitor, volumes, pings: () => told.splice(0) },
    run: ({ onLine } = {}) =>
      new Promise((resolve) => {
        const args = [
          ...[join(volumes.code, 'backup.cjs'), '--config', join(volumes.code, 'config.json'), '--server', 'main'],
          ...['--secrets', volumes.secrets, '--target', volumes.memory],
          ...['--export', `synology/k3s-backups=${volumes.target}`],
        ];
        const child = spawn(process.execPath, args, {
          ...{ cwd: '/proc', uid: ids?.uid, gid: ids?.gid },
          env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', TMPDIR: volumes.scratch },
        });
        let stdout = '';
        let stderr = '';
        child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
        child.stderr.on('data', (chunk: Buffer) => {
          stderr += chunk.toString();
          onLine?.(chunk.toString(), (signal) => void child.kill(signal));
        });
        child.on('close', (code) => resolve({ code, stdout, stderr }));
      }),
    sets: () => readSets(realFiles(), join(volumes.target, 'postgresql'), 'main'),
    async close() {
      await new Promise((done) => healthcheck.close(done));
      await pg.stop();
      for (const path of [folder, data]) rmSync(path, { recursive: true, force: true });
    },
  };
}

real('makes a proven set, and says so in its last line', async ({ pg, run, sets, volumes, pings }) => {
  await pg.seed();
  const { code, stdout, stderr } = await run();
  assert.is(code, 0, stderr);
  const result = resultIn(stdout);
  const [set] = await sets();
  assert.is(set?.state, 'proven');
  assert.is(result?.set, set?.name);
  assert.ok((result?.proven?.rows ?? 0) > 2000);
  assert.match(result?.targets?.['backup-target.json'] ?? '', /^[0-9a-f-]{36}$/);
  assert.not.match(stdout + stderr, new RegExp(pg.password));
  assert.equal(readdirSync(volumes.scratch), [], 'nothing stays in the scratch volume');
  const [start = '', success = '', ...more] = pings();
  assert.match(start, /^\/pod\/start\?rid=\S+ backup of \S+ starts\n/);
  assert.match(
    success,
    new RegExp(`^/pod\\?rid=\\S+ backup of \\S+: all proven\n\nmain: fresh: ${set?.name} is proven`),
  );
  assert.is(start.split(' ')[0]?.split('rid=')[1], success.split(' ')[0]?.split('rid=')[1]);
  assert.equal(more, []);

  // A target whose id is known, and another one in its place.
  writeFileSync(
    join(volumes.memory, 'backup-target.json'),
    JSON.stringify({ id: result?.targets?.['backup-target.json'] }),
  );
  assert.is((await run()).code, 0);
  writeFileSync(join(volumes.memory, 'backup-target.json'), JSON.stringify({ id: 'another' }));
  const other = await run();
  assert.is(other.code, 1);
  assert.match(resultIn(other.stdout)?.error ?? '', /backups went to a target with the id another/);
  assert.match(other.stderr, /delete backup-target.json in the ConfigMap backup-target/);
});

real(
  'a wrong password, a second run, a folder that is not ours: each told by name',
  async ({ pg, run, monitor, volumes, pings }) => {
    const file = join(volumes.secrets, 'POSTGRES_MAIN_PASSWORD');
    rmSync(file);
    writeFileSync(file, 'not-the-password');
    const wrong = await run();
    assert.is(wrong.code, 1);
    assert.match(resultIn(wrong.stdout)?.error ?? '', /password authentication failed/);
    assert.match(wrong.stderr, /to fix: set POSTGRES_MAIN_PASSWORD/);
    assert.match(
      pings().at(-1) ?? '',
      /^\/pod\/fail\?rid=\S+ [\s\S]*main: dump: [\s\S]*to fix: set POSTGRES_MAIN_PASSWORD/,
    );
    rmSync(file);
    writeFileSync(file, pg.password);
    await inSession(pg.address, 'postgres', async (client) => {
      await takeServerLock(client, 'main');
      const second = await run();
      assert.is(second.code, 75);
      assert.match(resultIn(second.stdout)?.error ?? '', /is being backed up already/);
      assert.match(pings().at(-1) ?? '', /^\/pod\/fail\?rid=\S+ backup of \S+ failed \(exit code 75\)/);

      const url = join(volumes.secrets, 'BACKUP_HEALTHCHECK_URL');
      rmSync(url);
      writeFileSync(url, monitor('/api/push/t0ken?status=up&msg=OK&ping='));
      assert.is((await run()).code, 75);
      const [beat, ...others] = pings();
      assert.match(beat ?? '', /^\/api\/push\/t0ken\?status=down&msg=backup\+of\+\w+\+failed\S+&ping=\d+ $/);
      assert.equal(others, [], 'Uptime Kuma hears of the end only');
      rmSync(url);
      writeFileSync(url, monitor('/pod'));
    });
    if (process.getuid?.() !== 0) return;
    rmSync(join(volumes.target, 'postgresql'), { recursive: true, force: true });
    chownSync(volumes.target, 0, 0);
    const denied = await run();
    assert.is(denied.code, 1);
    assert.match(denied.stderr, /EACCES[\s\S]*run_as/);
  },
);

real('ends cleanly when it is told to, and says why', async ({ pg, run, sets, volumes, pings }) => {
  await pg.seed();
  let once = false;
  const ended = await run({
    onLine: (line, end) => {
      if (once || !line.includes('dump roles and databases')) return;
      once = true;
      setTimeout(() => end('SIGTERM'), 150);
    },
  });
  assert.is(ended.code, 143, ended.stderr);
  assert.match(resultIn(ended.stdout)?.error ?? '', /stopped by SIGTERM: the Job's deadline has passed/);
  assert.match(pings().at(-1) ?? '', /^\/pod\/fail\?rid=\S+ [\s\S]*ended by SIGTERM/);
  assert.equal(await sets(), []);
  assert.ok(existsSync(join(volumes.target, 'postgresql/.target.json')));
  assert.equal(readdirSync(volumes.scratch), []);
  assert.is((await run()).code, 0, 'the next run converges');
});

test.run();
