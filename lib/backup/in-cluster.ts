import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { apply, type StepResult } from '../apply.ts';
import { EXIT, HomelabError, messageOf, UsageError } from '../errors.ts';
import { noJournal } from '../journal.ts';
import { backupOf } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { observeBackup, observeSets } from '../observe/backup.ts';
import { backupOperations } from '../operations/backup.ts';
import { type Outcome, secondsSince } from '../outcome.ts';
import { planRun } from '../plan/backup.ts';
import { newestProven } from '../plan/backup-newest.ts';
import { realEndpoints } from '../ports/endpoints.ts';
import { endPrograms, realExec } from '../ports/exec.ts';
import { realFiles } from '../ports/files.ts';
import type { Ports } from '../ports/types.ts';
import { Secrets } from '../secret.ts';
import { failureText, noteText } from '../talk.ts';
import { parsePodConfig, podLab } from './pod-config.ts';
import { type PodTeller, podTeller } from './pod-notice.ts';
import { type PodResult, resultLine } from './pod-result.ts';
import { makeScratch } from './scratch.ts';
import type { BackupLab } from './target.ts';

/**
 * The engine's other home: a pod of a CronJob. The same plan, the same interpreter and the same operations as
 * `backup-postgres run`; only where the configuration comes from, how the server is reached and where it is said
 * differ. lib/backup/bundle.ts makes one file of this.
 */

/** Seconds that programs have to end when the pod is told to; Kubernetes kills it 60 s after its SIGTERM. */
const TIDY_UP = 40;

type Pod = {
  lab: BackupLab;
  secrets: Secrets;
  server: string;
  exec: ReturnType<typeof realExec>;
  interrupted: AbortController;
  endings: (() => Promise<void>)[];
  teller: PodTeller;
  /** How far the run has come, for those who are told of its end. */
  progress: Omit<Outcome, 'exit' | 'applied' | 'running' | 'seconds'> & { applied: StepResult[]; running: Set<string> };
  began: number;
};

/** @returns the exit code; the last line on stdout is the result, for who started the Job */
export async function main(argv: string[], environment: NodeJS.ProcessEnv = process.env): Promise<number> {
  process.umask(0o077);
  let result: PodResult = { server: '', exit: EXIT.failed };
  let pod: Pod | undefined;
  try {
    pod = open(argv, environment);
    watchSignals(pod);
    void pod.teller.started();
    result = await backUp(pod);
  } catch (error) {
    say(failureText(error), pod?.secrets);
    const exit = error instanceof HomelabError ? error.exit : EXIT.failed;
    if (pod) pod.progress.error = error;
    result = { server: pod?.server ?? '', exit, error: pod?.secrets.redact(messageOf(error)) ?? messageOf(error) };
  }
  await tidyUp(pod);
  // Where a signal came, its handler ends the process, and says why.
  if (pod?.interrupted.signal.aborted) await new Promise<never>(() => {});
  await told(`${resultLine(result)}\n`);
  await pod?.teller.ended(outcomeNow(pod, result.exit));
  return result.exit;
}

function open(argv: string[], environment: NodeJS.ProcessEnv): Pod {
  const { values } = parseArgs({
    args: argv,
    options: {
      config: { type: 'string', default: '' },
      secrets: { type: 'string', default: '' },
      target: { type: 'string', default: '' },
      server: { type: 'string', default: '' },
      export: { type: 'string', multiple: true, default: [] },
    },
  });
  const config = parsePodConfig(readFileSync(values.config, 'utf8'));
  if ('wrong' in config)
    throw new UsageError(`${values.config}: ${config.wrong}`, {
      fix: 'the ConfigMap and its script are of two versions: run backup-postgres install',
    });
  const mounts = new Map(values.export.map((one) => one.split('=', 2) as [string, string]));
  // The target's memory is a ConfigMap, which nothing in a pod can write: a copy of it can be.
  const state = join(makeScratch().path, 'state');
  mkdirSync(state, { mode: 0o700 });
  for (const [name, text] of filesIn(values.target)) writeFileSync(join(state, name), text, { mode: 0o600 });
  const secrets = new Secrets();
  for (const [name, text] of filesIn(values.secrets)) secrets.add(name, text);
  const lab = podLab(config, mounts, state);
  const exec = realExec(environment);
  return {
    ...{ lab, secrets, server: values.server, exec, interrupted: new AbortController(), endings: [] },
    teller: podTeller(lab, secrets, portsOf(exec), (text) => say(`warning: ${text}`, secrets)),
    progress: { applied: [], proofs: [], running: new Set() },
    began: performance.now(),
  };
}

function outcomeNow({ progress, began }: Pod, exit: number): Outcome {
  return { ...progress, running: [...progress.running], seconds: secondsSince(began), exit };
}

async function backUp(pod: Pod): Promise<PodResult> {
  const { lab, secrets, server, exec, endings } = pod;
  const ports = portsOf(exec);
  const context: Pick<RunContext, 'endpoints' | 'secrets' | 'atEnd'> = {
    ...{ endpoints: realEndpoints, secrets },
    atEnd: (work) => void endings.unshift(work),
  };
  const backup = backupOf(lab.config);
  const seen = await observeBackup(lab, ports, { server: [server] }, context);
  const plan = planRun(backup, seen, { ifStale: false });
  pod.progress.plan = plan;
  for (const note of plan.notes) say(asPod(noteText(note), lab), secrets);
  const blockers = plan.notes.filter(({ level }) => level === 'blocker');
  if (blockers.length > 0)
    return {
      server,
      exit: EXIT.failed,
      error: asPod(secrets.redact(blockers.map(({ text }) => text).join('; ')), lab),
    };

  const applied = await apply(plan, {
    ...{ ports, secrets, journal: noJournal, secretsFolder: '', lock: NO_LOCK_FILE },
    operations: backupOperations(lab, {}, context),
    interrupted: pod.interrupted.signal,
    onStart: ({ id, title }) => {
      pod.progress.running.add(id);
      say(title, secrets);
    },
    onEnd: ({ id, title }, result) => {
      pod.progress.running.delete(id);
      pod.progress.applied.push(result);
      say(`${title}: ${result.outcome} (${result.seconds} s)`, secrets);
    },
  });
  for (const { id, error } of applied)
    if (error !== undefined)
      say(asPod(`✗ ${id}\n${failureText(permissionAside(error, process.getuid?.()))}`, lab), secrets);
  return outcomeOf(pod, ports, applied);
}

/** What the target holds now, as a restore would find it. */
async function outcomeOf({ lab, server, secrets }: Pod, ports: Ports, applied: StepResult[]): Promise<PodResult> {
  const failed = applied.filter(({ outcome }) => outcome === 'failed');
  const targets = targetsIn(lab.paths.state);
  if (failed.length > 0) {
    const locked = failed.every(({ error }) => error instanceof HomelabError && error.exit === EXIT.locked);
    const words = failed.map(({ id, error }) => `${id}: ${messageOf(error)}`).join('; ');
    return { server, exit: locked ? EXIT.locked : EXIT.failed, targets, error: secrets.redact(words) };
  }
  const { servers } = await observeSets(lab, ports, { server: [server] }, { endpoints: realEndpoints });
  const newest = newestProven(servers[0]?.sets ?? []);
  if (!newest?.report) return { server, exit: EXIT.failed, targets, error: 'there is no proven set' };
  const { databases, tables, rows, seconds } = newest.report;
  return { server, exit: EXIT.ok, targets, set: newest.name, proven: { databases, tables, rows, seconds } };
}

/** What the engine calls a file of this machine is, for who reads a pod's log, the ConfigMap that it was copied from. */
function asPod(text: string, { paths }: BackupLab): string {
  return text.replaceAll(/\S*\.json/g, (path) =>
    dirname(path) === paths.state ? `${basename(path)} in the ConfigMap backup-target` : path,
  );
}

/** What the engine remembers of its targets: a file each, as on a machine. */
function targetsIn(state: string): Record<string, string> {
  const known = filesIn(state).flatMap(([name, text]) => {
    const { id } = JSON.parse(text) as { id?: string };
    return id === undefined ? [] : [[name, id] as const];
  });
  return Object.fromEntries(known);
}

/** A pod that is not root meets the NAS's rights, and the words of the file system name no way out. */
function permissionAside(error: unknown, uid: number | undefined): unknown {
  if (!(error instanceof Error) || !/\b(EACCES|EPERM|EROFS)\b/.test(error.message)) return error;
  return new HomelabError(error.message, {
    cause: `user ${uid} may not write there`,
    fix: 'let the NAS map all users of the export to one, or set backup.cronjob.run_as to the user that owns the folder',
  });
}

/** activeDeadlineSeconds and a drained node both come as SIGTERM; nothing that is not whole has a final name. */
function watchSignals(pod: Pod): void {
  const handle = (signal: NodeJS.Signals): void => {
    if (pod.interrupted.signal.aborted) return;
    pod.interrupted.abort();
    const error = `stopped by ${signal}: the Job's deadline has passed, or its node is drained; what was not published does not count`;
    say(error, pod.secrets);
    const exit = 128 + (constants.signals[signal] ?? 15);
    void Promise.all([endPrograms(TIDY_UP), tidyUp(pod)])
      .then(() => told(`${resultLine({ server: pod.server, exit, error })}\n`))
      .then(() => pod.teller.ended({ ...outcomeNow(pod, exit), signal }))
      .finally(() => process.exit(exit));
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, handle);
}

async function tidyUp(pod: Pod | undefined): Promise<void> {
  for (const work of pod?.endings.splice(0) ?? [])
    await work().catch((error: unknown) => say(failureText(error), pod?.secrets));
}

/** The engine asks for files, programs and the time; the cluster's DNS does the rest. */
function portsOf(exec: Pod['exec']): Ports {
  const none = new Proxy(
    {},
    {
      get: (_, name) => {
        throw new Error(`a pod has no port for ${String(name)}`);
      },
    },
  ) as never;
  return {
    ...{ exec, files: realFiles(exec), ssh: none, kube: none, pve: none, net: none },
    clock: { now: () => new Date(), sleep: (seconds) => new Promise((done) => setTimeout(done, seconds * 1000)) },
    close: async () => {},
  };
}

/** A volume's files by name; Kubernetes' own ("..data") are left out. */
function filesIn(folder: string): [name: string, text: string][] {
  if (folder === '') return [];
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    throw new HomelabError(`${basename(folder)} cannot be read: ${messageOf(error)}`);
  }
  return names.filter((name) => !name.startsWith('.')).map((name) => [name, readFileSync(join(folder, name), 'utf8')]);
}

/** A backup downloads nothing, and leases nothing. */
const NO_LOCK_FILE = {
  value: { version: 1 as const, lab: '', leases: [], downloads: {} },
  record: async (): Promise<void> => {},
  update: async (): Promise<void> => {},
};

/** The pod's log. */
function say(text: string, secrets: Secrets | undefined): void {
  process.stderr.write(`${secrets?.redact(text) ?? text}\n`);
}

function told(text: string): Promise<void> {
  return new Promise((resolve) => process.stdout.write(text, () => resolve()));
}
