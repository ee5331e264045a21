import type { HostFacts } from '../plan/k3s-seen.ts';

/**
 * Everything that install-k3s wants to know of a host, in one round trip: a fixed script for `sh`, run as
 * root, that prints KEY=value lines (values that may hold anything in base64). The token leaves the host as
 * a hash only.
 */
export const FACTS_SCRIPT = `LC_ALL=C
export LC_ALL
say() { printf '%s=%s\\n' "$1" "$2"; }
sum() { sha256sum | cut -d ' ' -f 1; }
config=/etc/rancher/k3s/config.yaml
say hostname "$(cat /etc/hostname 2>/dev/null)"
say clock "$(date -u +%s)"
say free "$(df -Pk /var/lib 2>/dev/null | awk 'NR == 2 { print $4 }')"
if [ -x /usr/local/bin/k3s ]; then
  say version "$(/usr/local/bin/k3s --version 2>/dev/null | awk 'NR == 1 { print $3 }')"
fi
for unit in k3s k3s-agent; do
  if [ -f "/etc/systemd/system/$unit.service" ]; then
    say "unit.$unit" "$(systemctl is-active "$unit" 2>/dev/null) $(systemctl is-enabled "$unit" 2>/dev/null)"
  fi
done
if [ -f "$config" ]; then
  say config "$(grep -v '^token:' "$config" | base64 | tr -d '\\n')"
  if [ -n "$(find "$config" -maxdepth 0 -perm 600)" ]; then say private yes; fi
  token=$(sed -n 's/^token: *"\\{0,1\\}\\([^"]*\\)"\\{0,1\\} *$/\\1/p' "$config")
  if [ -n "$token" ]; then say token "$(printf %s "$token" | sum)"; fi
fi
if [ -f /var/lib/homelab/k3s-config.sha256 ]; then say started "$(cat /var/lib/homelab/k3s-config.sha256)"; fi
if [ -d /var/lib/rancher/k3s/server/db/etcd ]; then say etcd yes; fi
if [ -d /var/lib/rancher/k3s/agent ]; then say joined yes; fi
if [ -f /etc/rancher/k3s/k3s.yaml ]; then say kubeconfig "$(sum < /etc/rancher/k3s/k3s.yaml)"; fi
say end yes
`;

/** What the script printed, or undefined when it did not come to its end. */
export function parseFacts(stdout: string): HostFacts | undefined {
  const said = new Map(
    stdout.split('\n').flatMap((line) => {
      const at = line.indexOf('=');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1)] as const] : [];
    }),
  );
  const text = (key: string): string | undefined => said.get(key) || undefined;
  const number = (key: string): number | undefined => (text(key) === undefined ? undefined : Number(text(key)));
  const unit = (name: string): HostFacts['units'][string] | undefined => {
    const [state = '', enabled = ''] = text(`unit.${name}`)?.split(' ') ?? [];
    return text(`unit.${name}`) === undefined ? undefined : { state, enabled: enabled === 'enabled' };
  };
  if (!said.has('end')) return undefined;
  const config = text('config');
  return {
    hostname: text('hostname'),
    clock: number('clock'),
    freeKib: number('free'),
    version: text('version'),
    units: Object.fromEntries(
      ['k3s', 'k3s-agent'].flatMap((name) => {
        const found = unit(name);
        return found ? [[name, found]] : [];
      }),
    ),
    config: config === undefined ? undefined : Buffer.from(config, 'base64').toString(),
    configPrivate: said.has('private'),
    tokenHash: text('token'),
    startedWith: text('started'),
    etcdData: said.has('etcd'),
    joined: said.has('joined'),
    kubeconfigHash: text('kubeconfig'),
  };
}
