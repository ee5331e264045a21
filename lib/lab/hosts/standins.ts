import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Program } from '../types.ts';
import { CLIENT, SUDO } from './client.ts';
import { rootOf, standInsOf } from './paths.ts';

/** Programs of this machine that a host may use: they need no privileges and touch what they are given only. */
const TOOLS = [
  '[ awk base64 basename cat chmod cksum cmp comm cp cut date dd diff dirname du echo egrep env expr false find flock fold',
  'grep gunzip gzip head join ln ls md5sum mkdir mkfifo mktemp mv nice nl nohup od openssl paste pathchk printenv printf',
  'pwd readlink realpath rm rmdir scp sed seq sha1sum sha256sum sha512sum shuf sleep sort split sum sync tac tail tar tee',
  'test timeout touch tr true truncate uniq wc which xargs yes zcat',
].flatMap((line) => line.split(' '));
const TOOL_FOLDERS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

/** Shells that a script may call: they ask the lab to rewrite what they are to run. */
const SHELLS = ['sh', 'bash', 'dash'];

/** Folders of the host's PATH whose programs exist when the host has the file. */
const LOCAL_FOLDERS = ['/usr/local/sbin', '/usr/local/bin'];

/** Programs of a host, as files in its bin/ and run/; kept in step with what the world has. */
export class StandIns {
  readonly #folder: string;
  readonly #root: string;
  readonly #client: string;
  readonly #made = new Set<string>();

  /** @param hostFolder the host's own folder, with root/ in it */
  constructor(hostFolder: string) {
    const folder = standInsOf({ folder: hostFolder });
    this.#folder = folder;
    this.#root = rootOf({ folder: hostFolder });
    this.#client = join(folder, 'client');
    for (const name of ['bin', 'run', 'calls']) mkdirSync(join(folder, name), { recursive: true });
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
      const there = names(join(this.#root, folder));
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

function toolPath(name: string): string | undefined {
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
