import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a cable does to every frame: milliseconds one way, and how many of a thousand are lost. */
export type Cable = { milliseconds: number; loss?: number };

const SLOW_LINK = '/run/lab/slow-link';
const SOURCE = fileURLToPath(new URL('./slow-link.c', import.meta.url));

/** Cables so far. A device's name is used once: the kernel takes its time to forget one. */
let links = 0;

/** The lab's network: a bridge to which each host's own network namespace is plugged. The tests are the router. */
export class Network {
  readonly #plugged = new Map<string, { link: string; cable?: ChildProcess }>();

  /** @param gateways the router's addresses with their prefix: "10.20.11.1/24" */
  constructor(gateways: readonly string[]) {
    ip('link', 'add', 'lab', 'type', 'bridge');
    for (const gateway of gateways) ip('addr', 'add', gateway, 'dev', 'lab');
    ip('link', 'set', 'lab', 'up');
    execFileSync('sh', ['-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
  }

  /** Gives a host a network card with an address. @param gateway its way to other networks of the lab */
  async plug(name: string, address: string, gateway: string, cable?: Cable): Promise<void> {
    links += 1;
    const link = `port${links}`;
    ip('netns', 'add', name);
    if (cable) this.#plugged.set(name, { link, cable: await slowLink(link, name, cable) });
    else {
      ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
      this.#plugged.set(name, { link });
    }
    ip('link', 'set', link, 'master', 'lab', 'up');
    for (const args of [
      ['link', 'set', 'lo', 'up'],
      // The same after a reboot: neighbours remember it.
      ['link', 'set', 'eth0', 'address', macOf(address)],
      ['link', 'set', 'eth0', 'up'],
      ['addr', 'add', `${address}/24`, 'dev', 'eth0'],
      ['route', 'add', 'default', 'via', gateway],
    ])
      ip('-n', name, ...args);
  }

  /** Pulls the cable: nothing that comes after reaches anybody, not even a goodbye. */
  pull(name: string): void {
    const plugged = this.#plugged.get(name);
    if (plugged) ip('link', 'set', plugged.link, 'down');
  }

  /** Puts the cable back. */
  push(name: string): void {
    const plugged = this.#plugged.get(name);
    if (plugged) ip('link', 'set', plugged.link, 'up');
  }

  /** Takes a host's card away for good. */
  unplug(name: string): void {
    const plugged = this.#plugged.get(name);
    if (!plugged) return;
    plugged.cable?.kill('SIGKILL');
    this.#plugged.delete(name);
    ip('netns', 'delete', name);
  }

  close(): void {
    for (const name of [...this.#plugged.keys()]) this.unplug(name);
    ip('link', 'delete', 'lab');
  }

  /** Drops what arrives at a host for a port, as a firewall does, until `unblock`. @param from only what comes from there */
  block(
    name: string,
    port: number,
    { from, protocol = 'tcp' }: { from?: string; protocol?: 'tcp' | 'udp' } = {},
  ): void {
    nft(name, 'add', 'table', 'inet', 'lab');
    nft(name, 'add', 'chain', 'inet', 'lab', 'in', '{ type filter hook input priority 0 ; }');
    nft(
      name,
      'add',
      'rule',
      'inet',
      'lab',
      'in',
      ...(from ? ['ip', 'saddr', from] : []),
      protocol,
      'dport',
      String(port),
      'drop',
    );
  }

  unblock(name: string): void {
    nft(name, 'delete', 'table', 'inet', 'lab');
  }
}

/** A cable in user space: the kernel may have no netem. */
async function slowLink(link: string, name: string, { milliseconds, loss = 0 }: Cable): Promise<ChildProcess> {
  if (!existsSync(SLOW_LINK)) execFileSync('cc', ['-O1', '-o', SLOW_LINK, SOURCE]);
  const argv = [link, `/run/netns/${name}`, 'eth0', String(milliseconds), String(loss)];
  const cable = spawn(SLOW_LINK, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((up) => cable.stdout.once('data', up));
  return cable;
}

function macOf(address: string): string {
  return ['02', '00', ...address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(':');
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

function nft(name: string, ...args: string[]): void {
  execFileSync('ip', ['netns', 'exec', name, 'nft', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
}
