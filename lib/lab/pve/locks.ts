import { died } from './errors.ts';

/** What is locked, and what is said to who waited in vain. */
export type Lock = { id: string; refusal: string };

type Holder = { shared: boolean; released: Promise<void> };

/** Locks by which tasks wait for each other, first come, first served; each is held alone, or shared with sharers. */
export class Locks {
  readonly #holders = new Map<string, Set<Holder>>();
  readonly #sleep: (ms: number) => Promise<void>;

  constructor(sleep: (ms: number) => Promise<void>) {
    this.#sleep = sleep;
  }

  /**
   * Runs `work` while holding the lock.
   * @param timeout milliseconds to wait for it
   * @throws PveError when it is not to be had in time, and what `work` throws
   */
  async hold<T>(lock: Lock, timeout: number, work: () => Promise<T> | T, shared = false): Promise<T> {
    const end = Date.now() + timeout;
    const holders = this.#holders.get(lock.id) ?? new Set();
    this.#holders.set(lock.id, holders);
    const inTheWay = (): Holder | undefined => [...holders].find((holder) => !(holder.shared && shared));
    for (let other = inTheWay(); other; other = inTheWay()) {
      const left = end - Date.now();
      if (left <= 0) throw died(lock.refusal);
      await Promise.race([other.released, this.#sleep(left)]);
    }
    let release = (): void => {};
    const holder: Holder = { shared, released: new Promise((resolve) => (release = resolve)) };
    holders.add(holder);
    try {
      return await work();
    } finally {
      holders.delete(holder);
      release();
    }
  }
}
