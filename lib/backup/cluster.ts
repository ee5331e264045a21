import { chownSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { within } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import { lastLines } from '../ports/exec.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import type { Secret } from '../secret.ts';
import type { Installation } from './clients.ts';
import { connect, type DatabaseAddress } from './connect.ts';
import { postmasterOf, scratchBase } from './scratch.ts';

/** A PostgreSQL server of our own, on this machine: for proofs, and for the embedded lab. */
export type Cluster = { address: DatabaseAddress; stop(): Promise<void> };

export type ClusterOptions = {
  /** A folder of its own; holds `data` and the socket. What is in it already is started again. */
  folder: string;
  /** The role that initdb makes. */
  superuser: string;
  /** On TCP it is asked for; on the socket, whose folder nobody else can enter, it is not. */
  password?: Secret;
  /** Listens on 127.0.0.1 too. */
  tcpPort?: number;
  settings?: Record<string, string>;
};

const START_SECONDS = 60;
const STOP_SECONDS = 20;
/** The port is part of the socket's name only. */
const SOCKET_PORT = 5432;

/**
 * Makes and starts a server. Ours to stop: it runs as a child, and as an unprivileged user where we are root.
 * @throws HomelabError with the server's own last words
 */
export async function startCluster(exec: Exec, tools: Installation, options: ClusterOptions): Promise<Cluster> {
  const { folder, superuser, password, tcpPort, settings = {} } = options;
  const data = join(folder, 'data');
  const user = await serverUser(exec);
  const run = (program: string, args: string[], deadline?: number): Promise<Outcome> =>
    exec.run([...user.prefix, join(tools.folder, program), ...args], {
      cwd: folder,
      env: { LC_ALL: 'C', TZ: 'UTC' },
      deadline,
    });
  mkdirSync(data, { recursive: true, mode: 0o700 });
  if (user.ids) for (const path of [folder, data]) chownSync(path, user.ids.uid, user.ids.gid);
  if (!existsSync(join(data, 'PG_VERSION')))
    await init(run, data, { superuser, password, ids: user.ids, major: tools.major });
  await endLeftover(data);

  const port = tcpPort ?? SOCKET_PORT;
  const all = { listen_addresses: tcpPort ? '127.0.0.1' : '', port: String(port), ...UNSAFE_AND_FAST, ...settings };
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const ended = run('postgres', ['-D', data, '-k', folder, ...flags]);
  const address: DatabaseAddress = { name: 'throw-away server', host: folder, port, user: superuser };
  try {
    await started(address, ended);
  } catch (error) {
    await stop(data, ended);
    throw error;
  }
  return { address, stop: () => stop(data, ended) };
}

/** What it holds can be made again: nothing needs to survive a power cut. */
const UNSAFE_AND_FAST = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '2GB',
  shared_buffers: '64MB',
  maintenance_work_mem: '128MB',
};

/** How programs are run that refuse to run as root. */
export async function serverUser(exec: Exec): Promise<{ prefix: string[]; ids?: { uid: number; gid: number } }> {
  if (process.getuid?.() !== 0) return { prefix: [] };
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => exec.run(['id', flag, name], { deadline: 10 })));
    if (uid?.code !== 0 || gid?.code !== 0) continue;
    const ids = { uid: Number(uid.stdout), gid: Number(gid.stdout) };
    if (exec.which('setpriv'))
      return { prefix: ['setpriv', `--reuid=${ids.uid}`, `--regid=${ids.gid}`, '--clear-groups', '--'], ids };
    if (exec.which('runuser')) return { prefix: ['runuser', '-u', name, '--'], ids };
  }
  throw new HomelabError('a PostgreSQL server cannot run as root, and there is no user for it', {
    fix: 'run this as an unprivileged user, or install util-linux (setpriv)',
  });
}

async function init(
  run: (program: string, args: string[], deadline?: number) => Promise<Outcome>,
  data: string,
  {
    superuser,
    password,
    ids,
    major,
  }: { superuser: string; password?: Secret; ids?: { uid: number; gid: number }; major: number },
): Promise<void> {
  const pwfile = join(dirname(data), 'password.init');
  if (password) {
    writeFileSync(pwfile, `${password.reveal()}\n`, { mode: 0o600 });
    if (ids) chownSync(pwfile, ids.uid, ids.gid);
  }
  try {
    const { code, stdout, stderr } = await run(
      'initdb',
      [
        ...['-D', data, '-U', superuser, '--encoding=UTF8', '--locale=C', '--no-sync'],
        ...(major >= 14 ? ['--no-instructions'] : []),
        ...['--auth-local=trust', '--auth-host=scram-sha-256', ...(password ? [`--pwfile=${pwfile}`] : [])],
      ],
      120,
    );
    if (code !== 0)
      throw new HomelabError(`initdb ended with exit code ${code}`, {
        output: lastLines(stderr || stdout),
        ...spaceFix(stderr),
      });
  } finally {
    rmSync(pwfile, { force: true });
  }
}

/** The advice for a server that ran out of disk, where it did: PostgreSQL says it in two ways. */
export function spaceFix(output: string): { cause?: string; fix?: string } {
  return /no space left|check free disk space/i.test(output)
    ? { cause: `the disk of ${scratchBase()} is full`, fix: 'set TMPDIR to a folder with room for the databases' }
    : {};
}

/** The server that an earlier, killed process of ours left on this very folder. */
async function endLeftover(data: string): Promise<void> {
  const pid = postmasterOf(data);
  if (pid === undefined) return;
  process.kill(pid, 'SIGQUIT');
  for (let i = 0; i < 100 && postmasterOf(data) === pid; i++) await pause(0.05);
}

async function started(address: DatabaseAddress, ended: Promise<Outcome>): Promise<void> {
  let outcome: Outcome | undefined;
  void ended.then((value) => {
    outcome = value;
  });
  const end = Date.now() + START_SECONDS * 1000;
  while (true) {
    try {
      return await (await connect(address, 'template1')).end();
    } catch (error) {
      if (outcome)
        throw new HomelabError(`a throw-away PostgreSQL server ended with exit code ${outcome.code}`, {
          output: lastLines(outcome.stderr || outcome.stdout),
          ...spaceFix(outcome.stderr),
        });
      if (Date.now() > end)
        throw new HomelabError(`a throw-away PostgreSQL server: not ready within ${START_SECONDS} s`, {
          cause: messageOf(error),
        });
    }
    await pause(0.05);
  }
}

async function stop(data: string, ended: Promise<Outcome>): Promise<void> {
  const signal = (name: NodeJS.Signals): void => {
    const pid = postmasterOf(data);
    if (pid !== undefined) process.kill(pid, name);
  };
  signal('SIGINT'); // "fast": sessions are ended
  try {
    await within(STOP_SECONDS, 'the throw-away server ends', () => ended);
  } catch {
    signal('SIGQUIT');
    await ended;
  }
}

function pause(seconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, seconds * 1000));
}
