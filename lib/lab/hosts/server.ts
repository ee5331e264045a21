import { connect } from 'node:net';
import ssh2, { type AuthContext, type Connection, type ServerChannel, type Session as SshSession } from 'ssh2';
import { Session, type SessionHost } from './session.ts';
import type { HostSpec, RunningHost } from './spec.ts';

export type HostServer = { port: number; hostKey: string; close(): Promise<void> };

/**
 * The SSH server of a host: public-key logins of one user, `exec`, and direct-tcpip to where the world routes it.
 * @param privateKey of the host, OpenSSH format
 * @param authorized the keys that may log in now, as lines
 */
export async function listen(
  context: Omit<SessionHost, 'host'> & { host: () => RunningHost },
  spec: HostSpec,
  privateKey: string,
  authorized: () => string[],
): Promise<HostServer> {
  const connections = new Set<Connection>();
  const running = new Set<Session>();
  const server = new ssh2.Server({ hostKeys: [privateKey] }, (client) => {
    connections.add(client);
    // Known to ssh2, not to its types; with Nagle's algorithm each command takes 40 ms longer.
    if ('setNoDelay' in client && typeof client.setNoDelay === 'function') client.setNoDelay(true);
    const own = new Set<Session>();
    client.on('error', () => {});
    client.on('close', () => {
      connections.delete(client);
      for (const session of own) session.kill('SIGHUP');
    });
    client.on('authentication', (attempt) => {
      if (!context.host().faults.denyLogin && admits(attempt, spec.user, authorized())) attempt.accept();
      else attempt.reject(['publickey']);
    });
    client.on('ready', () => {
      context.host().logins += 1;
      client.on('session', (accept) => {
        serveSession(accept(), { ...context, host: context.host() }, client, (session, live) => {
          for (const set of [own, running]) live ? set.add(session) : set.delete(session);
        });
      });
      client.on('tcpip', (accept, reject, { destIP, destPort }) => {
        const host = context.host();
        const target = context.world.route(host, destIP, destPort);
        if (!target) return reject();
        const socket = connect(target.port, target.host);
        socket.once('error', () => reject());
        socket.once('connect', () => {
          socket.removeAllListeners('error');
          const channel = accept();
          for (const end of [socket, channel]) end.on('error', () => {});
          socket.pipe(channel).pipe(socket);
          channel.on('close', () => socket.destroy());
          socket.on('close', () => channel.destroy());
        });
      });
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the SSH server has no port');
  return {
    port: address.port,
    hostKey: publicKey(privateKey),
    close: () =>
      new Promise((resolve) => {
        for (const session of running) session.kill('SIGKILL');
        server.close(() => resolve());
        for (const client of connections) client.end();
      }),
  };
}

/** "ssh-ed25519 AAAA…" of a private key. */
function publicKey(privateKey: string): string {
  const key = ssh2.utils.parseKey(privateKey);
  if (key instanceof Error) throw key;
  return `${key.type} ${key.getPublicSSH().toString('base64')}`;
}

function admits(attempt: AuthContext, user: string, authorized: readonly string[]): boolean {
  if (attempt.method !== 'publickey' || attempt.username !== user) return false;
  const { algo, data } = attempt.key;
  for (const line of authorized) {
    const key = ssh2.utils.parseKey(line);
    if (key instanceof Error || !key.getPublicSSH().equals(data)) continue;
    if (!attempt.signature) return true;
    const hash = /^rsa-sha2-(256|512)$/.exec(algo)?.[1];
    return key.verify(attempt.blob ?? Buffer.alloc(0), attempt.signature, hash && `sha${hash}`) === true;
  }
  return false;
}

/** One channel: variables first, then one command. */
function serveSession(
  channel: SshSession,
  context: SessionHost,
  client: Connection,
  track: (session: Session, live: boolean) => void,
): void {
  const environment: Record<string, string> = {};
  const { host } = context;
  channel.on('env', (accept, _reject, { key, val }) => {
    if (/^(LANG|LC_\w+)$/.test(key)) environment[key] = val; // what Debian's sshd accepts
    accept?.();
  });
  channel.on('exec', async (accept, _reject, { command }) => {
    const stream = accept();
    const session = new Session(context);
    track(session, true);
    channel.on('signal', (_accept, _rejected, { name }) => session.kill(`SIG${name}` as NodeJS.Signals));
    stream.on('error', () => {});
    stream.on('close', () => session.kill('SIGHUP'));
    host.commands.push(command);
    try {
      await runFaulty(session, command, stream, context, client, environment);
    } finally {
      track(session, false);
    }
  });
}

async function runFaulty(
  session: Session,
  command: string,
  stream: ServerChannel,
  { host }: SessionHost,
  client: Connection,
  environment: Record<string, string>,
): Promise<void> {
  const { delay, drop, full } = host.faults;
  if (delay) await new Promise((done) => setTimeout(done, delay));
  if (drop?.test(command)) setTimeout(() => client.end(), 50);
  if (full?.test(command)) {
    stream.stderr.write('sh: write error: No space left on device\n');
    stream.exit(1);
  } else {
    const ending = await session
      .run(command, { stdin: stream, stdout: stream, stderr: stream.stderr }, environment)
      .catch((error: Error) => {
        stream.stderr.write(`lab: ${error.stack}\n`);
        return { code: 255 };
      });
    if ('signal' in ending) stream.exit(ending.signal.replace(/^SIG/, ''), false, '');
    else stream.exit(ending.code);
  }
  stream.end();
}
