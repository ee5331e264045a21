import { createInterface } from 'node:readline/promises';
import { EXIT, HomelabError, UsageError } from './errors.ts';
import type { Lab } from './lab-context.ts';
import type { Flags } from './main.ts';
import type { Plan, Step } from './step.ts';
import { planText, type Talk } from './talk.ts';

/** Asks before changing on a terminal; destroying needs the lab's name typed, or given, everywhere. */
export async function consent(
  { name, asks }: { name: string; asks?: false },
  lab: Lab,
  plan: Plan,
  flags: Flags,
  talk: Talk,
): Promise<void> {
  const destroying = plan.steps.filter((step) => step.destroys);
  if (destroying.length > 0 && flags.confirm !== lab.config.name) {
    talk.say(planText(name, plan));
    await typed(lab.config.name, destroying);
  } else if (process.stdin.isTTY && !flags.yes && asks !== false) {
    talk.say(planText(name, plan));
    const answer = await ask('go on? [y/N] ');
    if (!/^y(es)?$/i.test(answer)) throw new HomelabError('not confirmed; nothing was changed', { exit: EXIT.usage });
  } else talk.detail(planText(name, plan));
}

async function typed(lab: string, destroying: Step[]): Promise<void> {
  const refused = (): UsageError =>
    new UsageError(
      `${destroying.map((step) => step.title).join('; ')}: this destroys, and was not confirmed; nothing was changed`,
      { fix: `give --confirm ${lab} when that is wanted` },
    );
  if (!process.stdin.isTTY) throw refused();
  if ((await ask(`type the lab's name (${lab}) to destroy what is listed: `)) !== lab) throw refused();
}

async function ask(question: string): Promise<string> {
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await prompt.question(question)).trim();
  } finally {
    prompt.close();
  }
}
