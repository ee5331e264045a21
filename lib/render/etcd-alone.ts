/**
 * Begins a script for `sh` that resets etcd, or moves its data: it goes on only where nobody else does that, and K3s
 * does not run. A run that was killed may have left its reset going on the server; what that was given keeps the
 * lock. In /run, so that a reboot ends both. `k3s server` that systemd did not start is known by its process.
 */
export const ALONE = `if ! command -v flock > /dev/null; then
  echo 'flock is missing: without it two runs could reset etcd at once; apt-get install util-linux brings it' >&2
  exit 69
fi
exec 9> /run/homelab-etcd.lock
if ! flock -n 9; then
  echo 'etcd is being reset here, or its data moved, by a run that goes on, or was killed and left it going: wait until it has ended (at most 15 minutes), and run this again' >&2
  exit 75
fi
unit=$(systemctl is-active k3s) || :
case $unit in
  active | activating | reloading | deactivating)
    echo "k3s is $unit" >&2
    exit 75 ;;
esac
for process in /proc/[0-9]*; do
  case $(cat "$process/comm" 2> /dev/null || :) in
    k3s-server) ;;
    k3s) if ! tr '\\0' ' ' < "$process/cmdline" | grep -q ' server '; then continue; fi ;;
    *) continue ;;
  esac
  echo "k3s server runs, not as the unit k3s: process \${process##*/}; wait until it has ended, or end it, and run this again" >&2
  exit 75
done
`;
