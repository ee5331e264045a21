/** The middle one: a machine that does something else for a moment does not count. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** Median of the milliseconds that `work` takes, after one run that warms up. */
export function timed(runs: number, work: () => unknown): number {
  work();
  return median(
    Array.from({ length: runs }, () => {
      const began = performance.now();
      work();
      return performance.now() - began;
    }),
  );
}

/** How a time grows with a size: 1 is linear, 2 is quadratic. */
export function exponent([size, time]: [number, number], [largerSize, largerTime]: [number, number]): number {
  return Math.log(largerTime / time) / Math.log(largerSize / size);
}

export function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`.padStart(9);
}
