import { gunzipSync } from 'node:zlib';
import type { HostFacts } from '../plan/k3s-seen.ts';
import { RESTORE_STATE } from '../render/etcd-restore.ts';

/** Where hashes of pushed files are noted on a host, so that files of hundreds of megabytes are read once only. */
export const NOTED_FILES = '/var/lib/homelab/k3s-files';

/**
 * Prints whether the etcd of this server has a leader, and how many members it knows: K3s has its figures listen on
 * the server itself. Neither, where it does not run.
 */
export const ETCD_FIGURES = `url=http://127.0.0.1:2381/metrics
{
  curl -s -m 3 "$url" || wget -q -T 3 -O - "$url" ||
    python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=3).read().decode())' "$url"
} 2>/dev/null | awk '
  $1 == "etcd_server_has_leader" { print "leader=" $2 }
  /^etcd_network_known_peers[{]/ && $2 == 1 { peers++ }
  END { if (peers) print "members=" peers }'`;

/**
 * Everything that install-k3s wants to know of a host, in one round trip: a fixed script for `sh`, run as
 * root, that prints KEY=value lines (values that may hold anything in base64). The token leaves the host as
 * a hash only. A server says also what its API server says; where that fails, the error only: without a majority of
 * etcd kubectl prints an empty list before it. Arguments: files whose hashes are wanted.
 */
export const FACTS_SCRIPT = `LC_ALL=C
export LC_ALL
say() { printf '%s=%s\\n' "$1" "$2"; }
sum() { sha256sum | cut -d ' ' -f 1; }
config=/etc/rancher/k3s/config.yaml
data=/var/lib/rancher/k3s
say hostname "$(cat /etc/hostname 2>/dev/null)"
say machine "$(cat /etc/machine-id 2>/dev/null)"
say clock "$(date -u +%s)"
say free "$(df -Pk /var/lib 2>/dev/null | awk 'NR == 2 { print $4 }')"
awk '$2 == "/" { options = $4 } END { if (options ~ /^ro(,|$)/) print "readonly=yes" }' /proc/mounts 2>/dev/null
if [ -x /usr/local/bin/k3s ]; then
  say version "$(/usr/local/bin/k3s --version 2>/dev/null | awk 'NR == 1 { print $3 }')"
fi
for unit in k3s k3s-agent; do
  if [ -f "/etc/systemd/system/$unit.service" ]; then
    state=$(systemctl is-active "$unit" 2>/dev/null)
    say "unit.$unit" "$state $(systemctl is-enabled "$unit" 2>/dev/null)"
    case $unit.$state in
      k3s.active|k3s.activating|k3s.reloading)
        answer=$(/usr/local/bin/k3s kubectl get node,storageclass -o json --request-timeout=15s 2>&1) ||
          answer=$(printf '%s\\n' "$answer" | tail -n 1)
        say api "$(printf '%s\\n' "$answer" | gzip -c | base64 | tr -d '\\n')" ;;
    esac
  fi
done
if [ -f "$config" ]; then
  say config "$(grep -v '^token:' "$config" | base64 | tr -d '\\n')"
  if [ -n "$(find "$config" -maxdepth 0 -perm 600)" ]; then say private yes; fi
  token=$(sed -n 's/^token: *"\\{0,1\\}\\([^"]*\\)"\\{0,1\\} *$/\\1/p' "$config")
  if [ -n "$token" ]; then say token "$(printf %s "$token" | sum)"; fi
fi
dropins=$(sed -n 's/^\\([a-z][a-z-]*\\)+\\{0,1\\}:.*/\\1/p' /etc/rancher/k3s/config.yaml.d/*.yaml 2>/dev/null | tr '\\n' ' ')
if [ -n "$dropins" ]; then say dropins "$dropins"; fi
if [ -f "$data/server/token" ]; then
  say secret "$(sed 's/^K10[0-9a-f]*::server://' "$data/server/token" | tr -d '\\n' | sum)"
fi
if [ -n "$(ls -A "$data" 2>/dev/null)" ]; then say data yes; fi
if [ -e ${RESTORE_STATE} ]; then say restoring "$(sed -n 's/^snapshot=//p' ${RESTORE_STATE})"; fi
if [ -f /var/lib/homelab/k3s-config.sha256 ]; then say started "$(cat /var/lib/homelab/k3s-config.sha256)"; fi
if [ -d "$data/server/db/etcd/member/wal" ]; then
  say etcd yes
${ETCD_FIGURES}
fi
if [ -f "$data/agent/client-kubelet.crt" ]; then say joined yes; fi
if [ -f /etc/rancher/k3s/k3s.yaml ]; then say kubeconfig "$(sum < /etc/rancher/k3s/k3s.yaml)"; fi
toml=$data/agent/etc/containerd/config.toml
if grep -q nvidia "$toml" 2>/dev/null; then say nvidia runtime
else
  for tool in /usr/local/nvidia/toolkit/nvidia-container-runtime /usr/bin/nvidia-container-runtime; do
    if [ ! -x "$tool" ]; then continue; fi
    if [ -f "$toml" ] && [ -z "$(find "$tool" -cnewer "$toml")" ]; then say nvidia unseen; else say nvidia later; fi
    break
  done
fi
for file in "$@"; do
  if [ ! -f "$file" ]; then continue; fi
  noted=$(awk -v name="$file" -v now="$(stat -c '%s %Y' "$file")" \\
    '$4 == name && $2 " " $3 == now { print $1 }' ${NOTED_FILES} 2>/dev/null)
  if [ -n "$noted" ]; then say "file.$file" "$noted noted"; else say "file.$file" "$(sum < "$file")"; fi
done
say end yes
`;

/** What the script printed, or undefined when it did not come to its end. */
export function parseFacts(stdout: string): HostFacts | undefined {
  const said = linesOf(stdout);
  const text = (key: string): string | undefined => said.get(key) || undefined;
  const number = (key: string): number | undefined => (text(key) === undefined ? undefined : Number(text(key)));
  const unit = (name: string): HostFacts['units'][string] | undefined => {
    const [state = '', enabled = ''] = text(`unit.${name}`)?.split(' ') ?? [];
    return text(`unit.${name}`) === undefined ? undefined : { state, enabled: enabled === 'enabled' };
  };
  if (!said.has('end')) return undefined;
  const config = text('config');
  const leader = number('leader');
  const files = [...said].filter(([key]) => key.startsWith('file.'));
  return {
    hostname: text('hostname'),
    machineId: text('machine'),
    clock: number('clock'),
    freeKib: number('free'),
    readOnly: said.has('readonly'),
    version: text('version'),
    units: Object.fromEntries(
      ['k3s', 'k3s-agent'].flatMap((name) => {
        const found = unit(name);
        return found ? [[name, found]] : [];
      }),
    ),
    config: config === undefined ? undefined : Buffer.from(config, 'base64').toString(),
    dropIns: text('dropins')?.trim().split(' '),
    configPrivate: said.has('private'),
    tokenHash: text('token'),
    secretHash: text('secret'),
    startedWith: text('started'),
    ...(said.has('data') && { data: true }),
    ...(said.has('restoring') && { restoring: text('restoring') ?? 'SNAPSHOT' }),
    etcdData: said.has('etcd'),
    leader: leader === undefined ? undefined : leader === 1,
    members: number('members'),
    joined: said.has('joined'),
    kubeconfigHash: text('kubeconfig'),
    nvidia: nvidiaOf(text('nvidia')),
    files: Object.fromEntries(
      files.map(([key, value]) => {
        const [sha256 = '', noted] = value.split(' ');
        return [key.slice('file.'.length), { sha256, noted: noted === 'noted' }];
      }),
    ),
  };
}

/** What kubectl printed on a server whose unit runs: a list, or why there is none. */
export function apiAnswer(stdout: string): string | undefined {
  const packed = linesOf(stdout).get('api');
  return packed === undefined ? undefined : gunzipSync(Buffer.from(packed, 'base64')).toString();
}

function linesOf(stdout: string): Map<string, string> {
  return new Map(
    stdout.split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
    }),
  );
}

function nvidiaOf(word: string | undefined): HostFacts['nvidia'] {
  return word === 'runtime' || word === 'later' || word === 'unseen' ? word : undefined;
}
