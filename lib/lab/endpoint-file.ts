import { renameSync, writeFileSync } from 'node:fs';
import type { EndpointTable } from '../ports/endpoints.ts';

/** The endpoint table of a rehearsal (see lib/ports/endpoints.ts), kept on disk as hosts come and go. */
export class EndpointFile {
  readonly file: string;
  readonly #table: EndpointTable = { dial: {}, mounts: {} };

  constructor(file: string) {
    this.file = file;
    this.#write();
  }

  /** `key` is "address:port", or "address" for all other ports of it; null: known, and nothing listens. */
  set(key: string, target: string | null): void {
    this.#table.dial[key] = target;
    this.#write();
  }

  /** `source` is "server:path" of an NFS export. */
  mount(source: string, folder: string): void {
    this.#table.mounts[source] = folder;
    this.#write();
  }

  /** Seconds that scripts wait for Proxmox at the most. */
  waitAtMost(seconds: number): void {
    this.#table.longestWait = seconds;
    this.#write();
  }

  #write(): void {
    writeFileSync(`${this.file}.tmp`, JSON.stringify(this.#table, null, 1));
    renameSync(`${this.file}.tmp`, this.file);
  }
}
