import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Program } from '../types.ts';

/** Programs of this machine that a host may use: they need no privileges and touch what they are given only. */
const TOOLS = [
  ...[
    'awk',
    'base64',
    'basename',
    'cat',
    'chmod',
    'cksum',
    'cmp',
    'comm',
    'cp',
    'cut',
    'date',
    'dd',
    'diff',
    'dirname',
  ],
  ...[
    'du',
    'echo',
    'egrep',
    'env',
    'expr',
    'false',
    'find',
    'fold',
    'grep',
    'gunzip',
    'gzip',
    'head',
    'join',
    'ln',
    'ls',
  ],
  ...[
    'md5sum',
    'mkdir',
    'mkfifo',
    'mktemp',
    'mv',
    'nice',
    'nl',
    'nohup',
    'od',
    'openssl',
    'paste',
    'pathchk',
    'printenv',
  ],
  ...[
    'printf',
    'pwd',
    'readlink',
    'realpath',
    'rm',
    'rmdir',
    'sed',
    'seq',
    'sha1sum',
    'sha256sum',
    'sha512sum',
    'shuf',
  ],
  ...['sleep', 'sort', 'split', 'sum', 'sync', 'tac', 'tail', 'tar', 'tee', 'test', 'timeout', 'touch', 'tr', 'true'],
  ...['truncate', 'uniq', 'wc', 'which', 'xargs', 'yes', 'zcat', '['],
];
const TOOL_FOLDERS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

/** Shells that a script may call: they ask the lab to rewrite what they are to run. */
const SHELLS = ['sh', 'bash', 'dash'];

/** Folders of the host's PATH whose programs exist when the host has the file. */
export const LOCAL_FOLDERS = ['/usr/local/sbin', '/usr/local/bin'];

/**
 * Asks the lab to do what it is named after. $HOMELAB_LAB_CALL is a folder of this session; descriptors 3 and
 * 4 lead to the lab's process, and end with it. Only stdin that is asked for (`-`, `-i`) is read: the rest of
 * it belongs to the script that calls. A shell is a tenth of the time that Node takes to start.
 */
const CLIENT = `#!/bin/sh
call=$HOMELAB_LAB_CALL/$$
input=
for word in "$@"; do
  case $word in -|*=-|/dev/stdin|-i|-it|-ti|--stdin|--stdin=true) input=1 ;; esac
done
case \${0##*/} in
  sh|bash|dash)
    input=1
    for word in "$@"; do
      case $word in -s*) ;; -*c*|[!-+]*) input=; break ;; esac
    done ;;
  chpasswd|crontab|scp) input=1 ;;
esac
printf '%s\\0' "$0" "$@" > "$call.argv"
env -0 > "$call.env"
if [ "$input" ]; then cat > "$call.in"; fi
set -C
until true > "$HOMELAB_LAB_CALL/lock"; do sleep 0.05; done 2> /dev/null
set +C
answer=
printf '%s\\n' "$$" >&3 && IFS= read -r answer <&4
rm -f "$HOMELAB_LAB_CALL/lock"
case $answer in
  exec) . "$call.exec" ;;
  exit*) ;;
  *) echo "\${0##*/}: the lab has ended" >&2; exit 125 ;;
esac
if [ -s "$call.out" ]; then cat "$call.out"; fi
if [ -s "$call.err" ]; then cat "$call.err" >&2; fi
rm -f "$call".*
exit "\${answer#exit }"
`;

/** sudo without privileges: what follows is marked as root's. Asks for a password when the host has one. */
const SUDO = `#!/bin/sh
ask=1
from_stdin=
while [ $# -gt 0 ]; do
  case $1 in
    -n) ask= ;;
    -S) from_stdin=1 ;;
    -p|-u|-g) shift ;;
    -l|-v) set -- true; break ;;
    --) shift; break ;;
    -*) ;;
    [A-Za-z_]*=*) export "$1" ;;
    *) break ;;
  esac
  shift
done
while case \${1-} in [A-Za-z_]*=*) true ;; *) false ;; esac; do export "$1"; shift; done
if [ -f "$HOMELAB_LAB_SUDO" ] && [ -z "\${HOMELAB_LAB_ROOT-}" ]; then
  if [ -z "$ask" ] || [ -z "$from_stdin" ]; then echo 'sudo: a password is required' >&2; exit 1; fi
  IFS= read -r given || given=
  IFS= read -r wanted < "$HOMELAB_LAB_SUDO"
  if [ "$given" != "$wanted" ]; then echo 'sudo: 1 incorrect password attempt' >&2; exit 1; fi
fi
HOMELAB_LAB_ROOT=1
export HOMELAB_LAB_ROOT
[ $# -gt 0 ] || { echo 'usage: sudo command' >&2; exit 1; }
exec "$@"
`;

/** Programs of a host, as files in its bin/ and run/; kept in step with what the world has. */
export class StandIns {
  readonly #folder: string;
  readonly #client: string;
  readonly #made = new Set<string>();

  constructor(folder: string) {
    this.#folder = folder;
    this.#client = join(folder, 'client');
    mkdirSync(join(folder, 'bin'), { recursive: true });
    mkdirSync(join(folder, 'run'), { recursive: true });
    writeFileSync(this.#client, CLIENT, { mode: 0o755 });
    for (const tool of TOOLS) {
      const found = toolPath(tool);
      if (found) this.#link(join(folder, 'bin', tool), found);
    }
    for (const shell of SHELLS) if (toolPath(shell)) this.#link(join(folder, 'bin', shell), this.#client);
    rmSync(join(folder, 'bin', 'sudo'), { force: true });
    writeFileSync(join(folder, 'bin', 'sudo'), SUDO, { mode: 0o755 });
  }

  /** PATH of a session. */
  get path(): string {
    return [...LOCAL_FOLDERS.map((folder) => join(this.#folder, 'run', folder)), join(this.#folder, 'bin')].join(':');
  }

  /**
   * Makes files for programs that came, and for what was installed in /usr/local/bin meanwhile. A program that
   * the world names by an absolute path exists on a host only where the host has that file.
   */
  sync(programs: ReadonlyMap<string, Program>): void {
    for (const name of programs.keys()) {
      if (name.startsWith('/') || this.#made.has(name)) continue;
      this.#made.add(name);
      this.#link(join(this.#folder, 'bin', name), this.#client);
    }
    for (const folder of LOCAL_FOLDERS) {
      const there = names(join(this.#folder, 'root', folder));
      for (const name of there) this.runner(`${folder}/${name}`);
      for (const name of names(join(this.#folder, 'run', folder)))
        if (!there.includes(name)) rmSync(join(this.#folder, 'run', folder, name), { force: true });
    }
  }

  /** What runs the program at an absolute path of the host. */
  runner(path: string): string {
    const file = join(this.#folder, 'run', path);
    if (!existsSync(file)) {
      mkdirSync(dirname(file), { recursive: true });
      this.#link(file, this.#client);
    }
    return file;
  }

  /** What a stand-in was called as: a bare name, or the host's absolute path of the program. */
  calledAs(file: string): { name: string; path?: string } {
    const run = join(this.#folder, 'run');
    return file.startsWith(`${run}/`)
      ? { name: basename(file), path: file.slice(run.length) }
      : { name: basename(file) };
  }

  #link(file: string, target: string): void {
    rmSync(file, { force: true });
    symlinkSync(target, file);
  }
}

export function toolPath(name: string): string | undefined {
  // On macOS GNU's tools, where they are installed, have a "g" in front.
  const candidates = process.platform === 'darwin' ? [`g${name}`, name] : [name];
  for (const candidate of candidates)
    for (const folder of TOOL_FOLDERS) if (existsSync(join(folder, candidate))) return join(folder, candidate);
  return undefined;
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
