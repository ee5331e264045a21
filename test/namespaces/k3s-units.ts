import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { LabHost, Unit } from '../../lib/lab/types.ts';
import type { NamespaceHost, Resident } from './host.ts';

/** Ports that a K3s process has open: of a server, and of every node. */
const SERVER = [6443, 2379, 2380];
const NODE = [10250];
const FLANNEL = 8472;

/** Listens on TCP ports (the arguments) and a UDP one, and says nothing: what is behind is emulated. */
const LISTEN = `use strict; use IO::Socket::INET; use IO::Select;
my @all = map { IO::Socket::INET->new(Listen => 50, LocalPort => $_, ReuseAddr => 1) or die "$_: $!" } @ARGV;
my $udp = IO::Socket::INET->new(Proto => 'udp', LocalPort => ${FLANNEL}) or die $!;
my $select = IO::Select->new(@all, $udp);
while (my @ready = $select->can_read) { for (@ready) { if ($_ == $udp) { my $b; $_->recv($b, 9000) } else { my $c = $_->accept; close $c } } }
`;
/** Etcd's figures, where K3s has them: on the server itself, by HTTP. */
const FIGURES = `printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; exec /opt/lab/ask curl http://127.0.0.1:2381/metrics`;
const FIGURES_FILE = '/opt/lab/figures';
/** Whether ADDRESS PORT takes a connection within SECONDS: says "ok", or the system's words. */
const KNOCK = `use strict; use IO::Socket::INET;
my ($host, $port, $seconds) = @ARGV;
print IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => $seconds) ? 'ok' : ($!{ETIMEDOUT} || $! =~ /timed? ?out/i ? 'i/o timeout' : "connect: \\l$!");
`;

/** What a host finds when it connects from inside its namespaces. */
export function knock(host: NamespaceHost, address: string, port: number, seconds = 3): Promise<string> {
  return host.run(`perl -e '${KNOCK.replaceAll("'", "'\\''")}' ${address} ${port} ${seconds}`);
}

/**
 * The emulated unit of K3s, with a real network: it joins only what its host can reach (as K3s does: the server's 6443, and
 * between servers etcd's 2380), and while it runs its ports are open.
 */
export function onRealNetwork(
  unit: Unit,
  role: 'server' | 'agent',
  name: string,
  find: (host: LabHost) => NamespaceHost,
): Unit {
  const listeners = new Map<string, Resident[]>();
  const stop = async (host: LabHost): Promise<void> => {
    const all = listeners.get(host.name) ?? [];
    listeners.delete(host.name);
    await Promise.all(all.map((one) => one.end()));
  };
  return {
    async start(labHost) {
      const host = find(labHost);
      // A start leaves what it unpacks, also one that fails.
      host.writeFile('/var/lib/rancher/k3s/data/.lock', '', 0o600);
      const unreachable = await joinObstacle(host, role);
      if (unreachable) {
        host.log(name, unreachable);
        return { ok: false };
      }
      const started = await unit.start(labHost);
      if (!started.ok || !host.running) return started;
      await stop(labHost);
      const ports = [...(role === 'server' ? SERVER : []), ...NODE].map(String);
      const all = [host.start(['perl', '-e', LISTEN, ...ports])];
      if (role === 'server') {
        host.writeFile(FIGURES_FILE, FIGURES);
        const listen = 'TCP-LISTEN:2381,bind=127.0.0.1,fork,reuseaddr';
        all.push(host.start(['socat', listen, `SYSTEM:sh ${FIGURES_FILE}`]));
      }
      listeners.set(host.name, all);
      return started;
    },
    async stop(labHost) {
      await stop(labHost);
      await unit.stop(labHost);
    },
  };
}

/** Why a node that is to join cannot, in K3s's words; undefined when it can, or need not. */
async function joinObstacle(host: NamespaceHost, role: 'server' | 'agent'): Promise<string | undefined> {
  if (existsSync(join(host.root, 'var/lib/rancher/k3s/server/db/etcd/member'))) return undefined;
  const config = parse(host.readFile('/etc/rancher/k3s/config.yaml') ?? '') as { server?: string } | null;
  const address = /^https:\/\/([\d.]+):6443$/.exec(config?.server ?? '')?.[1];
  if (!address) return undefined;
  const api = await knock(host, address, 6443);
  if (api !== 'ok')
    return `level=fatal msg="failed to get CA certs: Get \\"https://${address}:6443/cacerts\\": dial tcp ${address}:6443: ${api}"`;
  if (role === 'agent') return undefined;
  const etcd = await knock(host, address, 2380);
  return etcd === 'ok'
    ? undefined
    : `level=fatal msg="starting kubernetes: preparing server: start managed database: joining etcd cluster: failed to dial peer https://${address}:2380: dial tcp ${address}:2380: ${etcd}"`;
}
