import { DeadlineError, type Explanation } from './errors.ts';
import type { Clock } from './ports/types.ts';

/** How much longer each pause is than the one before: quick answers are seen at once, slow ones asked for rarely. */
const GROWTH = 1.6;

/**
 * `work`, or a DeadlineError after `seconds`. The work is told by its signal, and should end itself;
 * the error does not wait for that.
 */
export async function within<T>(
  seconds: number,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
  explanation: Explanation = {},
): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new DeadlineError(what, seconds, explanation));
      controller.abort();
    }, seconds * 1000);
  });
  try {
    return await Promise.race([work(controller.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}

export type Poll<T> = { done: true; value: T } | { done: false; seen: string };

/**
 * Asks `look` again and again until it is done, with pauses that grow from `first` to `most` seconds.
 * @throws DeadlineError that ends with what was seen last
 */
export async function until<T>(
  seconds: number,
  what: string,
  look: () => Promise<Poll<T>>,
  {
    first = 0.1,
    most = 3,
    sleep,
    onSeen,
  }: {
    first?: number;
    most?: number;
    sleep: (seconds: number) => Promise<void>;
    /** Told what is seen, each time that it changes. */
    onSeen?: (seen: string) => void;
  },
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  let pause = first;
  let seen = 'nothing yet';
  while (true) {
    const left = (end - Date.now()) / 1000;
    if (left <= 0) throw new DeadlineError(what, seconds, { cause: `last seen: ${seen}` });
    const poll = await within(left, what, look, { cause: `last seen: ${seen}` });
    if (poll.done) return poll.value;
    if (poll.seen !== seen) onSeen?.(poll.seen);
    seen = poll.seen;
    await sleep(Math.min(pause, most, Math.max(0.05, (end - Date.now()) / 1000)));
    pause *= GROWTH;
  }
}

/**
 * Looks again and again until what is seen is `good`, or for `seconds`: for looks and proofs, where what was seen
 * last is the answer either way.
 */
export async function lastSeen<T>(
  seconds: number,
  look: () => Promise<T>,
  good: (seen: T) => boolean,
  { clock, first = 0.1, most = 3 }: { clock: Clock; first?: number; most?: number },
): Promise<T> {
  const end = clock.now().getTime() + seconds * 1000;
  for (let pause = first; ; pause = Math.min(pause * GROWTH, most)) {
    const seen = await look();
    if (good(seen) || clock.now().getTime() + pause * 1000 > end) return seen;
    await clock.sleep(pause);
  }
}
