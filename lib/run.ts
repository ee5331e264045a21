import { type ApplyContext, apply, type StepResult } from './apply.ts';
import { requireSecrets } from './config/env.ts';
import { consent, unasked } from './consent.ts';
import { EXIT, HomelabError, messageOf } from './errors.ts';
import { onInterrupt } from './interrupt.ts';
import { type Journal, noJournal, openJournal } from './journal.ts';
import { type Lab, openLab } from './lab-context.ts';
import { LockStore } from './ledger/lockfile.ts';
import { checkLimit, limited } from './limit.ts';
import type { AnyScript, Args, Flags, RunContext, Script } from './main.ts';
import { type Outcome, secondsSince, type Teller } from './outcome.ts';
import { DEFAULT_CONFIG } from './paths.ts';
import { planForJson } from './plan-json.ts';
import { buildPorts } from './ports/index.ts';
import type { Ports } from './ports/types.ts';
import { takeLock } from './run-lock.ts';
import type { Secrets } from './secret.ts';
import type { Plan, Proof } from './step.ts';
import { failureText, noteText, planText, Talk } from './talk.ts';

const GO_ON = 'to go on from here, correct the cause and run the same command again; what is done is not done twice';

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
  teller?: Teller,
): Promise<number> {
  const began = performance.now();
  const { lab, secrets, settings, warnings, isCurrent } = openLab(
    flags.config,
    process.env,
    (config) => [...(script.secrets?.(config, args) ?? []), ...(script.optionalSecrets?.(config) ?? [])],
    script.mendsLeases,
  );
  requireSecrets(secrets, script.secrets?.(lab.config, args) ?? [], lab.paths.env);
  checkLimit(lab, flags.limit);
  const talk = new Talk(secrets, flags);
  // Those of homelab.yaml are for `check`; said by every script of the chain they would hide what matters now.
  for (const warning of warnings) talk.detail(`warning: ${warning}`);

  const built = buildPorts(lab, secrets, settings, (text) => talk.detail(text));

  const looksOnly = flags.dryRun || flags.check;
  const lock = looksOnly || script.lock === 'none' ? undefined : takeLock(lab.paths.state, script.name);
  if (lock && !isCurrent()) {
    lock.release();
    throw new HomelabError(`${lab.paths.lock}, or a secret of the lab, was just changed by another run`, {
      exit: EXIT.locked,
      fix: 'run it again',
    });
  }
  const journal = looksOnly ? noJournal : journalOf(script, lab, secrets, talk);
  journal.write({
    event: 'start',
    script: script.name,
    lab: lab.config.name,
    args: argv,
    mode: flags.check ? 'check' : flags.dryRun ? 'dry-run' : 'apply',
  });
  const { endpoints } = built;
  const endings: (() => Promise<void>)[] = [];
  const interrupted = new AbortController();
  const context: RunContext = {
    warnings,
    interrupted: interrupted.signal,
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
  const progress: Progress = { applied: [], proofs: [], running: new Set() };
  const outcome = (): Omit<Outcome, 'exit'> => ({
    ...{ ...progress, running: [...progress.running] },
    seconds: secondsSince(began),
  });
  const stop = onInterrupt(interrupted, talk, {
    end,
    tell: async (interruption) => teller?.ended({ ...outcome(), ...interruption }),
    last: ({ exit, why }) => {
      journal.write({ event: 'end', exit, seconds: secondsSince(began), error: why });
      talk.release();
      lock?.release();
    },
  });
  teller?.opened({ lab, ports: built, context });
  // What an interrupted run comes to is told by its signal handler, which ends the process.
  const halt = async (): Promise<void> => {
    if (interrupted.signal.aborted) await new Promise<never>(() => {});
  };

  let result: Result;
  let thrown: unknown;
  try {
    result = await beats(script, args, flags, { lab, secrets, journal, talk, ports: built, context, progress });
    await halt();
  } catch (error) {
    await halt();
    thrown = error;
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
    seconds: secondsSince(began),
    error: result.error,
  });
  if (result.exit === EXIT.failed && journal.file) {
    talk.say(`journal: ${journal.file}`);
    if (result.applied.length > 0) talk.say(script.afterFailure ?? GO_ON);
  }
  journal.close();
  lock?.release();
  const roundTrips = built.ssh.roundTrips();
  const trips = Object.entries(roundTrips).map(([host, count]) => `${host} ${count}`);
  if (trips.length > 0) talk.detail(`SSH round trips: ${trips.join(', ')}`);
  if (flags.json) {
    const named = { script: script.name, lab: lab.config.name };
    const plan = result.plan && planForJson(result.plan);
    await print(secrets.redact(JSON.stringify({ ...named, ...result, plan, roundTrips }, null, 2)));
  }
  await teller?.ended({ ...outcome(), exit: result.exit, error: thrown });
  if (result.exit !== EXIT.ok) talk.release();
  talk.remind(flags.config === DEFAULT_CONFIG ? undefined : flags.config);
  return result.exit;
}

/** What takes no lock changes nothing here, and so runs also where nothing can be written. */
function journalOf({ name, lock }: Pick<AnyScript, 'name' | 'lock'>, lab: Lab, secrets: Secrets, talk: Talk): Journal {
  try {
    return openJournal(lab.paths.state, name, secrets, new Date(), (text) => talk.warn(text));
  } catch (error) {
    if (lock !== 'none') throw error;
    talk.detail(`warning: without a journal: ${messageOf(error)}`);
    return noJournal;
  }
}

type Beat = {
  lab: Lab;
  secrets: Secrets;
  journal: Journal;
  talk: Talk;
  ports: Ports;
  context: RunContext;
  progress: Progress;
};

/** How far a run has come, for those who are told of its end. */
type Progress = { plan?: Plan; applied: StepResult[]; proofs: Proof[]; running: Set<string> };

async function beats<Seen, A extends Args>(
  script: Script<Seen, A>,
  args: A,
  flags: Flags,
  { lab, secrets, journal, talk, ports, context, progress }: Beat,
): Promise<Result> {
  const look = async (): Promise<{ seen: Seen; plan: Plan }> => {
    const seen = await talk.during(`${script.name}: looking`, script.observe(lab, ports, args, context));
    return { seen, plan: limited(script.plan(lab, seen, args), flags.limit) };
  };
  const { seen, plan } = await look();
  progress.plan = plan;
  journal.write({ event: 'plan', steps: plan.steps.map(({ id, why, host }) => ({ id, why, host })) });
  const pending = plan.steps.length > 0 || plan.notes.some((note) => note.level === 'blocker');

  if (flags.dryRun || flags.check) {
    const report = script.report?.(lab, seen, args, []);
    const exit = flags.check && pending ? EXIT.pending : (report?.exit ?? EXIT.ok);
    if (!flags.json && !(flags.check && flags.quiet && exit === EXIT.ok))
      await print(secrets.redact(talk.mark([planText(script.name, plan), report?.text].filter(Boolean).join('\n'))));
    return { plan, applied: [], proofs: [], report: report?.data, exit };
  }

  for (const note of plan.notes) talk[note.level === 'info' ? 'say' : 'warn'](noteText(note));
  for (const name of unasked(lab, plan, flags)) talk.say(`note: --confirm ${name} was not asked for`);
  const blockers = plan.notes.filter((note) => note.level === 'blocker');
  if (blockers.length > 0) {
    talk.say(`${script.name}: nothing was changed; first put right what blocks it`);
    return { plan, applied: [], proofs: [], exit: EXIT.failed, error: blockers.map((note) => note.text).join('; ') };
  }

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
      explain: script.explain,
      interrupted: context.interrupted,
      secretsFolder: lab.paths.secrets,
      onStart: (step) => {
        progress.running.add(step.id);
        talk.stepStart(step);
      },
      onSeen: (step, seen) => talk.stepSeen(step, seen),
      onEnd: (step, end) => {
        progress.running.delete(step.id);
        progress.applied.push(end);
        talk.stepEnd(step, end);
      },
    };
    applied = await apply(plan, applyContext);
    const failed = applied.filter((step) => step.outcome === 'failed');
    if (failed.length > 0) return failedSteps(plan, applied, failed, talk);
    lab.lock = lock.value;
  }

  const proofs = script.verify
    ? await talk.during(`${script.name}: proving`, script.verify(lab, ports, args, context, seen, applied))
    : [];
  progress.proofs = proofs;
  for (const proof of proofs) {
    talk.proof(proof);
    journal.write({ event: 'proof', ...proof });
  }
  const disproved = proofs.filter((proof) => !proof.ok && !proof.skipped);
  const report = script.report?.(lab, seen, args, applied);
  const wrong = disproved.length > 0 || (report?.exit ?? EXIT.ok) !== EXIT.ok;
  if (report && !flags.json && !(flags.quiet && !wrong)) await print(secrets.redact(talk.mark(report.text)));
  const changed = applied.filter((step) => step.changed).length;
  const summary = plan.steps.length === 0 ? 'nothing to do' : `${changed} change${changed === 1 ? '' : 's'}`;
  // A list or a finding speaks for itself; "nothing to do" below "1 drifted" would deny it.
  if (!report || applied.length > 0 || proofs.length > 0)
    talk.say(`${script.name}: ${summary}${proofs.length > 0 ? `; ${proofLine(proofs)}` : ''}`);
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

/** "7 of 7 proofs hold, 1 not tried" */
function proofLine(proofs: readonly Proof[]): string {
  const tried = proofs.filter(({ skipped }) => !skipped);
  const untried = proofs.length - tried.length;
  const proven = tried.filter(({ ok }) => ok).length;
  return `${proven} of ${tried.length} proofs hold${untried > 0 ? `, ${untried} not tried` : ''}`;
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

/** Waits until stdout has taken it: a pipe may be slower than the process's end. */
function print(text: string): Promise<void> {
  return new Promise((resolve, reject) =>
    process.stdout.write(`${text}\n`, (error) => (error && !isClosedPipe(error) ? reject(error) : resolve())),
  );
}

/** Whoever read our output has seen enough (`| head -1`). */
function isClosedPipe(error: Error): boolean {
  return 'code' in error && error.code === 'EPIPE';
}
