import { connect } from 'node:net';
import type { Program, ProgramCall, ProgramResult, World } from '../../types.ts';
import { neighbours } from '../neighbours.ts';
import { caller, fail, ok, parseArgs, table } from './common.ts';

export type NetworkOptions = {
  /** The machine that answers ARP for an address which is not a host's own: a load balancer's, a NAS's. */
  announces?: (address: string) => string | undefined;
};

/** What is on the network, from the machines that run and what the world routes. */
export function networkPrograms(world: World, { announces = () => undefined }: NetworkOptions): [string, Program][] {
  const answers = (address: string): boolean => neighbours(world).has(address) || announces(address) !== undefined;
  const macOf = (address: string): string => macFor(neighbours(world).get(address)?.spec.macs?.[0], address);
  return [
    [
      'ip',
      (call) =>
        ip(
          call,
          [...neighbours(world).keys()].map((address) => [address, macOf(address)]),
        ),
    ],
    ['ping', (call) => ping(call, answers)],
    ['arping', (call) => arping(call, answers, macOf)],
    ['nc', (call) => netcat(call, world)],
    ['ss', () => ok(table(['State', 'Local Address:Port'], [['LISTEN', '0.0.0.0:22']], false))],
  ];
}

function ip({ host, argv }: ProgramCall, others: string[][]): ProgramResult {
  const { options, operands } = parseArgs(argv.slice(1));
  const [object = ''] = operands;
  const json = options.has('-j') || options.has('-json');
  const { spec } = caller({ host });
  const mac = macFor(spec.macs?.[0], host.address);
  const gateway = host.address.replace(/\.\d+$/, '.1');
  if ('address'.startsWith(object)) {
    const local = { family: 'inet', local: host.address, prefixlen: 24, scope: 'global' };
    const links = [{ ifname: 'eth0', address: mac, operstate: 'UP', addr_info: [local] }];
    return ok(json ? `${JSON.stringify(links)}\n` : `2: eth0    inet ${host.address}/24 scope global eth0\n`);
  }
  if ('link'.startsWith(object))
    return ok(json ? `${JSON.stringify([{ ifname: 'eth0', address: mac }])}\n` : `2: eth0: link/ether ${mac}\n`);
  if ('route'.startsWith(object)) {
    const route = { dst: 'default', gateway, dev: 'eth0', prefsrc: host.address };
    return ok(json ? `${JSON.stringify([route])}\n` : `default via ${gateway} dev eth0 src ${host.address}\n`);
  }
  if ('neighbour'.startsWith(object) || object === 'neighbor') {
    const rows = others.filter(([address]) => address !== host.address);
    const all = rows.map(([dst, lladdr]) => ({ dst, dev: 'eth0', lladdr, state: ['REACHABLE'] }));
    return ok(
      json ? `${JSON.stringify(all)}\n` : all.map((n) => `${n.dst} dev eth0 lladdr ${n.lladdr} REACHABLE\n`).join(''),
    );
  }
  return fail(1, `Object "${object}" is unknown, try "ip help".`);
}

function ping({ argv }: ProgramCall, answers: (address: string) => boolean): ProgramResult {
  const { operands } = parseArgs(argv.slice(1), ['-c', '-W', '-w', '-I', '-i', '-s']);
  const [address = ''] = operands;
  const got = answers(address) ? 1 : 0;
  return { code: got ? 0 : 1, stdout: `1 packets transmitted, ${got} received, ${got ? 0 : 100}% packet loss\n` };
}

/** With -D (is the address taken?) the exit codes are the other way round. */
function arping(
  { argv, root }: ProgramCall,
  answers: (address: string) => boolean,
  mac: (address: string) => string,
): ProgramResult {
  const { options, operands } = parseArgs(argv.slice(1), ['-c', '-w', '-I', '-s']);
  if (!root) return fail(2, 'arping: socket: Operation not permitted');
  const [address = ''] = operands;
  const got = answers(address);
  const reply = got ? `Unicast reply from ${address} [${mac(address).toUpperCase()}]  0.6ms\n` : '';
  const stdout = `ARPING ${address}\n${reply}Sent 1 probes (1 broadcast(s))\nReceived ${got ? 1 : 0} response(s)\n`;
  return { code: got === options.has('-D') ? 1 : 0, stdout };
}

/** `nc -z ADDRESS PORT` only. */
async function netcat(call: ProgramCall, world: World): Promise<ProgramResult> {
  const { options, operands } = parseArgs(call.argv.slice(1), ['-w', '-p', '-s']);
  const [address = '', port = ''] = operands;
  if (!options.has('-z')) return fail(1, 'nc: this stand-in knows -z only');
  const neighbour = neighbours(world).get(address);
  const own = neighbour && Number(port) === 22 ? { host: '127.0.0.1', port: neighbour.port } : undefined;
  const target = own ?? world.route(call.host, address, Number(port));
  const open = target !== undefined && (await accepts(target));
  if (open) return { code: 0, stderr: `Connection to ${address} ${port} port [tcp/*] succeeded!\n` };
  return fail(1, `nc: connect to ${address} port ${port} (tcp) failed: Connection refused`);
}

function accepts({ host, port }: { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

function macFor(given: string | undefined, address: string): string {
  const [, b = 0, c = 0, d = 0] = address.split('.').map(Number);
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  return given?.toLowerCase() ?? `bc:24:11:${hex(b)}:${hex(c)}:${hex(d)}`;
}
