import { Readable } from 'node:stream';
import type { Secret } from '../secret.ts';
import type { Input } from './ssh-command.ts';
import { SudoRefused } from './ssh-errors.ts';
import type { Outcome } from './types.ts';

/** Runs one command line on the host. */
type Line = (argv: readonly string[], stdin?: Input) => Promise<Outcome>;

/** What PROBE ends with where sudo wants the password, and takes it. */
const ASKS = 10;

/**
 * Finds out how sudo is to be called, for `sh -c PROBE sh GIVEN` with the password (if there is one: GIVEN) on stdin.
 * sudo's words are in the language of the host, but for these.
 */
const PROBE = `LC_ALL=C; export LC_ALL
command -v sudo > /dev/null || { echo 'there is no sudo' >&2; exit 127; }
if [ -z "$1" ]; then exec sudo -n -- true; fi
sudo -k -n -- true 2> /dev/null && exit 0
sudo -k -S -p '' -- true && exit ${ASKS}
`;

/** sudo on one host: with a password or without, and told apart from the command that it was to run. */
export class Sudo {
  readonly #host: string;
  readonly #user: string;
  readonly #password: Secret | undefined;
  #asks: Promise<boolean> | undefined;
  #works = false;

  constructor(host: string, user: string, password: Secret | undefined) {
    this.#host = host;
    this.#user = user;
    this.#password = password;
  }

  /** @throws SudoRefused when sudo does not run it */
  async run(argv: readonly string[], stdin: Input | undefined, line: Line): Promise<Outcome> {
    // A password that sudo does not ask for would become the command's input.
    if (this.#password && (await this.#asksForPassword(line))) {
      const input = withFirstLine(this.#password.reveal(), stdin);
      return notFound(await line(['sudo', '-k', '-S', '-p', '', '--', ...argv], input), argv);
    }
    const outcome = await line(['sudo', '-n', '--', ...argv], stdin);
    // Before it has worked once, a failure may be sudo's own: it is asked, in words that we know.
    if (!this.#works && looksRefused(outcome)) await this.#probe(line);
    this.#works = true;
    return notFound(outcome, argv);
  }

  /** Asked once a host. */
  #asksForPassword(line: Line): Promise<boolean> {
    this.#asks ??= this.#probe(line).catch((error: unknown) => {
      this.#asks = undefined;
      throw error;
    });
    return this.#asks;
  }

  /** Whether sudo wants the password. @throws SudoRefused */
  async #probe(line: Line): Promise<boolean> {
    const given = this.#password ? 'given' : '';
    const stdin = this.#password && `${this.#password.reveal()}\n`;
    const { code, stderr } = await line(['sh', '-c', PROBE, 'sh', given], stdin);
    if (code === 0 || code === ASKS) return code === ASKS;
    throw sudoRefusal(this.#host, this.#user, stderr, this.#password !== undefined);
  }
}

/** What sudo's words mean, and what to do about it. */
export function sudoRefusal(host: string, user: string, words: string, given: boolean): SudoRefused {
  const lines = words.split('\n').map((line) => line.trim());
  // Before its last word sudo lectures, and repeats itself.
  const said =
    lines.filter((line) => /^sudo: |sudoers|may not run|there is no sudo/.test(line)).at(-1) ??
    lines.filter(Boolean).at(-1);
  const allow = `as root on ${host}: echo '${user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/${user}; chmod 440 /etc/sudoers.d/${user}; visudo -c`;
  const refused = (text: string, fix: string): SudoRefused =>
    new SudoRefused(`${host}: ${text} (${said ?? 'without a word'})`, { fix });
  if (/there is no sudo/.test(words))
    return new SudoRefused(`${host}: there is no sudo for ${user}`, {
      fix: `install sudo on ${host}, or log in as root (User in ~/.ssh/config)`,
    });
  if (/must have a tty/.test(words))
    return refused(
      'sudo wants a terminal, and a script has none',
      `with visudo on ${host}: Defaults:${user} !requiretty`,
    );
  if (/not in the sudoers|may not run|not allowed to|afraid I can't do that/i.test(words))
    return refused(`sudo does not let ${user} run commands as root`, allow);
  if (given && /incorrect password|try again|no password was provided|authentication failed/i.test(words))
    return refused(
      `sudo does not take SUDO_PASSWORD for ${user}`,
      `correct SUDO_PASSWORD in .env: it is ${user}'s own password on ${host}`,
    );
  if (/password is required|authentication is required|terminal is required/i.test(words))
    return refused(
      `sudo asks ${user} for a password, and there is none to give`,
      `set SUDO_PASSWORD in .env; or ${allow}`,
    );
  return refused(`sudo does not run commands for ${user}`, `try it by hand on ${host}: sudo -n true`);
}

/** A failure of which sudo itself may be the cause: nothing on stdout, and something to say. */
function looksRefused({ code, stdout, stderr }: Outcome): boolean {
  return stdout === '' && ((code === 1 && stderr !== '') || (code === 127 && /\bsudo\b/.test(stderr)));
}

/** A program that is not there is 127 in every shell; sudo says 1, and its name. */
function notFound(outcome: Outcome, [program = '']: readonly string[]): Outcome {
  const last = outcome.stderr.trimEnd().split('\n').at(-1) ?? '';
  const names = [`sudo: ${program}: `, `sudo: '${program}': `].some((start) => last.startsWith(start));
  return outcome.code === 1 && names ? { ...outcome, code: 127 } : outcome;
}

function withFirstLine(line: string, stdin: Input = ''): Input {
  if (typeof stdin !== 'function') return Buffer.concat([Buffer.from(`${line}\n`), Buffer.from(stdin)]);
  return () =>
    Readable.from(
      (async function* () {
        yield Buffer.from(`${line}\n`);
        yield* stdin();
      })(),
    );
}
