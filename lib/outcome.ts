import type { StepResult } from './apply.ts';
import { within } from './deadline.ts';
import { messageOf } from './errors.ts';
import type { Lab } from './lab-context.ts';
import type { Args, Flags, RunContext } from './main.ts';
import type { Ports } from './ports/types.ts';
import type { Plan, Proof } from './step.ts';

/** What a run is to those who are told of it. */
export type Call = {
  /** A UUID: the same in everything that is told of one run. */
  id: string;
  script: string;
  args: Args;
  flags: Flags;
  began: Date;
  /** What it was given; missing where it ended before homelab.yaml and .env were read whole. */
  opened?: { lab: Lab; ports: Ports; context: RunContext };
  /** Says something to the person at the terminal, or to cron's mail. */
  say: (text: string) => void;
};

/** How a run ended. */
export type Outcome = {
  exit: number;
  seconds: number;
  /** What ended it as a whole, where something did. */
  error?: unknown;
  signal?: string;
  plan?: Plan;
  applied: readonly StepResult[];
  proofs: readonly Proof[];
  /** Ids of the steps under way. */
  running?: readonly string[];
};

/**
 * Tells others of a script's runs. What is thrown is a warning: it neither changes a run's verdict nor hides it.
 * Looks (--dry-run, --check) are no runs.
 */
export type OutcomeHook = {
  /** The lab is open and the run begins; it goes on meanwhile. */
  started: (call: Call) => Promise<void>;
  /** Whatever its end, short of SIGKILL: success, failure, a wrong call or configuration, a signal, a defect. */
  ended: (call: Call, outcome: Outcome) => Promise<void>;
};

/** Tells of one run, once. */
export type Teller = { opened(opened: NonNullable<Call['opened']>): void; ended(outcome: Outcome): Promise<void> };

/** Seconds that telling may take: it is the last thing that a run does, and a shutdown does not wait for ever. */
const LONGEST = 45;

/** @param load the script's hook, loaded when there is something to tell */
export function tellerOf(load: (() => Promise<OutcomeHook>) | undefined, call: Call): Teller {
  if (!load || call.flags.dryRun || call.flags.check) return { opened() {}, async ended() {} };
  const safely = async (work: (hook: OutcomeHook) => Promise<void>): Promise<void> => {
    try {
      await within(LONGEST, `telling of ${call.script}`, async () => work(await load()));
    } catch (error) {
      const text = `warning: not told: ${messageOf(error)}`;
      call.say(call.opened?.context.secrets.redact(text) ?? text);
    }
  };
  let starting = Promise.resolve();
  let ending: Promise<void> | undefined;
  return {
    opened(opened) {
      call.opened = opened;
      starting = safely((hook) => hook.started(call));
    },
    ended(outcome) {
      // In order, and so that nothing is left behind that still tells of the start.
      ending ??= starting.then(() => safely((hook) => hook.ended(call, outcome)));
      return ending;
    },
  };
}

/** @param began what performance.now() said then */
export function secondsSince(began: number): number {
  return Math.round(performance.now() - began) / 1000;
}
