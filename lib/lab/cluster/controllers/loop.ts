import type { Cluster } from '../cluster.ts';

/** Looks at the objects and does the next thing. Writes nothing when there is nothing to do. */
export type Controller = (cluster: Cluster) => void | Promise<void>;

/** Milliseconds: what is due later is a retry, or a long wait. */
const SOON = 250;

/**
 * Runs the controllers, always in the same order, a tick after each change, until nothing changes any more.
 * What takes time (`due`) makes it look again by itself.
 */
export class Loop {
  readonly #cluster: Cluster;
  readonly #controllers: readonly Controller[];
  readonly #since = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #at = Number.POSITIVE_INFINITY;
  #running = false;
  #again = false;
  #closed = false;
  #failure: unknown;

  constructor(cluster: Cluster, controllers: readonly Controller[]) {
    this.#cluster = cluster;
    this.#controllers = controllers;
  }

  /** Something changed. */
  poke(ms = this.#cluster.pace.tick): void {
    if (this.#closed) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    const at = performance.now() + ms;
    if (at >= this.#at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    this.#timer = setTimeout(() => void this.#tick(), ms);
  }

  /** Whether `ms` milliseconds have passed since this was asked for `key` the first time; looks again when they have. */
  due(key: string, ms: number): boolean {
    const now = performance.now();
    const since = this.#since.get(key) ?? now;
    this.#since.set(key, since);
    const left = since + ms - now;
    if (left <= 0) return true;
    this.#wake(left);
    return false;
  }

  /** `due(key, usual)` says no for the next `ms` milliseconds: a failure, to be tried again. */
  postpone(key: string, ms: number, usual: number): void {
    this.#since.set(key, performance.now() + ms - usual);
    this.#wake(ms);
  }

  /** Starts the time of `key` anew. */
  forget(key: string): void {
    this.#since.delete(key);
  }

  /** Nothing is left to do soon; retries of what failed do not count. @throws what a controller threw, and Error after `ms` milliseconds */
  async settled(ms: number): Promise<void> {
    const end = performance.now() + ms;
    while (this.#running || (this.#timer && this.#at - performance.now() < SOON)) {
      if (this.#failure) throw this.#failure;
      if (performance.now() > end) throw new Error(`the cluster's controllers did not come to rest within ${ms} ms`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    if (this.#failure) throw this.#failure;
  }

  /** What a controller threw: a defect of the emulator, after which it does nothing more. */
  get failure(): unknown {
    return this.#failure;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#running) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Asked for during a tick: the timer is set after it. */
  #next = Number.POSITIVE_INFINITY;
  #wake(ms: number): void {
    this.#next = Math.min(this.#next, ms);
  }

  async #tick(): Promise<void> {
    this.#timer = undefined;
    this.#at = Number.POSITIVE_INFINITY;
    this.#running = true;
    this.#again = false;
    this.#next = Number.POSITIVE_INFINITY;
    try {
      for (const controller of this.#controllers) {
        if (this.#closed || this.#cluster.refusal() !== undefined) break;
        await controller(this.#cluster);
      }
    } catch (error) {
      this.#failure = error;
      this.#closed = true;
    } finally {
      this.#running = false;
    }
    if (this.#again) this.poke();
    if (this.#next < Number.POSITIVE_INFINITY) this.poke(Math.max(1, this.#next));
  }
}
