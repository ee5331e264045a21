/** The best of several: what else the machine does only ever adds. */
export function best(values: readonly number[]): number {
  return Math.min(...values);
}

/** The best of several times that `work` takes, in milliseconds, after one run that warms up. */
export function timed(runs: number, work: () => unknown): number {
  work();
  const times = Array.from({ length: runs }, () => {
    const began = performance.now();
    work();
    return performance.now() - began;
  });
  return best(times);
}

/** How a time grows with a size: 1 is linear, 2 is quadratic. */
export function exponent([size, time]: [number, number], [largerSize, largerTime]: [number, number]): number {
  return Math.log(largerTime / time) / Math.log(largerSize / size);
}

export function milliseconds(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`.padStart(9);
}
