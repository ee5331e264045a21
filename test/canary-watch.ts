import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** A secret that is easy to recognise: its core stands alone in whatever way the rest is quoted or escaped. */
export type Canary = { value: string; core: string };

export function canaryOf(core: string, odd = ''): Canary {
  return { value: `${core}${odd}`, core };
}

/** Which canaries a text holds: as they are, quoted, escaped or percent-encoded (by their core), or in base64. */
export function found(text: string, canaries: readonly Canary[]): string[] {
  return canaries
    .flatMap(({ core }) => [core, core.toUpperCase(), ...base64Cores(core)])
    .filter((form) => text.includes(form));
}

/** What stays the same of `core` in base64, wherever in the encoded bytes it begins. */
function base64Cores(core: string): string[] {
  return [0, 1, 2].map((shift) => {
    const encoded = Buffer.from('x'.repeat(shift) + core).toString('base64');
    const first = Math.ceil((shift * 8) / 6);
    const last = Math.floor(((shift + core.length) * 8) / 6);
    return encoded.slice(first, last);
  });
}

const EVERY_MS = 20;

/** Looks at the processes of this machine (Linux; elsewhere it sees none) that start while it runs. */
export class ProcessWatch {
  readonly commands = new Set<string>();
  /** One of each: command and environment. */
  readonly environments = new Map<string, { command: string; environment: string }>();
  /** Processes that are none of ours. */
  #before = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  start(): void {
    this.#before = new Set(processes());
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    for (const pid of processes()) {
      if (this.#before.has(pid)) continue;
      const command = textOf(`/proc/${pid}/cmdline`);
      if (!command) continue;
      this.commands.add(command);
      const environment = textOf(`/proc/${pid}/environ`);
      if (environment) this.environments.set(`${command}\0${environment}`, { command, environment });
    }
  }
}

function processes(): string[] {
  return existsSync('/proc/self/cmdline') ? readdirSync('/proc').filter((name) => /^\d+$/.test(name)) : [];
}

/** A process may end while it is looked at. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
