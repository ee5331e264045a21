import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { EndpointFile } from '../../lib/lab/endpoint-file.ts';

const HOSTS = '/run/lab/etc-hosts';

/**
 * What the emulated parts of the lab (load balancers, the mirror of downloads) listen on, made real: instead of a line in a
 * table each address is one of the router's own, with a relay behind it. Scripts dial it as they dial a real lab.
 */
export class RealEndpoints extends EndpointFile {
  readonly #router: string;
  readonly #hosts: ReadonlySet<string>;
  readonly #relays = new Map<string, Server>();
  readonly #own = new Set<string>();

  /**
   * @param router the router's address: names lead there
   * @param hosts addresses that belong to hosts of their own, which answer for themselves
   */
  constructor(router: string, hosts: ReadonlySet<string>) {
    super('/run/lab/emulated.json');
    this.#router = router;
    this.#hosts = hosts;
    writeFileSync(HOSTS, readFileSync('/etc/hosts'));
    execFileSync('mount', ['--bind', HOSTS, '/etc/hosts']);
  }

  override set(key: string, target: string | null): void {
    super.set(key, target);
    const at = key.lastIndexOf(':');
    const name = key.slice(0, at);
    const port = Number(key.slice(at + 1));
    if (at < 0 || this.#hosts.has(name)) return;
    this.#relays.get(key)?.close();
    this.#relays.delete(key);
    if (target === null) return;
    const isAddress = /^[\d.]+$/.test(name);
    const address = isAddress ? name : this.#router;
    if (isAddress && !this.#own.has(name)) {
      this.#own.add(name);
      execFileSync('ip', ['addr', 'add', `${name}/32`, 'dev', 'lo']);
    }
    if (!isAddress && !existsIn(name)) appendFileSync('/etc/hosts', `${this.#router} ${name}\n`);
    this.#relays.set(key, relay({ address, port }, target));
  }

  close(): void {
    for (const server of this.#relays.values()) server.close();
    for (const address of this.#own) execFileSync('ip', ['addr', 'delete', `${address}/32`, 'dev', 'lo']);
    execFileSync('umount', ['/etc/hosts']);
  }
}

/** Hands every connection on to `target` ("127.0.0.1:4711"). */
export function relay(from: { address: string; port: number }, target: string): Server {
  const [host, port] = target.split(':');
  const server = createServer((near) => {
    const far = connect(Number(port), host);
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on('error', () => other.destroy());
      one.pipe(other);
    }
  });
  server.listen(from.port, from.address);
  server.unref();
  return server;
}

function existsIn(name: string): boolean {
  return existsSync('/etc/hosts') && readFileSync('/etc/hosts', 'utf8').split(/\s+/).includes(name);
}
