import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('./faulty-fs.c', import.meta.url));

/** What the file system is built from; undefined: all of it is there. */
export function missingForFaults(): string | undefined {
  try {
    execFileSync('sh', ['-c', 'command -v cc && pkg-config --exists fuse3'], { stdio: 'ignore' });
    return existsSync('/dev/fuse') ? undefined : '/dev/fuse';
  } catch {
    return 'cc, pkg-config, libfuse3-dev';
  }
}

/** A file system that fails as it is told (faulty-fs.c says how), over a folder. Real I/O; root, in namespaces of its own. */
export class FaultyFs {
  readonly #control: string;

  /** Mounts it. @param behind the folder that holds the files @param mount where they are seen */
  constructor(
    readonly behind: string,
    readonly mount: string,
  ) {
    this.#control = `${behind}.faults`;
    const program = join(dirname(behind), 'faulty-fs');
    if (!existsSync(program))
      execFileSync('sh', ['-c', 'cc -O1 -o "$1" "$2" $(pkg-config --cflags --libs fuse3)', 'cc', program, SOURCE]);
    mkdirSync(behind, { recursive: true });
    mkdirSync(mount, { recursive: true });
    execFileSync(program, [behind, this.#control, mount]);
  }

  /** Faults, a line each, in place of those so far; none: it works. */
  tell(...faults: string[]): void {
    rmSync(`${this.#control}.log`, { force: true });
    writeFileSync(this.#control, `${faults.join('\n')}\n`);
  }

  /** Counts calls that change something from now on. */
  count(): void {
    this.tell('nothing * 0');
    rmSync(`${this.#control}.count`, { force: true });
  }

  /** Calls that changed something since. */
  get changes(): number {
    return Number(readFileSync(`${this.#control}.count`, 'utf8'));
  }

  /** What has happened since the faults were told: "fsync /x 5". */
  get happened(): string[] {
    return existsSync(`${this.#control}.log`) ? readFileSync(`${this.#control}.log`, 'utf8').trimEnd().split('\n') : [];
  }

  /** Away, whoever uses it; the mount point is an empty folder of the local disk then. */
  unmount(): void {
    execFileSync('umount', ['-l', this.mount]);
  }

  remount(): void {
    execFileSync(join(dirname(this.behind), 'faulty-fs'), [this.behind, this.#control, this.mount]);
  }
}
