#!/bin/sh
# A stand-in for K3s's install script, for the rehearsal lab: it leaves on a host what the real one leaves,
# as far as others look at it, and downloads nothing. It is not the original and shares no text with it.
#
#   INSTALL_K3S_VERSION=v1.36.5+k3s1 sh install.sh [server|agent] [flags of K3s]
#
# INSTALL_K3S_SKIP_DOWNLOAD, _SKIP_START, _SKIP_ENABLE, _FORCE_RESTART, _EXEC, _NAME, K3S_* and CONTAINERD_* work as
# documented; other INSTALL_K3S_* are refused, so that nobody believes that they did something here.
set -eu

say() { echo "[INFO]  $*"; }
fatal() { echo "[ERROR]  $*" >&2; exit 1; }

for name in $(env | sed -n 's/^\(INSTALL_K3S_[A-Z0-9_]*\)=.*/\1/p'); do
  case $name in
    INSTALL_K3S_VERSION|INSTALL_K3S_SKIP_DOWNLOAD|INSTALL_K3S_SKIP_START|INSTALL_K3S_SKIP_ENABLE) ;;
    INSTALL_K3S_FORCE_RESTART|INSTALL_K3S_EXEC|INSTALL_K3S_NAME) ;;
    *) fatal "the rehearsal's install script does not know $name" ;;
  esac
done

# --- what is to be run: `server` unless it is said, or K3S_URL makes it an agent
set -- ${INSTALL_K3S_EXEC:-} "$@"
case ${1:-} in
  server|agent) role=$1; shift ;;
  -*|'') if [ -n "${K3S_URL:-}" ]; then role=agent; else role=server; fi ;;
  *) fatal "unknown command $1" ;;
esac
if [ "$role" = agent ] && [ -n "${K3S_URL:-}" ] && [ -z "${K3S_TOKEN:-}${K3S_TOKEN_FILE:-}" ]; then
  fatal "K3S_TOKEN or K3S_TOKEN_FILE must be set with K3S_URL"
fi
unit=k3s
if [ "$role" = agent ]; then unit=k3s-agent; fi
if [ -n "${INSTALL_K3S_NAME:-}" ]; then unit=k3s-$INSTALL_K3S_NAME; fi
unit_file=/etc/systemd/system/$unit.service
env_file=/etc/systemd/system/$unit.service.env

fingerprint() { cat /usr/local/bin/k3s "$unit_file" "$env_file" 2> /dev/null | sha256sum; }
before=$(fingerprint)

# --- the binary: a marker with the version
mkdir -p /usr/local/bin /etc/systemd/system
if [ "${INSTALL_K3S_SKIP_DOWNLOAD:-}" = true ]; then
  if [ ! -x /usr/local/bin/k3s ]; then fatal "Executable k3s binary not found at /usr/local/bin/k3s"; fi
  say "Skipping k3s download and verify"
else
  version=${INSTALL_K3S_VERSION:-}
  case $version in
    v1.*+k3s*) ;;
    '') fatal "the rehearsal has no release channels: set INSTALL_K3S_VERSION" ;;
    *) fatal "Download failed: there is no release $version" ;;
  esac
  say "Using $version as release"
  echo "K3s $version (a marker of the rehearsal: the program itself is emulated)" > /usr/local/bin/k3s.new
  chmod 755 /usr/local/bin/k3s.new
  if cmp -s /usr/local/bin/k3s.new /usr/local/bin/k3s; then
    rm -f /usr/local/bin/k3s.new
    say "Skipping binary downloaded, installed k3s matches hash"
  else
    mv -f /usr/local/bin/k3s.new /usr/local/bin/k3s
    say "Installing k3s to /usr/local/bin/k3s"
  fi
fi
for link in kubectl crictl ctr; do
  if [ ! -e /usr/local/bin/$link ]; then ln -s k3s /usr/local/bin/$link; fi
done

# --- scripts that take it away again
cat > /usr/local/bin/k3s-killall.sh <<'KILLALL'
#!/bin/sh
systemctl stop k3s 2> /dev/null
systemctl stop k3s-agent 2> /dev/null
exit 0
KILLALL
uninstall=/usr/local/bin/$unit-uninstall.sh
{
  echo '#!/bin/sh'
  echo "unit=$unit"
  cat <<'UNINSTALL'
systemctl stop $unit
systemctl disable $unit
rm -f /etc/systemd/system/$unit.service /etc/systemd/system/$unit.service.env
systemctl daemon-reload
rm -rf /etc/rancher/k3s /run/k3s /run/flannel /var/lib/rancher/k3s /var/lib/kubelet
rm -f /usr/local/bin/k3s /usr/local/bin/kubectl /usr/local/bin/crictl /usr/local/bin/ctr
rm -f /usr/local/bin/k3s-killall.sh /usr/local/bin/$unit-uninstall.sh
UNINSTALL
} > "$uninstall"
chmod 755 /usr/local/bin/k3s-killall.sh "$uninstall"
say "Creating uninstall script $uninstall"

# --- environment of the unit: secrets may be in it
( umask 077; : > "$env_file" )
chmod 600 "$env_file"
env | grep -E '^(K3S_|CONTAINERD_|HTTPS?_PROXY=|NO_PROXY=|https?_proxy=|no_proxy=)' | sort >> "$env_file" || true

# --- the unit
type=notify
if [ "$role" = agent ]; then type=exec; fi
{
  cat <<UNIT
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=$type
EnvironmentFile=-/etc/systemd/system/$unit.service.env
KillMode=process
Delegate=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStart=/usr/local/bin/k3s \\
    $role \\
UNIT
  for word in "$@"; do printf "    '%s' \\\\\n" "$word"; done
} > "$unit_file"
chmod 644 "$unit_file"

# --- enable, and start when something changed
if [ "${INSTALL_K3S_SKIP_ENABLE:-}" = true ]; then exit 0; fi
systemctl daemon-reload
systemctl enable "$unit"
if [ "${INSTALL_K3S_SKIP_START:-}" = true ]; then exit 0; fi
if [ "$before" = "$(fingerprint)" ] && [ "${INSTALL_K3S_FORCE_RESTART:-}" != true ]; then
  say "No change detected so skipping service start"
  exit 0
fi
say "systemd: Starting $unit"
systemctl restart "$unit"
