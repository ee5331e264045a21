import type { LinuxNasSeen, NfsHostSeen } from '../plan/nfs-seen.ts';
import { EXPORTS_FILE } from '../render/exports.ts';
import { listedExports } from '../render/nfs-judge.ts';

/**
 * What a host knows of NFS, in one round trip: its client, whether it reaches each "ADDRESS PORT" that it is given, what
 * a NAS says that it exports, and mounts that hang. nc is not everywhere, and neither is bash.
 */
export const HOST_SCRIPT = `LC_ALL=C
export LC_ALL
if dpkg-query -W -f='\${Status}' nfs-common 2>/dev/null | grep -q 'ok installed'; then echo client; fi
for place; do
  (
    address=\${place% *} port=\${place#* }
    if nc -z -w 3 "$address" "$port" 2>/dev/null ||
      timeout 4 bash -c ': < "/dev/tcp/$0/$1"' "$address" "$port" 2>/dev/null
    then
      echo "open $place"
      if [ "$port" = 2049 ]; then
        timeout 5 showmount -e --no-headers "$address" 2>/dev/null | sed "s|^|export $address |"
      fi
    else echo "closed $place"; fi
  ) &
done
findmnt -rn -t nfs,nfs4 -o SOURCE,TARGET 2>/dev/null | {
  while read -r source target; do
    (
      said=$(timeout -k 1 5 mountpoint "$target" 2>&1)
      code=$?
      if [ "$code" -ne 0 ]; then echo "broken $source $target $code $said"; fi
    ) &
  done
  wait
}
wait
`;

export function parseHost(stdout: string): NfsHostSeen {
  const lines = stdout.split('\n');
  const after = (word: string): string[] =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  const exported: NfsHostSeen['exports'] = {};
  for (const line of after('export')) {
    const [address = ''] = line.split(' ', 1);
    exported[address] = [...(exported[address] ?? []), ...listedExports(line.slice(address.length))];
  }
  return {
    client: lines.includes('client'),
    open: after('open'),
    closed: after('closed'),
    exports: exported,
    broken: after('broken').flatMap((line) => {
      const [, source, target, code, said = ''] = /^(\S+) (\S+) (\d+) ?(.*)$/.exec(line) ?? [];
      if (!source || !target) return [];
      // timeout's own codes: what does not answer at all.
      return [{ source, target, why: code === '124' || code === '137' ? 'it does not answer' : said }];
    }),
  };
}

/** What a Linux NAS exports, in one round trip: our file, what is in force, and which folders are not there. */
export const NAS_SCRIPT = `LC_ALL=C
export LC_ALL
if [ -e "${EXPORTS_FILE}" ]; then sed 's/^/file /' "${EXPORTS_FILE}" || exit; fi
if active=$(exportfs -s); then
  echo server
  if [ -n "$active" ]; then echo "$active" | sed 's/^/active /'; fi
fi
for path; do if [ ! -d "$path" ]; then echo "missing $path"; fi; done
`;

export function parseNas(stdout: string): LinuxNasSeen {
  const lines = stdout.split('\n');
  const after = (word: string): string[] =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  const file = after('file');
  return {
    file: file.length > 0 ? `${file.join('\n')}\n` : undefined,
    active: lines.includes('server') ? after('active').join('\n') : undefined,
    missing: after('missing'),
  };
}
