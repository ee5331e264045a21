import { connect as connectTcp, type Socket } from 'node:net';
import { constants } from 'node:os';
import ssh2, { type Client, type ClientChannel } from 'ssh2';
import { within } from '../deadline.ts';
import type { PortContext } from './index.ts';
import { explained, NotStarted, Unreachable } from './ssh-errors.ts';
import { identity } from './ssh-identity.ts';
import { loginOf } from './ssh-login.ts';
import { BoundedOutput } from './ssh-output.ts';
import { algorithmsFor, ownKnownHosts, refusal, trusted } from './ssh-trust.ts';
import type { Outcome } from './types.ts';

/** OpenSSH's MaxSessions is 10; a person's own session may be open too. */
const SESSIONS = 8;
/** Milliseconds of silence after which TCP asks whether the peer is there; ten unanswered questions end the connection. */
const KEEP_ALIVE = 15_000;
/** A session that the server refuses is asked for again, after so many milliseconds each. */
const ATTEMPTS = 20;
const AGAIN = 100;

export type ExecOptions = { stdin?: string | Uint8Array; deadline: number; what: string };

/**
 * One SSH connection to one host, for any number of commands. It keeps the process alive only while a command or a
 * forwarded connection is under way.
 */
export class HostConnection {
  readonly #host: string;
  readonly #client: Client;
  readonly #socket: Socket;
  readonly #waiting: (() => void)[] = [];
  #sessions = 0;
  #users = 0;
  #closed = false;

  private constructor(host: string, client: Client, socket: Socket) {
    this.#host = host;
    this.#client = client;
    this.#socket = socket;
    client.on('error', () => {});
    client.on('close', () => {
      this.#closed = true;
    });
    socket.unref();
  }

  /**
   * Connects and logs in, within `seconds`.
   * @throws Unreachable with the reason; DialRefused and NothingListens from the endpoint table
   */
  static async open(context: PortContext, host: string, seconds: number): Promise<HostConnection> {
    const { user, address } = loginOf(context.lab, host);
    const credentials = identity(context.lab, process.env.SSH_AUTH_SOCK);
    const known = trusted(context, host);
    const target = context.endpoints.dial(address, 22);
    const client = new ssh2.Client();
    const socket = connectTcp({ ...target, noDelay: true });
    socket.setKeepAlive(true, KEEP_ALIVE);
    let refused: Unreachable | undefined;
    try {
      await within(seconds, `SSH to ${host} (${address})`, () => {
        const ready = new Promise<void>((resolve, reject) => {
          // ssh2 passes on what happens to a socket that it was given only once it is connected.
          socket.once('error', reject);
          client.once('error', (error) => reject(refused ?? error));
          client.once('close', () => reject(refused ?? new Error('the connection was closed before the login')));
          client.once('ready', () => resolve());
        });
        socket.once('connect', () =>
          client.connect({
            ...credentials,
            sock: socket,
            username: user,
            readyTimeout: 0,
            authHandler: [credentials.agent ? 'agent' : 'publickey'],
            algorithms: { serverHostKey: algorithmsFor(known) },
            hostVerifier: (blob: Buffer) => {
              const type = blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1');
              const shown = { type, blob: blob.toString('base64') };
              refused = refusal(host, address, shown, known, ownKnownHosts(context));
              return refused === undefined;
            },
          }),
        );
        return ready;
      });
    } catch (error) {
      client.on('error', () => {});
      socket.on('error', () => {});
      client.destroy();
      socket.destroy();
      throw explained(error, host, address, user);
    }
    return new HostConnection(host, client, socket);
  }

  get closed(): boolean {
    return this.#closed || !this.#socket.writable;
  }

  /**
   * Runs a command line.
   * @throws DeadlineError when it takes longer; Unreachable when the connection breaks before its exit code came,
   * NotStarted when it had ended before
   */
  async exec(line: string, { stdin = '', deadline, what }: ExecOptions): Promise<Outcome> {
    return this.#busy(() =>
      within(deadline, `${what} on ${this.#host}`, async (late) => {
        await this.#turn();
        try {
          if (late.aborted) throw new Unreachable(`${what} on ${this.#host} was given up before its turn`);
          return await this.#open(
            (done) => this.#client.exec(line, done),
            what,
            (channel) => {
              late.addEventListener('abort', () => {
                channel.signal('KILL');
                channel.close();
              });
              return this.#outcome(channel, stdin, what);
            },
            ATTEMPTS,
          );
        } finally {
          this.#sessions -= 1;
          this.#waiting.shift()?.();
        }
      }),
    );
  }

  /** A stream to address:port as the host reaches it. @throws Unreachable when the host cannot */
  async stream(address: string, port: number): Promise<ClientChannel> {
    const what = `a connection to ${address}:${port}`;
    const channel = await this.#busy(() =>
      this.#open(
        (done) => this.#client.forwardOut('127.0.0.1', 0, address, port, done),
        what,
        async (opened) => opened,
      ),
    );
    void this.#busy(() => new Promise<void>((closed) => channel.once('close', () => closed())));
    return channel;
  }

  /** Says goodbye; what is under way ends as a dropped connection does. */
  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const force = setTimeout(() => this.#client.destroy(), 1000);
      this.#client.once('close', () => {
        clearTimeout(force);
        resolve();
      });
      this.#client.end();
    });
  }

  #outcome(channel: ClientChannel, stdin: string | Uint8Array, what: string): Promise<Outcome> {
    const stdout = new BoundedOutput();
    const stderr = new BoundedOutput();
    return new Promise((resolve, reject) => {
      let code: number | undefined;
      channel.on('data', (chunk: Buffer) => stdout.push(chunk));
      channel.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
      channel.on('exit', (exit: number | null, signal?: string) => {
        code = exit ?? 128 + (signalNumber(signal) ?? 0);
      });
      // A command that does not read its stdin is no failure.
      channel.on('error', () => {});
      channel.on('close', () => {
        if (code === undefined) return reject(this.#dropped(what));
        const truncated = stdout.truncated || stderr.truncated;
        resolve({ code, stdout: stdout.text(), stderr: stderr.text(), ...(truncated ? { truncated } : {}) });
      });
      channel.end(stdin);
    });
  }

  /**
   * Opens a channel. `use` gets it before anything else can arrive: what nobody listens to is lost.
   * @param again how often a refusal is asked again: a server counts a session until it has collected its process,
   * which may be a moment after we saw it end. Nothing has been started by then.
   */
  #open<T>(
    ask: (done: (error: Error | undefined, channel: ClientChannel) => void) => void,
    what: string,
    use: (channel: ClientChannel) => Promise<T>,
    again = 0,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(this.#dropped(what));
      const before = (): void => reject(new NotStarted(`the connection to ${this.#host} had ended before ${what}`));
      if (this.closed) return before();
      this.#client.once('close', gone);
      try {
        ask((error, channel) => {
          this.#client.off('close', gone);
          if (!error) use(channel).then(resolve, reject);
          else if (again > 0 && /Channel open failure/.test(error.message))
            setTimeout(() => this.#open(ask, what, use, again - 1).then(resolve, reject), AGAIN);
          else reject(new Unreachable(`${this.#host}: ${what}: ${error.message}`));
        });
      } catch {
        this.#client.off('close', gone);
        before(); // ssh2 throws when the connection has ended
      }
    });
  }

  #dropped(what: string): Unreachable {
    return new Unreachable(`the connection to ${this.#host} broke during ${what}; whether it ended is not known`, {
      cause: 'the host went down, its SSH server was restarted, or the network was cut',
    });
  }

  async #turn(): Promise<void> {
    if (this.#sessions >= SESSIONS) await new Promise<void>((go) => this.#waiting.push(go));
    this.#sessions += 1;
  }

  async #busy<T>(work: () => Promise<T>): Promise<T> {
    this.#users += 1;
    this.#socket.ref();
    try {
      return await work();
    } finally {
      this.#users -= 1;
      if (this.#users === 0) this.#socket.unref();
    }
  }
}

function signalNumber(name: string | undefined): number | undefined {
  const numbers: Record<string, number> = constants.signals;
  return name === undefined ? undefined : numbers[name.startsWith('SIG') ? name : `SIG${name}`];
}
