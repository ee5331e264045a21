import { createInterface } from 'node:readline/promises';
import { type ApplyContext, apply, type StepResult } from './apply.ts';
import { requireSecrets } from './config/env.ts';
import { EXIT, HomelabError, messageOf, UsageError } from './errors.ts';
import { type Journal, noJournal, openJournal } from './journal.ts';
import { type Lab, openLab } from './lab-context.ts';
import { LockStore } from './ledger/lockfile.ts';
import type { Args, Flags, RunContext, Script } from './main.ts';
import { endPrograms } from './ports/exec.ts';
import { buildPorts } from './ports/index.ts';
import type { Ports } from './ports/types.ts';
import { type RunLock, takeLock } from './run-lock.ts';
import type { Secrets } from './secret.ts';
import type { Plan, Proof, Step } from './step.ts';
import { suggestion } from './suggest.ts';
import { failureText, noteText, planText, Talk } from './talk.ts';

type Result = { plan?: Plan; applied: StepResult[]; proofs: Proof[]; report?: unknown; exit: number; error?: string };

/**
 * The four beats of one script: observe → plan → apply → verify.
 * @returns the exit code; everything that goes wrong has been said by then
 */
export async function run<Seen, A extends Args>(
  script: Script<Seen, A>,
  args: A,
  flags: Flags,
  argv: string[],
): Promise<number> {
  const began = performance.now();
  const { lab, secrets, settings, warnings } = openLab(
    flags.config,
    process.env,
    (config) => [...(script.secrets?.(config, args) ?? []), ...(script.optionalSecrets?.(config) ?? [])],
    script.mendsLeases,
  );
  requireSecrets(secrets, script.secrets?.(lab.config, args) ?? [], lab.paths.env);
  checkLimit(lab, flags.limit);
  const talk = new Talk(secrets, flags.verbose);
  // Those of homelab.yaml are for `check`; said by every script of the chain they would hide what matters now.
  for (const warning of warnings) talk.detail(`warning: ${warning}`);

  const built = buildPorts(lab, secrets, settings);

  const looksOnly = flags.dryRun || flags.check;
  const lock = looksOnly || script.lock === 'none' ? undefined : takeLock(lab.paths.state, script.name);
  const journal = looksOnly ? noJournal : openJournal(lab.paths.state, script.name, secrets);
  journal.write({
    event: 'start',
    script: script.name,
    lab: lab.config.name,
    args: argv,
    mode: flags.check ? 'check' : flags.dryRun ? 'dry-run' : 'apply',
  });
  const { endpoints } = built;
  const endings: (() => Promise<void>)[] = [];
  const context: RunContext = {
    warnings,
    atEnd: (work) => endings.unshift(work),
    endpoints,
    settings,
    secrets,
    say: (text) => talk.say(text),
    detail: (text) => talk.detail(text),
    aside: (work) => talk.aside(work),
  };
  const end = async (): Promise<void> => {
    for (const work of endings.splice(0)) await work().catch((error) => talk.failure(error));
  };
  const stop = onInterrupt(journal, lock, talk, end);

  let result: Result;
  try {
    result = await beats(script, args, flags, { lab, secrets, journal, talk, ports: built, context });
  } catch (error) {
    talk.failure(error);
    result = {
      applied: [],
      proofs: [],
      exit: error instanceof HomelabError ? error.exit : EXIT.failed,
      error: messageOf(error),
    };
  } finally {
    stop();
    await end();
    await built.close();
  }
  journal.write({
    event: 'end',
    exit: result.exit,
    seconds: Math.round(performance.now() - began) / 1000,
    error: result.error,
  });
  if (result.exit === EXIT.failed && journal.file)
    talk.say(
      `journal: ${journal.file}\nto go on from here, correct the cause and run the same command again; what is done is not done twice`,
    );
  journal.close();
  lock?.release();
  if (flags.json)
    await print(secrets.redact(JSON.stringify({ script: script.name, lab: lab.config.name, ...result }, null, 2)));
  return result.exit;
}

type Beat = { lab: Lab; secrets: Secrets; journal: Journal; talk: Talk; ports: Ports; context: RunContext };

async function beats<Seen, A extends Args>(
  script: Script<Seen, A>,
  args: A,
  flags: Flags,
  { lab, secrets, journal, talk, ports, context }: Beat,
): Promise<Result> {
  const look = async (): Promise<{ seen: Seen; plan: Plan }> => {
    const seen = await talk.during(`${script.name}: looking`, script.observe(lab, ports, args, context));
    return { seen, plan: limited(script.plan(lab, seen, args), flags.limit) };
  };
  const { seen, plan } = await look();
  journal.write({ event: 'plan', steps: plan.steps.map(({ id, why, host }) => ({ id, why, host })) });
  const pending = plan.steps.length > 0 || plan.notes.some((note) => note.level === 'blocker');

  if (flags.dryRun || flags.check) {
    const report = script.report?.(lab, seen, args, []);
    if (!flags.json)
      await print(secrets.redact([planText(script.name, plan), report?.text].filter(Boolean).join('\n')));
    return {
      plan,
      applied: [],
      proofs: [],
      report: report?.data,
      exit: flags.check && pending ? EXIT.pending : (report?.exit ?? EXIT.ok),
    };
  }

  for (const note of plan.notes) talk.say(noteText(note));
  const blockers = plan.notes.filter((note) => note.level === 'blocker');
  if (blockers.length > 0)
    return { plan, applied: [], proofs: [], exit: EXIT.failed, error: blockers.map((note) => note.text).join('; ') };

  let applied: StepResult[] = [];
  if (plan.steps.length > 0) {
    await consent(script, lab, plan, flags, talk);
    const lock = new LockStore(lab.lock, lab.paths.lock, ports.files);
    const operations = script.operations?.(lab, args, context);
    const applyContext: ApplyContext = {
      ports,
      secrets,
      journal,
      lock,
      operations,
      stateFolder: lab.paths.state,
      onStart: (step) => talk.stepStart(step),
      onEnd: (step, end) => talk.stepEnd(step, end),
    };
    applied = await apply(plan, applyContext);
    const failed = applied.filter((step) => step.outcome === 'failed');
    if (failed.length > 0) return failedSteps(plan, applied, failed, talk);
    lab.lock = lock.value;
  }

  const proofs = script.verify
    ? await talk.during(`${script.name}: proving`, script.verify(lab, ports, args, context))
    : [];
  for (const proof of proofs) {
    talk.proof(proof);
    journal.write({ event: 'proof', ...proof });
  }
  const disproved = proofs.filter((proof) => !proof.ok && !proof.skipped);
  const report = script.report?.(lab, seen, args, applied);
  if (report && !flags.json) await print(secrets.redact(report.text));
  const changed = applied.filter((step) => step.changed).length;
  const proven = proofs.filter((proof) => proof.ok).length;
  const summary = plan.steps.length === 0 ? 'nothing to do' : `${changed} change${changed === 1 ? '' : 's'}`;
  talk.say(`${script.name}: ${summary}${proofs.length > 0 ? `; ${proven} of ${proofs.length} proofs hold` : ''}`);
  const exit = disproved.length > 0 ? EXIT.failed : (report?.exit ?? EXIT.ok);
  return {
    plan,
    applied,
    proofs,
    report: report?.data,
    exit,
    error: disproved.length > 0 ? `not proven: ${disproved.map((proof) => proof.claim).join('; ')}` : undefined,
  };
}

function failedSteps(plan: Plan, applied: StepResult[], failed: StepResult[], talk: Talk): Result {
  for (const { id, error } of failed) {
    const step = plan.steps.find((s) => s.id === id);
    talk.say(`\n✗ ${step?.host ? `${step.host}: ` : ''}${step?.title ?? id}`);
    talk.say(failureText(error));
  }
  const done = applied.filter((step) => step.outcome === 'done').length;
  const skipped = applied.filter((step) => step.outcome === 'skipped').length;
  talk.say(`\n${done} done, ${failed.length} failed, ${skipped} skipped`);
  return {
    plan,
    applied,
    proofs: [],
    exit: failed.every(({ error }) => error instanceof HomelabError && error.exit === EXIT.locked)
      ? EXIT.locked
      : EXIT.failed,
    error: failed.map(({ id, error }) => `${id}: ${messageOf(error)}`).join('; '),
  };
}

/** Asks before changing on a terminal; destroying needs the lab's name typed, or given, everywhere. */
async function consent(
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

/** Steps of the named hosts and of none; what is left out counts as done for those that are after it. */
export function limited(plan: Plan, limit: readonly string[]): Plan {
  if (limit.length === 0) return plan;
  const steps = plan.steps.filter((step) => !step.host || limit.includes(step.host));
  const kept = new Set(steps.map((step) => step.id));
  const left = plan.steps.length - steps.length;
  const notes =
    left > 0
      ? [...plan.notes, { level: 'info' as const, text: `--limit leaves out ${left} step${left === 1 ? '' : 's'}` }]
      : plan.notes;
  return { notes, steps: steps.map((step) => ({ ...step, after: step.after?.filter((id) => kept.has(id)) })) };
}

function checkLimit({ config }: Lab, limit: readonly string[]): void {
  const known = [...config.k3s.nodes, ...config.proxmox.nodes, ...config.nas].map(({ name }) => name);
  const unknown = limit.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new UsageError(
      unknown.map((name) => `--limit ${name}: there is no such host; ${suggestion(name, known)}`).join('\n'),
    );
}

/** Seconds that an interrupted run has to tidy up. */
const TIDY_UP = 5;

function onInterrupt(journal: Journal, lock: RunLock | undefined, talk: Talk, end: () => Promise<void>): () => void {
  const handle = (signal: NodeJS.Signals): void => {
    talk.say(`\n${signal}: stopped; run the same command again to go on`);
    endPrograms('SIGTERM');
    journal.write({ event: 'end', exit: 130, seconds: 0, error: signal });
    lock?.release();
    const exit = (): never => process.exit(signal === 'SIGINT' ? 130 : 143);
    setTimeout(exit, TIDY_UP * 1000);
    void end().finally(exit);
  };
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, handle);
  return () => {
    for (const signal of signals) process.off(signal, handle);
  };
}

/** Waits until stdout has taken it: a pipe may be slower than the process's end. */
function print(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(`${text}\n`, () => resolve()));
}
