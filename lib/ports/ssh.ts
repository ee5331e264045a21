import { DeadlineError, HomelabError } from '../errors.ts';
import { addressOf } from '../lookup.ts';
import { commandLine } from '../quote.ts';
import { NothingListens } from './endpoints.ts';
import type { PortContext } from './index.ts';
import { forget, learn, parseHostKey } from './known-hosts.ts';
import type { Input } from './ssh-command.ts';
import type { HostConnection } from './ssh-connection.ts';
import { behind, NotStarted, SudoRefused, Unreachable } from './ssh-errors.ts';
import { openForward } from './ssh-forward.ts';
import { type Login, openLogins } from './ssh-login.ts';
import { Sudo } from './ssh-sudo.ts';
import { ownKnownHosts, trusted } from './ssh-trust.ts';
import { upload } from './ssh-upload.ts';
import type { Answer, CommandOptions, Outcome, Ssh } from './types.ts';

/** Seconds that a command may take when its caller says nothing. */
const DEADLINE = 60;
const UPLOAD_DEADLINE = 300;
/** The same for a file of this machine, which may be an air-gap image and the line a slow one. */
const FILE_DEADLINE = 1800;

export type SshOptions = {
  /** Seconds in which a host, and each jump host before it, must be logged in to. */
  connectSeconds?: number;
  /** Seconds between two questions whether a host that says nothing while a command runs is still there. */
  pulseSeconds?: number;
};

/** A command as we run it: its input may be a stream, opened when it is sent. */
type Command = Omit<CommandOptions, 'stdin'> & { stdin?: Input };

/**
 * SSH to the hosts of a lab: one connection a host, opened when it is first needed, shared by all commands and by the
 * hosts behind it. Host keys are strict; keys are learned by `learnHostKey` only, and dropped by `forgetHostKey`.
 */
export function connectSsh(
  context: PortContext,
  { connectSeconds = 10, pulseSeconds = 15 }: SshOptions = {},
): Ssh & { close(): Promise<void> } {
  const loginOf = openLogins(context);
  const connections = new Map<string, Promise<HostConnection>>();
  const forwards = new Set<{ close(): Promise<void> }>();
  const trips = new Map<string, number>();
  const sudos = new Map<string, Sudo>();

  const open = async (login: Login): Promise<HostConnection> => {
    // ssh2 takes a while to load; scripts that reach no host do without.
    const [{ HostConnection }, { overTcp }] = await Promise.all([
      import('./ssh-connection.ts'),
      import('./ssh-transport.ts'),
    ]);
    const { address, port, via } = login;
    const before = via && (await connection(via).catch((error: unknown) => Promise.reject(behind(error, login))));
    const target = before ? undefined : context.endpoints.dial(address, port);
    return HostConnection.open(login, {
      trust: trusted(login, ownKnownHosts(context)),
      ...{ seconds: connectSeconds, pulse: pulseSeconds },
      dial: (late) => (target ? overTcp(target, late) : (before as HostConnection).transport(address, port)),
    });
  };

  const start = (login: Login): Promise<HostConnection> => {
    const opening = open(login);
    connections.set(login.id, opening);
    opening.catch(() => connections.get(login.id) === opening && connections.delete(login.id));
    return opening;
  };

  /** The login's connection; asked for twice at once, it is opened once. */
  const connection = (login: Login): Promise<HostConnection> => {
    const current = connections.get(login.id);
    if (!current) return start(login);
    return current.then((open) => {
      if (!open.closed) return open;
      return connections.get(login.id) === current ? start(login) : connection(login);
    });
  };

  const line = async (login: Login, words: readonly string[], what: string, command: Command): Promise<Outcome> => {
    const { stdin, deadline = DEADLINE } = command;
    const once = async (): Promise<Outcome> => {
      const open = await connection(login);
      trips.set(login.name, (trips.get(login.name) ?? 0) + 1);
      return open.exec(commandLine(words), { stdin, deadline, what });
    };
    return once().catch((error: unknown) => {
      if (error instanceof NotStarted) return once(); // the host was restarted since the last command
      throw error;
    });
  };

  const sudoOn = (login: Login): Sudo => {
    const { name, user } = login;
    const sudo = sudos.get(name) ?? new Sudo(name, user, context.secrets.get('SUDO_PASSWORD'));
    sudos.set(name, sudo);
    return sudo;
  };

  const exec = async (host: string, argv: readonly string[], command: Command): Promise<Outcome> => {
    const login = await loginOf(host);
    const what = argv.slice(0, 2).join(' ').slice(0, 80);
    // root needs no sudo, and a Proxmox node has none.
    if (!command.sudo || login.user === 'root') return line(login, argv, what, command);
    return sudoOn(login).run(argv, command.stdin, (words, stdin) => line(login, words, what, { ...command, stdin }));
  };

  const answered = async <T>(host: string, work: Promise<T>): Promise<Answer<T>> => {
    try {
      return { ok: true, value: await work };
    } catch (error) {
      if (error instanceof DeadlineError) await giveUp(host);
      const isAnswer = [Unreachable, NothingListens, SudoRefused, DeadlineError].some((kind) => error instanceof kind);
      if (isAnswer && error instanceof HomelabError) return { ok: false, reason: error.message, fix: error.fix };
      throw error;
    }
  };

  const hangUp = async (host: string): Promise<void> => {
    const open = connections.get(host);
    connections.delete(host);
    sudos.delete(host);
    await open?.then((old) => old.close()).catch(() => {});
  };

  /** A connection that does not answer, and on which nobody else waits, is not asked again. */
  const giveUp = async (host: string): Promise<void> => {
    const open = await connections.get(host)?.catch(() => undefined);
    if (open?.idle) await hangUp(host);
  };

  return {
    run: (host, argv, options = {}) => exec(host, argv, options),
    read: (host, argv, options = {}) => answered(host, exec(host, argv, options)),
    // A command, not just a connection: an old one may have broken unnoticed, and a host that boots refuses sessions.
    reachable: (host) =>
      answered(
        host,
        exec(host, ['true'], { deadline: connectSeconds }).then(() => true as const),
      ),
    readFile: (host, path, options = {}) => answered(host, readFile(host, path, options, exec)),
    roundTrips: () => Object.fromEntries(trips),
    upload(host, path, content, options) {
      const isFile = typeof content === 'object' && 'file' in content;
      const { sudo, deadline = isFile ? FILE_DEADLINE : UPLOAD_DEADLINE } = options;
      return upload(host, path, content, options, (argv, stdin) => exec(host, argv, { stdin, sudo, deadline }));
    },
    async learnHostKey(host, key) {
      const learned = await learn(ownKnownHosts(context), addressOf(context.lab, host), host, parseHostKey(key));
      if (learned) await hangUp(host);
    },
    async forgetHostKey(host) {
      await forget(ownKnownHosts(context), addressOf(context.lab, host));
      await hangUp(host);
    },
    async forward(host, address, port) {
      const login = await loginOf(host);
      await connection(login);
      const forward = await openForward(async () => (await connection(login)).stream(address, port));
      forwards.add(forward);
      return forward;
    },
    async close() {
      await Promise.all([...forwards].map((forward) => forward.close()));
      const open = [...connections.values()];
      connections.clear();
      await Promise.all(open.map((one) => one.then((it) => it.close()).catch(() => {})));
    },
  };
}

/** One command tells a file that is not there from one that cannot be read. */
const READ = '[ -e "$1" ] || [ -L "$1" ] || exit 66; exec cat -- "$1"';

async function readFile(
  host: string,
  path: string,
  options: { sudo?: boolean },
  exec: (host: string, argv: readonly string[], command: Command) => Promise<Outcome>,
): Promise<string | undefined> {
  const { code, stdout, stderr, truncated } = await exec(host, ['sh', '-c', READ, 'sh', path], options);
  if (code === 66) return undefined;
  if (code !== 0)
    throw new HomelabError(`${path} on ${host} could not be read (exit code ${code})`, { output: stderr.trim() });
  if (truncated) throw new HomelabError(`${path} on ${host} is too large to be read whole`);
  return stdout;
}
