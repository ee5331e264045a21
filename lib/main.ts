import { randomUUID } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError, Help, InvalidArgumentError, Option } from 'commander';
import type { Operation, StepResult } from './apply.ts';
import type { Config } from './config/schema.ts';
import { EXIT, type Explanation, HomelabError, messageOf } from './errors.ts';
import type { Lab } from './lab-context.ts';
import { type OutcomeHook, secondsSince, type Teller, tellerOf } from './outcome.ts';
import { DEFAULT_CONFIG } from './paths.ts';
import type { Ports, Readers } from './ports/types.ts';
import type { Plan, Proof } from './step.ts';

// V8 keeps three times 16 MB for young objects where it may. Scripts wait most of the time; a pod has little room.
setFlagsFromString('--semi-space-growth-factor=1');

/** The flags of every script. */
export type Flags = {
  config: string;
  dryRun: boolean;
  check: boolean;
  json: boolean;
  limit: string[];
  yes: boolean;
  /** Names that were given beforehand, and need not be typed. */
  confirm: string[];
  verbose: boolean;
  /** Says nothing unless something is wrong. */
  quiet?: boolean;
};

/** Arguments and options of one script, as commander parsed them, beside the common flags. */
export type Args = Record<string, unknown>;

export type ScriptOption = {
  flags: string;
  description: string;
  default?: string | boolean | string[];
  choices?: string[];
  required?: boolean;
  /** @param before what the same option, given before, or its default, came to */
  parse?: (text: string, before: unknown) => unknown;
};

/** What a script prints on stdout when it is done. */
export type Report = {
  text: string;
  data: unknown /** Exit code where everything went well but the finding is not: 3 for "stale". */;
  exit?: number;
};

export type Script<Seen, A extends Args = Args> = {
  name: string;
  /** One line. */
  summary: string;
  /** Longer help: when to use it, examples. */
  description?: string;
  /** Commander's notation: "<name>", "[set]". */
  arguments?: { name: string; description: string }[];
  options?: ScriptOption[];
  /** Names of secrets that must be there before anything starts; `optional` ones may come from the environment too. */
  secrets?: (config: Config, args: A) => string[];
  optionalSecrets?: (config: Config) => string[];
  /** `lab` (default): one run of a lab at a time. `none`: reads only, or has a lock of its own. */
  lock?: 'lab' | 'none';
  /** False: what it changes is of no lab that anyone would miss, so a person at a terminal is not asked first. */
  asks?: false;
  /** Runs although leases contradict homelab.yaml (Lab.leaseProblems): it is there to mend that. */
  mendsLeases?: boolean;
  /** Reads reality. Unreachable things are values. */
  observe: (lab: Lab, readers: Readers, args: A, context: RunContext) => Promise<Seen>;
  /** Pure. */
  plan: (lab: Lab, seen: Seen, args: A) => Plan;
  operations?: (lab: Lab, args: A, context: RunContext) => Record<string, Operation>;
  /** What the output of a program that failed means, here or on a host, or Proxmox's words. Pure; undefined: not known. */
  explain?: (output: string) => Pick<Explanation, 'cause' | 'fix'> | undefined;
  /**
   * Proves the outcome. What it creates for a proof it removes. Not run by --dry-run and --check.
   * `seen` is what was observed before anything was changed: where nothing was (`applied` is empty) it proves as well
   * as a second look, and what it holds need not be asked again.
   */
  verify?: (
    lab: Lab,
    ports: Ports,
    args: A,
    context: RunContext,
    seen: Seen,
    applied: readonly StepResult[],
  ) => Promise<Proof[]>;
  report?: (lab: Lab, seen: Seen, args: A, applied: readonly StepResult[]) => Report | undefined;
  /** What a person does after a step has failed, where that is not: run the same again, and what is done is not done twice. */
  afterFailure?: string;
  /** Tells others how its runs go (notifications, metrics). */
  outcome?: () => Promise<OutcomeHook>;
};

export type RunContext = {
  /** Settings of the run that ports need; see lib/ports. */
  endpoints: import('./ports/endpoints.ts').Endpoints;
  settings: import('./config/env.ts').Settings;
  secrets: import('./secret.ts').Secrets;
  say: (text: string) => void;
  detail: (text: string) => void;
  /** Runs `work`, which lets another program talk on this terminal; nothing is drawn on it meanwhile. */
  aside: <T>(work: () => Promise<T>) => Promise<T>;
  /** What homelab.yaml is warned about, with line and column. */
  warnings: string[];
  /** Aborted when the run was told to stop (Ctrl-C). */
  interrupted: AbortSignal;
  /** Runs when the script ends, however it ends (short of SIGKILL), last registered first. */
  atEnd: (work: () => Promise<void>) => void;
};

/** A script with subcommands. */
export type Family = { name: string; summary: string; description?: string; commands: AnyScript[] };
// A list of scripts holds scripts of different types; each is only ever run with its own.
// biome-ignore lint/suspicious/noExplicitAny: see above
export type AnyScript = Script<any, any>;

/**
 * Declares a script, and runs it when its file is the program's entry point; tests import it instead.
 * @example export default defineScript(import.meta.url, { name: 'install-k3s', observe, plan, verify, … })
 */
export function defineScript<T extends AnyScript | Family>(url: string, script: T): T {
  if (isEntry(url)) {
    // A reader that goes away (`| head -1`) must not end a run half-way; lib/run.ts judges what could not be printed.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
    void main(script, process.argv.slice(2)).then((code) => process.exit(code));
  }
  return script;
}

/** Lets a script's generics be inferred where it stands inside a Family. */
export function command<Seen, A extends Args>(script: Script<Seen, A>): Script<Seen, A> {
  return script;
}

/** Parses, runs, and returns the exit code. Errors are shown, never thrown. */
export async function main(script: AnyScript | Family, argv: string[]): Promise<number> {
  let exit: number = EXIT.ok;
  const began = performance.now();
  const program = new Command(script.name).description(helpText(script));
  const scripts = new Map<Command, AnyScript>();
  let chosen: Command = program;
  program.hook('preSubcommand', (_program, command) => {
    chosen = command;
  });
  let teller: Teller | undefined;
  // Journals and results name the whole command: `backup-postgres-run`, not `run`.
  const nameOf = (one: AnyScript): string => ('commands' in script ? `${script.name}-${one.name}` : one.name);
  const tells = (command: Command): Teller => {
    const one = scripts.get(command);
    const flags = command.opts() as Flags;
    return tellerOf(one?.outcome, {
      ...{ id: randomUUID(), script: one ? nameOf(one) : script.name, args: command.opts(), flags, began: new Date() },
      say: (text) => process.stderr.write(`${text}\n`),
    });
  };
  const bind = (command: Command, one: AnyScript): void => {
    scripts.set(command, one);
    for (const argument of one.arguments ?? []) command.argument(argument.name, argument.description);
    for (const option of one.options ?? []) command.addOption(toOption(option));
    for (const option of COMMON) command.addOption(toOption(option));
    command.action(async (...values: unknown[]) => {
      const positional = values.slice(0, -2);
      const options = command.opts();
      const named = Object.fromEntries(
        (one.arguments ?? []).map(({ name }, i) => [name.replaceAll(/[<>[\].]/g, ''), positional[i]]),
      );
      const { run } = await import('./run.ts');
      teller = tells(command);
      exit = await run({ ...one, name: nameOf(one) }, { ...options, ...named } as Args, options as Flags, argv, teller);
    });
  };
  if ('commands' in script) {
    for (const one of script.commands) bind(settle(program.command(one.name).description(helpText(one))), one);
  } else bind(program, script);
  settle(program);
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    // Commander has said it already.
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    const code =
      error instanceof CommanderError ? EXIT.usage : error instanceof HomelabError ? error.exit : EXIT.failed;
    if (!(error instanceof CommanderError)) {
      const { failureText } = await import('./talk.ts');
      process.stderr.write(`${failureText(error)}\n`);
    } else if (error.code === 'commander.excessArguments' && 'commands' in script)
      process.stderr.write(commandsOfTheirOwn(script, chosen));
    teller ??= tells(chosen);
    await teller.ended({ exit: code, seconds: secondsSince(began), error, applied: [], proofs: [] });
    if (argv.includes('--json')) await print(JSON.stringify(unstarted(script.name, code, messageOf(error)), null, 2));
    return code;
  }
  return exit;
}

/** `make` targets stand for one command each: `ARGS=list` does not make it another one. */
function commandsOfTheirOwn({ name, commands }: Family, chosen: Command): string {
  const meant = commands.find((one) => one.name !== chosen.name() && chosen.args.includes(one.name));
  return meant ? `to fix: ${meant.name} is a command of its own: npx tsx scripts/${name}.ts ${meant.name}\n` : '';
}

/** What --json prints of a call that ended before anything was looked at: still one document. */
function unstarted(script: string, exit: number, error: string): object {
  return { script, applied: [], proofs: [], exit, error };
}

/** Waits until stdout has taken it: a pipe may be slower than the process's end. */
function print(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(`${text}\n`, () => resolve()));
}

const COMMON: ScriptOption[] = [
  { flags: '--config <file>', description: 'the lab', default: DEFAULT_CONFIG },
  { flags: '--dry-run', description: 'show what would be done, change nothing', default: false },
  { flags: '--check', description: 'the same, and exit with 3 when something would be done', default: false },
  { flags: '--json', description: 'the result as one JSON document on stdout', default: false },
  {
    flags: '--limit <hosts>',
    description: 'only steps of these hosts (comma-separated), and of none; default: all',
    default: [],
    parse: (text) => {
      const hosts = text.split(',').filter(Boolean);
      // An empty variable in a cron job must not mean every host.
      if (hosts.length === 0) throw new Error('It names no host.');
      return hosts;
    },
  },
  { flags: '--yes', description: 'do not ask before changing; destroying still asks', default: false },
  {
    flags: '--confirm <names>',
    description: 'what you would have to type before something is destroyed (comma-separated, or several times)',
    default: [],
    parse: gathered,
  },
  { flags: '--verbose', description: 'say more', default: false },
  { flags: '--quiet', description: 'say nothing unless something is wrong (for cron)', default: false },
];

/** Names of an option that may be given several times, each with one name or several: all of them. */
export function gathered(text: string, before: unknown): string[] {
  const names = text.split(',').flatMap((name) => name.trim() || []);
  return [...(Array.isArray(before) ? (before as string[]) : []), ...names];
}

function toOption({ flags, description, default: value, choices, required, parse }: ScriptOption): Option {
  const option = new Option(flags, description);
  if (value !== undefined) option.default(value);
  if (choices) option.choices(choices);
  if (required) option.makeOptionMandatory();
  if (parse) {
    option.argParser((text, before) => {
      try {
        return parse(text, before);
      } catch (error) {
        throw new InvalidArgumentError(messageOf(error));
      }
    });
  }
  return option;
}

/** What is off or empty unless it is given needs no "(default: …)". */
function described(option: Option): string {
  return new Help().optionDescription(option).replace(/ \(default: (false|\[\])\)$/, '');
}

/** Lines of a paragraph are joined, so that the help wraps them at the terminal's width; indented ones stay. */
function helpText({ summary, description }: { summary: string; description?: string }): string {
  return [summary, description?.replaceAll(/(?<=\S)\n(?=\S)/g, ' ')].filter(Boolean).join('\n\n');
}

/** No process.exit inside, suggestions for slips, excess arguments refused. */
function settle(command: Command): Command {
  return command
    .exitOverride()
    .showSuggestionAfterError(true)
    .allowExcessArguments(false)
    .configureHelp({ optionDescription: described })
    .showHelpAfterError('(--help says what there is)');
}

function isEntry(url: string): boolean {
  const entry = process.argv[1];
  return entry !== undefined && realpathSync(entry) === realpathSync(fileURLToPath(url));
}
