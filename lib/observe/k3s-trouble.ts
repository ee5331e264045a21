import { gunzipSync } from 'node:zlib';
import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf, servers } from '../lookup.ts';
import type { PortAnswer, PortProbe, Trouble } from '../plan/k3s-trouble.ts';
import type { SshReader } from '../ports/types.ts';
import { type K3sReaders, lookAtNodes, readPatiently } from './k3s.ts';

/** Seconds for each host; all are asked side by side. */
const ASK = 25;
const ETCD = [2379, 2380];
/** Not "-", with which a shell ends its options. */
const NO_UNIT = 'none';

/**
 * What a node that does not come up, and the servers around it, say of it: one screen's worth, collected side by
 * side in two round trips to each host. Changes nothing; whoever does not answer is part of the answer.
 * @param problem what was waited for, and seen last
 */
export async function observeTrouble(
  lab: Lab,
  { name, role }: Pick<K3sNode, 'name' | 'role'>,
  problem: string,
  readers: K3sReaders,
): Promise<Trouble> {
  const peers = servers(lab.config)
    .map((server) => server.name)
    .filter((other) => other !== name);
  const unit = role === 'server' ? 'k3s' : 'k3s-agent';
  const out = peers.flatMap((peer) => [6443, ...(role === 'server' ? ETCD : [])].map((port) => ({ to: peer, port })));
  const back = (role === 'server' ? [6443, ...ETCD] : [10250]).map((port) => ({ to: name, port }));
  const [seen, own, ...theirs] = await Promise.all([
    lookAtNodes(lab, readers, ASK),
    probe(lab, readers.ssh, name, unit, name, out),
    ...peers.map((peer) => probe(lab, readers.ssh, peer, NO_UNIT, name, back)),
  ]);
  return {
    ...{ node: name, role, unit, problem, address: addressOf(lab, name), seen, servers: servers(lab.config).length },
    restarts: own.said.get('restarts') ? Number(own.said.get('restarts')) : undefined,
    journal: unpacked(own.said.get('journal')),
    ports: [own, ...theirs].flatMap(({ ports }) => ports),
    overlay: theirs.flatMap(({ from, said }) => {
      const answer = said.get('overlay');
      return answer ? [{ from, answer: answer as PortAnswer }] : [];
    }),
    password: theirs.some(({ said }) => said.has('password')),
  };
}

type Probed = { from: string; said: Map<string, string>; ports: PortProbe[] };

async function probe(
  lab: Lab,
  ssh: SshReader,
  from: string,
  unit: string,
  node: string,
  wanted: readonly { to: string; port: number }[],
): Promise<Probed> {
  const pairs = wanted.flatMap(({ to, port }) => [addressOf(lab, to), String(port)]);
  const argv = ['sh', '-s', unit, node, ...pairs];
  const answer = await readPatiently(ssh, from, argv, { stdin: PROBE, sudo: true, deadline: ASK });
  const said = new Map(
    (answer.ok ? answer.value.stdout : '').split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
    }),
  );
  const ports = wanted.map(({ to, port }) => {
    const answered = said.get(`port.${addressOf(lab, to)}.${port}`) ?? 'not tried';
    return { from, to, port, answer: answered as PortAnswer };
  });
  return { from, said, ports };
}

function unpacked(packed: string | undefined): string {
  return packed === undefined ? '' : gunzipSync(Buffer.from(packed, 'base64')).toString().trim();
}

/**
 * For `sh -s UNIT NODE (ADDRESS PORT)…`, as root: the end of the unit's journal, or on another host (UNIT is "none")
 * what the cluster remembers of the node; and which ports answer, all at once, by whatever program is there.
 */
export const PROBE = `LC_ALL=C
export LC_ALL
say() { printf '%s=%s\\n' "$1" "$2"; }
tell() {
  case $1 in
    *efused*) echo refused ;;
    *nvalid*|*sage:*|*nrecognized*) echo 'not tried' ;;
    *route*|*nreachable*) echo 'no route' ;;
    *) echo 'no answer' ;;
  esac
}
probe() {
  if command -v nc > /dev/null 2>&1; then
    said=$(nc -z -v -w 3 "$1" "$2" 2>&1) && { echo open; return; }
  elif command -v python3 > /dev/null 2>&1; then
    said=$(python3 -c 'import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
except Exception as error:
    sys.exit(str(error))' "$1" "$2" 2>&1) && { echo open; return; }
  elif command -v bash > /dev/null 2>&1 && command -v timeout > /dev/null 2>&1; then
    said=$(timeout 3 bash -c 'exec 3<> "/dev/tcp/$0/$1"' "$1" "$2" 2>&1) && { echo open; return; }
  else
    said=invalid
  fi
  tell "$said"
}
unit=$1 node=$2
shift 2
if [ "$unit" != ${NO_UNIT} ]; then
  say restarts "$(systemctl show -p NRestarts --value "$unit" 2> /dev/null)"
  say journal "$(journalctl -u "$unit" -n 60 --no-pager -o cat 2> /dev/null | gzip -c | base64 | tr -d '\\n')"
else
  ask() {
    /usr/local/bin/k3s kubectl --request-timeout=5s "$@" 2> /dev/null
  }
  if [ -n "$(ask get secret -n kube-system "$node.node-password.k3s" -o name)" ]; then say password yes; fi
  # The kubelet through the network of the pods, which is UDP 8472 in both directions.
  pods=$(ask get node "$node" -o 'jsonpath={.spec.podCIDR}')
  if [ -n "$pods" ]; then say overlay "$(probe "\${pods%/*}" 10250)" & fi
fi
while [ $# -gt 1 ]; do
  say "port.$1.$2" "$(probe "$1" "$2")" &
  shift 2
done
wait
`;
