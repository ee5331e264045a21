import type { Client } from 'ssh2';

/** Questions without an answer, and without any other word, after which a host is given up. */
const UNANSWERED = 3;

/**
 * Notices that a host has gone without a word (power, cable), within five times `seconds`: TCP alone would send again
 * for a quarter of an hour. Whatever comes counts as a sign of life, so that a slow host, or a link that is full, is
 * not given up; and turns are counted instead of time, so that neither is one whose own machine slept.
 */
export class Pulse {
  readonly #client: Client;
  readonly #seconds: number;
  readonly #gone: () => void;
  #timer: NodeJS.Timeout | undefined;
  #heard = true;
  #asked = 0;

  constructor(client: Client, seconds: number, gone: () => void) {
    this.#client = client;
    this.#seconds = seconds;
    this.#gone = gone;
  }

  /** Something came from the host. */
  heard(): void {
    this.#heard = true;
  }

  start(): void {
    this.#heard = true;
    this.#asked = 0;
    this.#timer ??= setInterval(() => this.#beat(), this.#seconds * 1000).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #beat(): void {
    if (this.#heard) this.#asked = 0;
    else if (this.#asked < UNANSWERED) this.#ask();
    else this.#gone();
    this.#heard = false;
  }

  /** Cancels a forwarding that nobody asked for: the one question with an answer that ssh2 lets its users send. */
  #ask(): void {
    this.#asked += 1;
    try {
      this.#client.unforwardIn('127.0.0.1', 0, () => {});
    } catch {
      // The connection has ended, as its `close` says.
    }
  }
}
