/**
 * Writes stdin to a file of a host, for `sh -c UPLOAD sh PATH MODE OWNER BYTES`: beside it, counted, mode and owner
 * set, renamed. Whoever reads PATH sees the old content or the new one. Only POSIX tools; an OWNER of '' leaves it.
 */
export const UPLOAD = `set -eu
path=$1 mode=$2 owner=$3 bytes=$4
folder=\${path%/*}
if [ -d "$path" ]; then echo "$path is a directory" >&2; exit 73; fi
umask 022
mkdir -p -- "\${folder:-/}"
umask 077
trap 'rm -f -- "$path.tmp"' EXIT
trap 'exit 75' HUP INT TERM
cat > "$path.tmp"
written=$(wc -c < "$path.tmp")
if [ "$written" -ne "$bytes" ]; then echo "$written of $bytes bytes arrived" >&2; exit 74; fi
chmod -- "$mode" "$path.tmp"
if [ -n "$owner" ]; then chown -- "$owner" "$path.tmp"; fi
mv -f -- "$path.tmp" "$path"
`;
