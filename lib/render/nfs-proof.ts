import type { Answer, Outcome } from '../ports/types.ts';

/** What is done with an export once it is mounted. `name` is a file or folder in it. */
export type Errand =
  /** Write a file, read it back, remove it. */
  | { kind: 'write'; name: string }
  /** Nothing: who must not mount it, must not write either. */
  | { kind: 'knock' }
  /** Is this folder there? */
  | { kind: 'look'; name: string }
  /** Remove this folder, if it is empty. */
  | { kind: 'remove'; name: string };

const CODES = { mkdir: 70, absent: 66, write: 73, read: 74, busy: 75, unmount: 76, mount: 32 };

/**
 * Fixed text; what varies are its arguments. Whatever happens, and when the connection breaks, the export is
 * unmounted and the mount point removed; rmdir cannot take data away when the unmount failed. A mount point's
 * name ends with the process's id, so that what a killed one left is known, and goes with the next.
 */
const SCRIPT = `dir=$1.$$ source=$2 options=$3 errand=$4 name=\${5-} mounted=
leave() {
  code=$?
  trap - EXIT
  if [ -n "$mounted" ] && ! umount "$dir"; then
    umount -l "$dir"
    code=${CODES.unmount}
  fi
  rmdir "$dir"
  exit "$code"
}
for old in "\${1%-*}"-*.*; do
  if [ -d "$old" ] && ! kill -0 "\${old##*.}" 2>/dev/null; then
    umount "$old" 2>/dev/null
    rmdir "$old"
  fi
done
mkdir -m 0700 "$dir" || exit ${CODES.mkdir}
trap leave EXIT
trap 'exit 129' HUP INT TERM
mounted=1 # before it is: a signal may come while it mounts
timeout 30 mount -t nfs -o "$options" "$source" "$dir"
code=$?
if [ "$code" -ne 0 ]; then
  mounted=
  if [ "$code" -eq 124 ]; then echo 'mount: no answer within 30 s' >&2; fi
  exit ${CODES.mount}
fi
case $errand in
  write)
    echo "$name" > "$dir/$name" || exit ${CODES.write}
    found=$(cat "$dir/$name")
    rm -f "$dir/$name"
    if [ "$found" != "$name" ]; then exit ${CODES.read}; fi ;;
  look) if [ ! -d "$dir/$name" ]; then exit ${CODES.absent}; fi ;;
  remove)
    if [ -d "$dir/$name" ]; then rmdir "$dir/$name" || exit ${CODES.busy}; fi ;;
esac
exit 0
`;

/** Seconds for all of it: the mount has 30. */
export const ERRAND_DEADLINE = 60;

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
  const name = 'name' in errand ? [errand.name] : [];
  return ['sh', '-c', SCRIPT, 'homelab-proof', dir, source, options.join(','), errand.kind, ...name];
}

export type Judgement = { ok: boolean; detail: string };

/** What an allowed host's errand came to. */
export function judgeAllowed(answer: Answer<Outcome>): Judgement {
  if (!answer.ok) return { ok: false, detail: `not proven: ${answer.reason}` };
  const { code } = answer.value;
  const said = lastLine(answer.value);
  if (code === 0) return { ok: true, detail: 'mounted, written, read back, unmounted' };
  const stages: Record<number, string> = {
    [CODES.mkdir]: 'not proven: no mount point could be made',
    [CODES.mount]: 'could not mount',
    [CODES.write]: 'mounted, but could not write: is root squashed, or the export read-only?',
    [CODES.read]: 'mounted, but what was read is not what was written',
    [CODES.unmount]: 'mounted, but it could not be unmounted; it is detached',
  };
  return { ok: false, detail: [stages[code] ?? `not proven: exit code ${code}`, said].filter(Boolean).join(': ') };
}

/**
 * Whether a host that must not mount was refused. Only the server's refusal proves it: a timeout or a client
 * without NFS would look the same when the export is wide open.
 * @param existsForOthers an allowed host has just mounted it: then "No such file or directory" is NFSv4's way
 *   of hiding an export from those who may not see it
 */
export function judgeDenied(answer: Answer<Outcome>, existsForOthers: boolean): Judgement {
  if (!answer.ok) return { ok: false, detail: `not proven: ${answer.reason}` };
  const { code } = answer.value;
  const said = lastLine(answer.value);
  if (code === 0 || code === CODES.unmount) return { ok: false, detail: 'it could mount: the export is open to it' };
  if (code === CODES.mount && /access denied by server|permission denied/i.test(said))
    return { ok: true, detail: `refused: ${said}` };
  if (code === CODES.mount && existsForOthers && /no such file or directory/i.test(said))
    return { ok: true, detail: `refused: hidden from it (${said})` };
  return { ok: false, detail: `not proven: ${said || `exit code ${code}`}` };
}

/** What the look for a folder, or its removal, came to. */
export function judgeFolder(answer: Answer<Outcome>): Judgement {
  if (!answer.ok) return { ok: false, detail: answer.reason };
  const { code } = answer.value;
  if (code === 0) return { ok: true, detail: '' };
  const stages: Record<number, string> = {
    [CODES.absent]: 'the folder is not there',
    [CODES.busy]: 'the folder could not be removed',
  };
  return {
    ok: false,
    detail: [stages[code], lastLine(answer.value)].filter(Boolean).join(': ') || `exit code ${code}`,
  };
}

/** The line that says why; umount and rmdir may have added theirs. */
function lastLine({ stderr, stdout }: Outcome): string {
  const lines = (stderr.trim() || stdout.trim()).split('\n').map((line) => line.trim());
  return lines.find((line) => line.startsWith('mount')) ?? lines[0] ?? '';
}
