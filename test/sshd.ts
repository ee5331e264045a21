import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import type { Test, Context as TestContext } from 'uvu';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import { type Lab, openLab } from '../lib/lab-context.ts';
import type { Endpoints } from '../lib/ports/endpoints.ts';
import type { PortContext } from '../lib/ports/index.ts';
import { connectSsh, type SshOptions } from '../lib/ports/ssh.ts';
import type { Answer, Ssh } from '../lib/ports/types.ts';

/** Real OpenSSH servers on loopback: unprivileged ports, keys and files of their own. */

const SSHD = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/opt/homebrew/sbin/sshd'].find((path) => existsSync(path));

/** Declares tests that need OpenSSH's server; without one they are skipped, and failed where it is required. */
export function withSshd(test: Test<TestContext>, declare: () => void): void {
  if (SSHD) declare();
  else if ((process.env.HOMELAB_REQUIRE ?? '').split(',').includes('openssh'))
    test('sshd is there', () => {
      throw new Error('HOMELAB_REQUIRE has openssh, and there is no sshd');
    });
  else {
    console.error('skipped: there is no sshd on this machine');
    test.skip('there is no sshd on this machine', () => {});
  }
}

export const ME = userInfo().username;

export type Sshd = {
  port: number;
  /** "ssh-ed25519 AAAA…" */
  hostKey: string;
  /** What it said (LogLevel VERBOSE), since the last time that the array was emptied. */
  log: string[];
  /** Ends what serves the connections that are open, as a restart does. */
  drop(): void;
  stop(): Promise<void>;
};

/** @param settings lines of sshd_config, before ours: the first value that sshd finds counts */
export async function startSshd(
  folder: string,
  { authorized, settings = [], command = [] }: { authorized: string[]; settings?: string[]; command?: string[] },
): Promise<Sshd> {
  mkdirSync(folder, { recursive: true });
  const hostKey = makeSshKey('test');
  writeFileSync(join(folder, 'host_key'), hostKey.private, { mode: 0o600 });
  writeFileSync(join(folder, 'authorized_keys'), authorized.map((key) => `${key}\n`).join(''), { mode: 0o600 });
  const port = await freePort();
  const config = [
    ...settings,
    ...[`Port ${port}`, 'ListenAddress 127.0.0.1', `HostKey ${join(folder, 'host_key')}`],
    `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
    ...['StrictModes no', 'UsePAM no', 'PidFile none', 'LogLevel VERBOSE', 'PermitRootLogin prohibit-password'],
    ...['PasswordAuthentication no', 'KbdInteractiveAuthentication no', 'MaxStartups 100'],
  ];
  writeFileSync(join(folder, 'config'), `${config.join('\n')}\n`);
  // As root, sshd wants the folder of its privilege separation, which a machine without a running sshd may lack.
  // It stays: another test run beside this one may need it.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  const [program = '', ...args] = [...command, SSHD ?? 'sshd', '-D', '-e', '-f', join(folder, 'config')];
  const server = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const log: string[] = [];
  server.stderr?.on('data', (data: Buffer) => log.push(data.toString()));
  await listening(port, log);
  return {
    port,
    hostKey: hostKey.public,
    log,
    drop: () => {
      for (const pid of servers(server.pid)) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It ended with its monitor.
        }
      }
    },
    stop: () => ended(server),
  };
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((done) => {
    child.once('exit', () => done());
    child.kill();
  });
}

/** The sshd processes below one: a monitor a connection and, for a user who is not root, one that serves him. */
function servers(pid: number | undefined): number[] {
  const [list, name] = [`/proc/${pid}/task/${pid}/children`, (child: number) => `/proc/${child}/comm`];
  if (!existsSync(list)) return [];
  const children = readFileSync(list, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) =>
    existsSync(name(child)) && readFileSync(name(child), 'utf8').startsWith('sshd') ? [child, ...servers(child)] : [],
  );
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

async function listening(port: number, log: readonly string[]): Promise<void> {
  for (let i = 0; i < 200; i += 1) {
    const open = await new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`sshd does not listen: ${log.join('')}`);
}

export type SshLab = {
  folder: string;
  home: string;
  lab: Lab;
  /** Its private half is in `${folder}/key`, which is ssh.key. */
  publicKey: string;
  context: PortContext;
  /** What --verbose would say. */
  details: string[];
  /** A port of a real lab: it reads ~/.ssh/config of `home`, and dials loopback only. */
  connect(options?: SshOptions): Ssh & { close(): Promise<void> };
  /** Writes ~/.ssh/config; lines are joined. */
  configure(...lines: string[]): void;
  /** A key in a file of its own; `public` and `file`. */
  key(name: string): { file: string; public: string };
  close(): Promise<void>;
};

/** A lab that is no rehearsal, with a home folder of its own. One a process: HOME is the process's. */
export function sshLab(env: Record<string, string> = {}): SshLab {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'ssh-test-')));
  const [root, home] = [join(folder, 'lab'), join(folder, 'home')];
  for (const made of [root, join(home, '.ssh')]) mkdirSync(made, { recursive: true, mode: 0o700 });
  cpSync(resolve('homelab.yaml'), join(root, 'homelab.yaml'));
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(join(root, '.env'), lines.join(''), { mode: 0o600 });
  const { lab, secrets, settings } = openLab(join(root, 'homelab.yaml'), {});
  const key = (name: string): { file: string; public: string } => {
    const file = join(folder, name);
    const made = makeSshKey(name);
    writeFileSync(file, made.private, { mode: 0o600 });
    return { file, public: made.public };
  };
  const own = key('key');
  lab.config.ssh.key = own.file;
  lab.config.template.user = ME;
  const before = { HOME: process.env.HOME, SSH_AUTH_SOCK: process.env.SSH_AUTH_SOCK };
  process.env.HOME = home;
  delete process.env.SSH_AUTH_SOCK;
  const details: string[] = [];
  const context: PortContext = {
    ...{ lab, secrets, settings, endpoints: loopback },
    detail: (text) => details.push(text),
  };
  const ports: (Ssh & { close(): Promise<void> })[] = [];
  return {
    ...{ folder, home, lab, context, details, key, publicKey: own.public },
    connect(options) {
      const port = connectSsh(context, options);
      ports.push(port);
      return port;
    },
    configure: (...text) => writeFileSync(join(home, '.ssh', 'config'), `${text.join('\n')}\n`, { mode: 0o600 }),
    async close() {
      for (const port of ports) await port.close();
      for (const [name, value] of Object.entries(before)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** What a real lab has, for which there is nothing but this machine. */
const loopback: Endpoints = {
  rehearsal: false,
  mount: () => undefined,
  dial(host, port) {
    if (!host.startsWith('127.')) throw new Error(`a test would have dialled ${host}:${port}`);
    return { host, port };
  },
};

export type Relay = {
  port: number;
  /** What is connected now is cut without a word, as by a cable or a power supply; what connects later is not. */
  freeze(): void;
  close(): void;
};

/** A relay to a port of loopback. @param rate bytes a second that come back, at the most */
export async function relayTo(target: number, rate = Number.POSITIVE_INFINITY): Promise<Relay> {
  const lines = new Set<{ frozen: boolean; ends: Socket[] }>();
  const server: Server = createServer((near) => {
    const far = connect(target, '127.0.0.1');
    const line = { frozen: false, ends: [near, far] };
    lines.add(line);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (data) => {
        if (line.frozen) return;
        to.write(data);
        if (from === near) return;
        from.pause();
        setTimeout(() => from.resume(), (data.length / rate) * 1000);
      });
      from.on('close', () => !line.frozen && to.destroy());
      from.on('error', () => {});
    }
  })
    .listen(0, '127.0.0.1')
    .unref();
  await new Promise((done) => server.once('listening', done));
  return {
    port: (server.address() as { port: number }).port,
    freeze() {
      for (const line of lines) line.frozen = true;
    },
    close() {
      server.close();
      for (const { ends } of lines) for (const end of ends) end.destroy();
    },
  };
}

/** Waits for what a test has caused, at most half a minute. */
export async function eventually(what: string, is: () => boolean): Promise<void> {
  for (let i = 0; i < 1500; i += 1) {
    if (is()) return;
    await new Promise((done) => setTimeout(done, 20));
  }
  throw new Error(`it did not come to this: ${what}`);
}

export const reasonOf = (answer: Answer<unknown>): string => (answer.ok ? 'it answered' : answer.reason);

/** What was thrown, or an Error that says that nothing was. */
export async function thrown(
  work: Promise<unknown>,
): Promise<Error & { fix?: string; likelyCause?: string; output?: string }> {
  return work.then(
    () => new Error('it succeeded'),
    (error: Error) => error,
  );
}
