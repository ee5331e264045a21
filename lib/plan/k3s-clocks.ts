import type { SeenK3s } from './k3s-seen.ts';

/**
 * How far the clock of each machine is ahead of what most of them say, this one included: when only ours is wrong,
 * that is nobody's trouble.
 */
export function skewsOf(seen: Pick<SeenK3s, 'hosts'>): Record<string, number> {
  const skews = Object.entries(seen.hosts).flatMap(([name, host]) =>
    host.reachable && host.skewSeconds !== undefined ? [[name, host.skewSeconds] as const] : [],
  );
  const middle = median([0, ...skews.map(([, skew]) => skew)]);
  return Object.fromEntries(skews.map(([name, skew]) => [name, skew - middle]));
}

/** The lower one of two in the middle. */
export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
