import { ALONE } from './etcd-alone.ts';

// Scripts for `sh -c` on a host, for files that are pushed to it. Only POSIX tools, and coreutils' sha256sum and stat.

/**
 * Puts a pushed binary in its place, for `sh -c PLACE sh NEW PATH SHA256 VERSION`: only the right file, of the right
 * version, that runs on this machine.
 */
export const PLACE = `set -eu
new=$1 path=$2 wanted=$3 version=$4
fail() { rm -f -- "$new"; echo "$1" >&2; exit 1; }
found=$(sha256sum < "$new" | cut -d ' ' -f 1)
if [ "$found" != "$wanted" ]; then fail "it arrived with the SHA-256 $found, and has $wanted here"; fi
said=$("$new" --version 2>&1) || fail "it does not run on this machine: $said"
is=$(printf '%s\\n' "$said" | awk 'NR == 1 { print $3 }')
if [ "$is" != "$version" ]; then fail "it is $is, and k3s.version says $version"; fi
mv -f -- "$new" "$path"
`;

/** Notes hashes of pushed files, for `sh -c NOTE sh LIST (PATH SHA256)…`: only of files that have them. */
export const NOTE = `set -eu
list=$1
shift
mkdir -p "\${list%/*}"
: > "$list.tmp"
while [ $# -gt 0 ]; do
  found=$(sha256sum < "$1" | cut -d ' ' -f 1)
  if [ "$found" != "$2" ]; then echo "$1 arrived with the SHA-256 $found, and has $2 here" >&2; exit 1; fi
  echo "$found $(stat -c '%s %Y' "$1") $1" >> "$list.tmp"
  shift 2
done
mv -f "$list.tmp" "$list"
`;

/**
 * Copies etcd's data aside, for `sh -c KEEP sh FOLDER [BEFORE]`, before a reset or what else it says; says where. What is in the way of a copy (a full disk)
 * ends it, and leaves nothing.
 */
export const KEEP = `set -eu
to=$1/etcd-before-\${2:-reset}-$(date -u +%Y%m%dT%H%M%SZ)
umask 077
${ALONE}mkdir -p -- "$1"
trap 'rm -rf -- "$to.tmp"' EXIT
cp -a -- /var/lib/rancher/k3s/server/db/etcd "$to.tmp"
mv -- "$to.tmp" "$to"
echo "$to"
`;

/** Runs a command that resets etcd, where nobody else does, for `sh -c RESET_ALONE sh COMMAND…`. */
export const RESET_ALONE = `set -u
${ALONE}exec "$@"
`;
