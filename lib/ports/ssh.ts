import { DeadlineError, HomelabError } from '../errors.ts';
import { addressOf } from '../lookup.ts';
import { commandLine } from '../quote.ts';
import { NothingListens } from './endpoints.ts';
import type { PortContext } from './index.ts';
import { forget, learn, parseHostKey } from './known-hosts.ts';
import type { HostConnection } from './ssh-connection.ts';
import { NotStarted, Unreachable } from './ssh-errors.ts';
import { openForward } from './ssh-forward.ts';
import { loginOf } from './ssh-login.ts';
import { ownKnownHosts } from './ssh-trust.ts';
import { UPLOAD } from './ssh-upload.ts';
import type { Answer, CommandOptions, Outcome, Ssh } from './types.ts';

/** Seconds that a command may take when its caller says nothing. */
const DEADLINE = 60;
const UPLOAD_DEADLINE = 300;

/**
 * SSH to the hosts of a lab: one connection a host, opened when it is first needed, shared by all commands.
 * Host keys are strict; keys are learned by `learnHostKey` only, and dropped by `forgetHostKey`.
 */
export function connectSsh(
  context: PortContext,
  { connectSeconds = 10 }: { connectSeconds?: number } = {},
): Ssh & { close(): Promise<void> } {
  const connections = new Map<string, Promise<HostConnection>>();
  const forwards = new Set<{ close(): Promise<void> }>();
  const trips = new Map<string, number>();
  const password = context.secrets.get('SUDO_PASSWORD');
  /** Whether sudo asks for the password, by host; asked once. */
  const asks = new Map<string, Promise<boolean>>();

  const start = (host: string): Promise<HostConnection> => {
    // ssh2 takes a while to load; scripts that reach no host do without.
    const opening = import('./ssh-connection.ts').then((module) =>
      module.HostConnection.open(context, host, connectSeconds),
    );
    connections.set(host, opening);
    opening.catch(() => connections.get(host) === opening && connections.delete(host));
    return opening;
  };

  /** The host's connection; asked for twice at once, it is opened once. */
  const connection = (host: string): Promise<HostConnection> => {
    const current = connections.get(host);
    if (!current) return start(host);
    return current.then((open) => {
      if (!open.closed) return open;
      return connections.get(host) === current ? start(host) : connection(host);
    });
  };

  const exec = async (host: string, argv: readonly string[], options: CommandOptions): Promise<Outcome> => {
    const { user } = loginOf(context.lab, host);
    const { deadline = DEADLINE } = options;
    const what = argv.slice(0, 2).join(' ').slice(0, 80);
    const line = async (words: readonly string[], stdin?: string | Uint8Array): Promise<Outcome> => {
      const once = async (): Promise<Outcome> => {
        const open = await connection(host);
        trips.set(host, (trips.get(host) ?? 0) + 1);
        return open.exec(commandLine(words), { stdin, deadline, what });
      };
      return once().catch((error: unknown) => {
        if (error instanceof NotStarted) return once(); // the host was restarted since the last command
        throw error;
      });
    };
    // root needs no sudo, and a Proxmox node has none.
    if (!options.sudo || user === 'root') return line(argv, options.stdin);
    if (!password) return line(['sudo', '-n', '--', ...argv], options.stdin);
    if (!asks.has(host)) asks.set(host, asksForPassword(line));
    // A password that sudo does not ask for would become the command's input.
    const asked = await asks.get(host)?.catch((error: unknown) => {
      asks.delete(host);
      throw error;
    });
    if (!asked) return line(['sudo', '-n', '--', ...argv], options.stdin);
    const input = Buffer.concat([Buffer.from(`${password.reveal()}\n`), Buffer.from(options.stdin ?? '')]);
    return line(['sudo', '-k', '-S', '-p', '', '--', ...argv], input);
  };

  const answered = async <T>(work: Promise<T>): Promise<Answer<T>> => {
    try {
      return { ok: true, value: await work };
    } catch (error) {
      if (error instanceof Unreachable || error instanceof NothingListens) return { ok: false, reason: error.message };
      throw error;
    }
  };

  const hangUp = async (host: string): Promise<void> => {
    const open = connections.get(host);
    connections.delete(host);
    await open?.then((old) => old.close()).catch(() => {});
  };

  return {
    run: (host, argv, options = {}) => exec(host, argv, options),
    read: (host, argv, options = {}) => answered(exec(host, argv, options)),
    // A command, not just a connection: an old one may have broken unnoticed, and a host that boots refuses sessions.
    reachable: (host) =>
      answered(
        exec(host, ['true'], { deadline: connectSeconds }).then(
          () => true as const,
          (error: unknown) => {
            throw error instanceof DeadlineError ? new Unreachable(error.message) : error;
          },
        ),
      ),
    readFile: (host, path, options = {}) => answered(readFile(host, path, options, exec)),
    roundTrips: () => Object.fromEntries(trips),
    async upload(host, path, content, { mode, owner = '', sudo }) {
      const bytes = Buffer.from(content);
      const argv = ['sh', '-c', UPLOAD, 'sh', path, mode, owner, String(bytes.length)];
      const { code, stdout, stderr } = await exec(host, argv, { stdin: bytes, sudo, deadline: UPLOAD_DEADLINE });
      if (code !== 0)
        throw new HomelabError(`${path} could not be written on ${host} (exit code ${code})`, {
          output: (stderr || stdout).trim(),
        });
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
      await connection(host);
      const forward = await openForward(async () => (await connection(host)).stream(address, port));
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

/** Whether sudo wants a password even from somebody whose password it remembers. */
async function asksForPassword(line: (words: readonly string[]) => Promise<Outcome>): Promise<boolean> {
  const { code } = await line(['sudo', '-k', '-n', '--', 'true']);
  return code !== 0;
}

/** One command tells a file that is not there from one that cannot be read. */
const READ = '[ -e "$1" ] || [ -L "$1" ] || exit 66; exec cat -- "$1"';

async function readFile(
  host: string,
  path: string,
  options: { sudo?: boolean },
  exec: (host: string, argv: readonly string[], options: CommandOptions) => Promise<Outcome>,
): Promise<string | undefined> {
  const { code, stdout, stderr, truncated } = await exec(host, ['sh', '-c', READ, 'sh', path], options);
  if (code === 66) return undefined;
  if (code !== 0)
    throw new HomelabError(`${path} on ${host} could not be read (exit code ${code})`, { output: stderr.trim() });
  if (truncated) throw new HomelabError(`${path} on ${host} is too large to be read whole`);
  return stdout;
}
