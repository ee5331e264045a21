import { appendFileSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HomelabError } from '../errors.ts';

/** Where a connection really goes. */
export type Endpoint = { host: string; port: number };

/**
 * Every address that we dial goes through this table. In a real lab it is the identity. A rehearsal has a
 * file: "address:port" → "127.0.0.1:port", or null where the address is the lab's but nothing listens;
 * an "address" alone stands for all of its other ports. What the file does not hold is refused, so that
 * a rehearsal can never touch a real lab.
 */
export interface Endpoints {
  /** @throws DialRefused for an address that a rehearsal does not hold; NothingListens where nothing answers */
  dial(address: string, port: number): Endpoint;
  /** A folder that stands for an NFS export ("server:path") on this machine, where a rehearsal has one. */
  mount(source: string): string | undefined;
  readonly rehearsal: boolean;
  /** Seconds that a wait for Proxmox may take at the most, where a rehearsal plays one that never ends. */
  readonly longestWait?: number;
}

/** A rehearsal was asked for an address that is not its own. */
export class DialRefused extends HomelabError {
  constructor(address: string) {
    super(`refused to connect to ${address}: the rehearsal does not hold it`, {
      cause: 'a rehearsal talks to its own lab only',
    });
    this.name = 'DialRefused';
  }
}

/** The same as ECONNREFUSED, for an address that a rehearsal knows and where nothing listens. */
export class NothingListens extends HomelabError {
  constructor(address: string) {
    super(`connect ECONNREFUSED ${address}`);
    this.name = 'NothingListens';
  }
}

export const realEndpoints: Endpoints = {
  dial: (host, port) => ({ host, port }),
  mount: () => undefined,
  rehearsal: false,
};

export type EndpointTable = {
  dial: Record<string, string | null>;
  mounts: Record<string, string>;
  longestWait?: number;
};

/** Beside the table: every address that was refused, one a line. A rehearsal's report counts them. */
export const REFUSED = 'refused.log';

/** The table of a rehearsal. The file is read at each dial: hosts come up while a run goes on. */
export function endpointsFromFile(file: string): Endpoints {
  const read = (): EndpointTable => JSON.parse(readFileSync(file, 'utf8')) as EndpointTable;
  return {
    rehearsal: true,
    longestWait: read().longestWait,
    mount: (source) => read().mounts[source],
    dial: (address, port) => {
      const { dial } = read();
      const key = `${address}:${port}`;
      const target = key in dial ? dial[key] : dial[address];
      if (target === undefined) {
        appendFileSync(join(dirname(file), REFUSED), `${key}\n`);
        throw new DialRefused(key);
      }
      if (target === null) throw new NothingListens(key);
      const [host = '', targetPort] = target.split(':');
      if (!host.startsWith('127.')) throw new DialRefused(`${key} (${target} is not on loopback)`);
      return { host, port: Number(targetPort) };
    },
  };
}
