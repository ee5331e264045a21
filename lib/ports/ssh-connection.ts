import type { Client, ClientChannel } from 'ssh2';
import { within } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import { type Input, outcomeOf } from './ssh-command.ts';
import { explained, NotStarted, Unreachable } from './ssh-errors.ts';
import { shakeHands } from './ssh-handshake.ts';
import { offersOf } from './ssh-identity.ts';
import type { Login } from './ssh-login.ts';
import { Pulse } from './ssh-pulse.ts';
import type { Transport } from './ssh-transport.ts';
import type { Trust } from './ssh-trust.ts';
import type { Outcome } from './types.ts';

/** OpenSSH's MaxSessions is 10; a person's own session may be open too. */
const SESSIONS = 8;
/** A session that the server refuses is asked for again, after so many milliseconds each. */
const ATTEMPTS = 20;
const AGAIN = 100;

export type ExecOptions = { stdin?: Input; deadline: number; what: string };

export type OpenOptions = {
  trust: Trust;
  /** Seconds until it must be logged in. */
  seconds: number;
  /** Seconds between two questions whether a host that says nothing is still there. */
  pulse: number;
  /** Leads to the host's SSH server. */
  dial: (late: AbortSignal) => Promise<Transport>;
};

/**
 * One SSH connection to one host, for any number of commands and of hosts behind it. It keeps the process alive only
 * while a command or a forwarded connection is under way.
 */
export class HostConnection {
  readonly #host: string;
  readonly #client: Client;
  readonly #transport: Transport;
  readonly #pulse: Pulse;
  readonly #waiting: (() => void)[] = [];
  #sessions = 0;
  #users = 0;
  #closed = false;
  #silent = false;

  private constructor(host: string, client: Client, transport: Transport, pulse: number) {
    this.#host = host;
    this.#client = client;
    this.#transport = transport;
    this.#pulse = new Pulse(client, pulse, () => {
      this.#silent = true;
      client.destroy();
    });
    client.setMaxListeners(0); // a jump host has as many as there are hosts behind it
    client.on('close', () => {
      this.#closed = true;
      this.#pulse.stop();
    });
    transport.stream.on('data', () => this.#pulse.heard());
    transport.release();
  }

  /**
   * Connects and logs in.
   * @throws Unreachable with the reason; UsageError without a key; DialRefused and NothingListens from the endpoint table
   */
  static async open(login: Login, { trust, seconds, pulse, dial }: OpenOptions): Promise<HostConnection> {
    const offers = await offersOf(login);
    const opened: { transport?: Transport } = {};
    try {
      return await within(seconds, `SSH to ${login.name} (${login.address})`, async (late) => {
        const transport = await dial(late);
        opened.transport = transport;
        if (late.aborted) transport.stream.destroy();
        else transport.hold();
        return new HostConnection(
          login.name,
          await shakeHands(transport.stream, login, offers, trust),
          transport,
          pulse,
        );
      });
    } catch (error) {
      opened.transport?.stream.on('error', () => {}).destroy();
      opened.transport?.release();
      throw explained(error, login, offers.said);
    }
  }

  get closed(): boolean {
    return this.#closed || !this.#transport.isOpen();
  }

  get idle(): boolean {
    return this.#users === 0;
  }

  /**
   * Runs a command line.
   * @throws DeadlineError when it takes longer; Unreachable when the connection breaks before its exit code came,
   * NotStarted when it had ended before
   */
  async exec(line: string, { stdin = '', deadline, what }: ExecOptions): Promise<Outcome> {
    // OpenSSH's server passes the signal on to what its user may signal: not to what root runs, by login or by sudo.
    const late = { fix: `see whether it still runs on ${this.#host} before you run it again` };
    const work = async (signal: AbortSignal): Promise<Outcome> => {
      await this.#turn();
      try {
        if (signal.aborted) throw new Unreachable(`${what} on ${this.#host} was given up before its turn`);
        return await this.#open(
          (done) => this.#client.exec(line, done),
          what,
          (channel) => {
            signal.addEventListener('abort', () => {
              channel.signal('KILL');
              channel.close();
            });
            return outcomeOf(channel, stdin, () => this.#dropped(what));
          },
          ATTEMPTS,
        );
      } finally {
        this.#sessions -= 1;
        this.#waiting.shift()?.();
      }
    };
    return this.#busy(() => within(deadline, `${what} on ${this.#host}`, work, late));
  }

  /** A stream to address:port as the host reaches it. @throws Unreachable when the host cannot */
  async stream(address: string, port: number): Promise<ClientChannel> {
    const channel = await this.#busy(() => this.#forward(address, port));
    void this.#busy(() => new Promise<void>((closed) => channel.once('close', () => closed())));
    return channel;
  }

  /** The way to the SSH server of a host behind this one. It keeps this connection's process alive while it is held. */
  async transport(address: string, port: number): Promise<Transport> {
    const channel = await this.#busy(() => this.#forward(address, port)).catch((error: unknown) => {
      throw new Error(messageOf(error)); // of another host than the one that is out of reach
    });
    let held = false;
    const hold = (wanted: boolean): void => {
      if (wanted === held) return;
      held = wanted;
      if (wanted) this.#enter();
      else this.#leave();
    };
    return {
      stream: channel,
      hold: () => hold(true),
      release: () => hold(false),
      isOpen: () => channel.writable && !this.closed,
    };
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

  #forward(address: string, port: number): Promise<ClientChannel> {
    return this.#open(
      (done) => this.#client.forwardOut('127.0.0.1', 0, address, port, done),
      `a connection to ${address}:${port}`,
      async (opened) => opened,
    );
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
          else reject(new Unreachable(`${this.#host}: ${what}: ${error.message}${prohibited(error)}`));
        });
      } catch {
        this.#client.off('close', gone);
        before(); // ssh2 throws when the connection has ended
      }
    });
  }

  #dropped(what: string): Unreachable {
    return new Unreachable(`the connection to ${this.#host} broke during ${what}; whether it ended is not known`, {
      cause: this.#silent
        ? 'it gave no sign of life any more: it lost power, hangs, or the network was cut'
        : 'the host went down, its SSH server was restarted, or the network was cut',
    });
  }

  async #turn(): Promise<void> {
    if (this.#sessions >= SESSIONS) await new Promise<void>((go) => this.#waiting.push(go));
    this.#sessions += 1;
  }

  async #busy<T>(work: () => Promise<T>): Promise<T> {
    this.#enter();
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #enter(): void {
    this.#users += 1;
    if (this.#users > 1) return;
    this.#transport.hold();
    this.#pulse.start();
  }

  #leave(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#transport.release();
    this.#pulse.stop();
  }
}

/** RFC 4254's first reason, which OpenSSH does not put into words. */
function prohibited(error: Error): string {
  return 'reason' in error && error.reason === 1 ? ' (administratively prohibited)' : '';
}
