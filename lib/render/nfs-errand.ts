/** What is done with an export once it is mounted. `name` is a file or folder in it. */
export type Errand =
  /** Write a file, read it back, remove it. */
  | { kind: 'write'; name: string }
  /** Nothing: who must not mount it, must not write either. */
  | { kind: 'knock' }
  /** Is this folder there, and holds what a pod has written into it? */
  | { kind: 'look'; name: string; text: string }
  /** Remove this folder, with what the proof's pod wrote into it, if it holds nothing else. */
  | { kind: 'remove'; name: string };

/** Exit codes of an errand that went wrong, by what did. */
export const CODES = {
  ...{ mount: 32, absent: 66, mkdir: 70, write: 73, read: 74, busy: 75, unmount: 76, phantom: 77, silent: 78 },
};

/** The file that the proof's pod writes into its claim. */
export const WITNESS = 'homelab-proof';

/** Seconds. Together, with what a killed one left, they stay below ERRAND_DEADLINE. */
const MOUNT = 30;
const WORK = 20;
const UNMOUNT = 10;
export const ERRAND_DEADLINE = 120;

/** What is done in the mounted folder, in a shell of its own: a NAS that goes away meanwhile must not hold it for ever. */
const WORKER = `dir=$1 errand=$2 name=$3 text=$4
case $errand in
  write)
    echo "$name" > "$dir/$name" || exit ${CODES.write}
    found=$(cat "$dir/$name")
    rm -f "$dir/$name"
    if [ "$found" != "$name" ]; then exit ${CODES.read}; fi ;;
  look)
    if [ ! -d "$dir/$name" ]; then exit ${CODES.absent}; fi
    found=$(cat "$dir/$name/${WITNESS}")
    if [ "$found" != "$text" ]; then exit ${CODES.read}; fi ;;
  remove)
    if [ -d "$dir/$name" ]; then
      rm -f "$dir/$name/${WITNESS}"
      rmdir "$dir/$name" || exit ${CODES.busy}
    fi ;;
esac
`;

/**
 * Fixed text; what varies are its arguments. Whatever happens, and when the connection breaks, the export is
 * unmounted and the mount point removed; rmdir cannot take data away when the unmount failed. A mount point's
 * name ends with the process's id, so that what a killed one left is known, and goes with the next.
 *
 * That mount says yes is no mount yet: without one, what is written would land on the local disk.
 */
const SCRIPT = `LC_ALL=C
export LC_ALL
dir=$1.$$ source=$2 options=$3 worker=$4 errand=$5 name=\${6-} text=\${7-} mounted= silent=
# Busy may be whoever still closes the file: it is asked again.
unmount() {
  for pause in 1 1 -; do
    said=$(timeout -k 2 ${UNMOUNT} umount "$1" 2>&1) && return 0
    case $said in *busy*) ;; *) break ;; esac
    [ "$pause" = - ] || sleep "$pause"
  done
  echo "$said" >&2
  return 1
}
leave() {
  code=$?
  trap - EXIT
  if [ -n "$mounted" ] && ! unmount "$dir"; then
    umount -l "$dir"
    code=\${silent:-${CODES.unmount}}
  fi
  rmdir "$dir"
  exit "$code"
}
late() { [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; }
for old in "\${1%-*}"-*.*; do
  if [ -d "$old" ] && ! kill -0 "\${old##*.}" 2>/dev/null; then
    unmount "$old" 2>/dev/null || umount -l "$old" 2>/dev/null
    rmdir "$old"
  fi
done
mkdir -m 0700 "$dir" || exit ${CODES.mkdir}
trap leave EXIT
trap 'exit 129' HUP INT TERM
mounted=1 # before it is: a signal may come while it mounts
timeout -k 2 ${MOUNT} mount -t nfs -o "$options" "$source" "$dir"
code=$?
if [ "$code" -ne 0 ]; then
  mounted=
  if late "$code"; then echo 'mount: no answer within ${MOUNT} s' >&2; fi
  # Who is told no asks what there is: an export that is missing, or one that is for others.
  if [ "$errand" != knock ]; then timeout -k 2 5 showmount -e --no-headers "\${source%%:*}" 2>/dev/null; fi
  exit ${CODES.mount}
fi
said=$(timeout -k 2 10 mountpoint "$dir" 2>&1) || {
  echo "$said" >&2
  umount -l "$dir" 2>/dev/null # a stale one is mounted all the same
  mounted=
  exit ${CODES.phantom}
}
timeout -k 2 ${WORK} sh -c "$worker" homelab-work "$dir" "$errand" "$name" "$text"
code=$?
if late "$code"; then
  echo 'no answer within ${WORK} s' >&2
  silent=${CODES.silent}
  exit "$silent"
fi
exit "$code"
`;

/**
 * The command that mounts `source` ("server:path") at `dir`.PID (`dir` ends with "-" and a random part), does an errand there, and leaves nothing behind.
 * Soft and without retries: a NAS that does not answer is an outcome, not a process that hangs. It runs as root.
 */
export function errandCommand(dir: string, source: string, nfsVersion: string, errand: Errand): string[] {
  // NFSv3 locks need a daemon on the client that a proof does not.
  const options = [
    `nfsvers=${nfsVersion}`,
    'soft',
    'timeo=50',
    'retrans=2',
    'retry=0',
    ...(nfsVersion === '3' ? ['nolock'] : []),
  ];
  const { kind, ...named } = errand;
  return ['sh', '-c', SCRIPT, 'homelab-proof', dir, source, options.join(','), WORKER, kind, ...Object.values(named)];
}
