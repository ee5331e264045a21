import { createInterface } from 'node:readline/promises';
import { EXIT, HomelabError, UsageError } from './errors.ts';
import type { Lab } from './lab-context.ts';
import type { Flags } from './main.ts';
import type { Plan, Step } from './step.ts';
import { planText, type Talk } from './talk.ts';

/** Asks before changing on a terminal; destroying needs the names typed that its steps say, or given, everywhere. */
export async function consent(
  { name, asks }: { name: string; asks?: false },
  lab: Lab,
  plan: Plan,
  flags: Flags,
  talk: Talk,
): Promise<void> {
  const destroying = plan.steps.filter((step) => step.destroys);
  // Its notes have been said.
  const text = planText(name, { ...plan, notes: [] });
  const names = namesFor(lab, plan);
  const missing = names.filter((wanted) => !flags.confirm.includes(wanted));
  if (destroying.length > 0) {
    talk[missing.length > 0 ? 'warn' : 'say'](text);
    if (missing.length > 0) await typed(missing, names, lab, destroying);
  } else if (process.stdin.isTTY && !flags.yes && asks !== false) {
    talk.warn(text);
    const answer = await ask('go on? [y/N] ');
    if (!/^y(es)?$/i.test(answer)) throw new HomelabError('not confirmed; nothing was changed', { exit: EXIT.usage });
  } else talk.detail(text);
}

/** Names of --confirm for which nothing is destroyed: a slip, or what was done already. */
export function unasked(lab: Lab, plan: Plan, { confirm }: Pick<Flags, 'confirm'>): string[] {
  const wanted = namesFor(lab, plan);
  return confirm.filter((name) => !wanted.includes(name));
}

function namesFor(lab: Lab, { steps }: Plan): string[] {
  const names = steps.flatMap((step) => (step.destroys ? (step.confirm ?? [lab.config.name]) : []));
  return [...new Set(names)];
}

/** @param all every name that --confirm would have to give, those that were given included */
async function typed(
  missing: readonly string[],
  all: readonly string[],
  lab: Lab,
  destroying: readonly Step[],
): Promise<void> {
  const refused = (): UsageError =>
    new UsageError(
      `${destroying.map((step) => step.title).join('; ')}: this destroys, and was not confirmed; nothing was changed`,
      { fix: `give --confirm ${all.join(',')} when that is wanted` },
    );
  if (!process.stdin.isTTY) throw refused();
  for (const name of missing) {
    const what = name === lab.config.name ? `the lab's name (${name})` : name;
    if ((await ask(`type ${what} to destroy what is listed: `)) !== name) throw refused();
  }
}

/** What was typed. Ctrl-C and Ctrl-D at the question are an answer too: no. */
export async function ask(
  question: string,
  input: NodeJS.ReadableStream = process.stdin,
  output: NodeJS.WritableStream = process.stderr,
): Promise<string> {
  const prompt = createInterface({ input, output });
  try {
    return (await prompt.question(question)).trim();
  } catch (error) {
    if (!(error instanceof Error && error.name === 'AbortError')) throw error;
    output.write('\n');
    return '';
  } finally {
    prompt.close();
  }
}
