/** Keeps systemd from starting a server again that was just taken out of etcd: it would join anew. Gone at a reboot, for which it is disabled. */
export const HOLD_FILE = '/run/systemd/system/k3s.service.d/homelab-removal.conf';
export const HOLD_TEXT = '[Service]\nRestart=no\n';

/** Folders that K3s makes, and files of ours that are about it. */
const FOLDERS = '/var/lib/rancher/k3s /etc/rancher/k3s /etc/rancher/node /var/lib/kubelet /run/k3s /run/flannel';
const OURS =
  '/usr/local/sbin/homelab-etcd-snapshots /etc/cron.d/homelab-etcd-snapshots /run/systemd/system/k3s.service.d/homelab-removal.conf';

/** What LEFTOVERS says of a unit that runs. */
export const RUNS = ', which runs';
/** Where a server has etcd's data; what is put aside lies beside it, or in the toolkit's own folder. */
export const DATA = '/var/lib/rancher/k3s/server/db';
export const SNAPSHOTS = `${DATA}/snapshots/`;
export const KEPT = [`${DATA}.`, '/var/lib/homelab/etcd-before-'];
export const VOLUMES = '/var/lib/rancher/k3s/storage/';

/** What is left of K3s on a host, and of what we put there for it, a line each; for `sh -s`, as root. */
export const LEFTOVERS = `LC_ALL=C
export LC_ALL
for unit in k3s k3s-agent; do
  if [ ! -f "/etc/systemd/system/$unit.service" ]; then continue; fi
  case $(systemctl is-active "$unit") in
    active|activating|reloading) echo "the unit $unit${RUNS}" ;;
    *) echo "the unit $unit" ;;
  esac
done
for process in /proc/[0-9]*; do
  if [ ! -r "$process/cmdline" ]; then continue; fi
  line=$(tr '\\0' ' ' < "$process/cmdline" 2> /dev/null)
  case $line in
    *"/var/lib/rancher/k3s/"*|*"/run/k3s/"*|*"/k3s server"*|*"/k3s agent"*) echo "the process \${process##*/} ($line)" ;;
  esac
done
for path in ${FOLDERS} /usr/local/bin/k3s ${OURS} /var/lib/homelab/k3s-* /var/lib/homelab/etcd-* \\
  ${DATA}/etcd ${DATA}.* ${SNAPSHOTS}* ${VOLUMES}*; do
  if [ -e "$path" ]; then echo "$path"; fi
done
echo end
`;

/**
 * K3s's own script first: it knows what K3s made. Then what is left, of an earlier attempt or by design. What is mounted
 * in K3s's folders is another's, and K3s's script would empty it: its killall ends and unmounts what it can, and where
 * something is left after that, nothing at all is removed.
 */
export const UNINSTALL = `set -u
LC_ALL=C
export LC_ALL
failed=0
inside() {
  findmnt -rn -o TARGET | awk -v f="$1" 'index($0, f "/") == 1 || $0 == f { print; found = 1 } END { exit !found }'
}
if [ -x /usr/local/bin/k3s-killall.sh ]; then /usr/local/bin/k3s-killall.sh < /dev/null 2>&1 | tail -n 5; fi
for folder in ${FOLDERS}; do
  if [ -d "$folder" ] && mounts=$(inside "$folder"); then
    echo "$folder stays: something is still mounted in it; unmount it, or reboot, and run this again: $mounts" >&2
    failed=1
  fi
done
if [ "$failed" = 1 ]; then exit 1; fi
if [ -x /usr/local/bin/k3s-uninstall.sh ]; then /usr/local/bin/k3s-uninstall.sh < /dev/null 2>&1 | tail -n 5; fi
if [ -x /usr/local/bin/k3s-agent-uninstall.sh ]; then /usr/local/bin/k3s-agent-uninstall.sh < /dev/null 2>&1 | tail -n 5; fi
for unit in k3s k3s-agent; do
  systemctl stop "$unit" 2> /dev/null # it may run although its file is gone
  if [ -f "/etc/systemd/system/$unit.service" ]; then
    systemctl disable "$unit"
    rm -f "/etc/systemd/system/$unit.service" "/etc/systemd/system/$unit.service.env"
  fi
done
for folder in ${FOLDERS}; do
  if [ ! -d "$folder" ]; then continue; fi
  if inside "$folder" > /dev/null; then
    echo "$folder stays: something is still mounted in it; reboot, and run this again" >&2
    failed=1
  else
    rm -rf --one-file-system "$folder" || failed=1
  fi
done
for link in kubectl crictl ctr; do
  if [ "$(readlink "/usr/local/bin/$link")" = k3s ]; then rm -f "/usr/local/bin/$link"; fi
done
rm -f /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh ${OURS}
rm -rf /var/lib/homelab/k3s-* /var/lib/homelab/etcd-*
for folder in /var/lib/homelab /var/lib/rancher /etc/rancher /run/systemd/system/k3s.service.d; do
  if [ -d "$folder" ]; then rmdir "$folder" 2> /dev/null; fi
done
systemctl daemon-reload
exit "$failed"
`;
