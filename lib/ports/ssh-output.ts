/** Bytes that are kept of a command's stdout, and of its stderr: this much of its beginning and of its end. */
const KEPT = 4 * 1024 * 1024;

/** Output that does not grow without bound: beginning and end are kept, the middle is left out and counted. */
export class BoundedOutput {
  readonly #kept: number;
  readonly #head: Buffer[] = [];
  #headSize = 0;
  #tail: Buffer[] = [];
  #tailSize = 0;
  #left = 0;

  constructor(kept = KEPT) {
    this.#kept = kept;
  }

  push(chunk: Buffer): void {
    const room = this.#kept - this.#headSize;
    if (room > 0) {
      const part = chunk.subarray(0, room);
      this.#head.push(part);
      this.#headSize += part.length;
    }
    if (chunk.length <= room) return;
    const rest = chunk.subarray(Math.max(0, room));
    this.#tail.push(rest);
    this.#tailSize += rest.length;
    // Joined only now and then: each byte is copied once a doubling.
    if (this.#tailSize > 2 * this.#kept) this.#trim();
  }

  get truncated(): boolean {
    return this.#left > 0 || this.#tailSize > this.#kept;
  }

  text(): string {
    this.#trim();
    const gap = this.#left > 0 ? [Buffer.from(`\n… ${this.#left} bytes left out …\n`)] : [];
    return Buffer.concat([...this.#head, ...gap, ...this.#tail]).toString('utf8');
  }

  #trim(): void {
    const over = this.#tailSize - this.#kept;
    if (over <= 0) return;
    const tail = Buffer.from(Buffer.concat(this.#tail).subarray(over));
    this.#tail = [tail];
    this.#tailSize = tail.length;
    this.#left += over;
  }
}
