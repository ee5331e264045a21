/**
 * Preloaded into a script: its clock runs three hundred times as fast, its timers as ever. What waits for minutes, a look
 * every few seconds, gives up within seconds; what waits for an answer has its time.
 */
const FACTOR = 300;
const began = Date.now();
const real = Date.now;

globalThis.Date = class extends Date {
  constructor(...given: [] | [number | string]) {
    super(...((given.length === 0 ? [fast()] : given) as [number]));
  }

  static override now(): number {
    return fast();
  }
} as DateConstructor;

function fast(): number {
  return began + (real() - began) * FACTOR;
}
