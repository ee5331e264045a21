import { span } from '../backup/span.ts';
import { EXIT, HomelabError, messageOf } from '../errors.ts';
import type { Outcome } from '../outcome.ts';
import type { Standing } from '../plan/backup-standing.ts';
import { rounded } from './backup-rows.ts';

/** What went wrong, where, and what to do about it. */
export type Problem = {
  /** The PostgreSQL server; missing where it is about the whole run. */
  server?: string;
  /** configuration, look, plan, dump, publish, prove, … : how far it came. */
  phase: string;
  message: string;
  cause?: string;
  fix?: string;
  /** The last lines of what failed. */
  output?: string;
};

/** What is told of a run: the JSON that a program of backup.notify reads on its stdin. */
export type Notice = {
  event: 'start' | 'success' | 'failure';
  lab: string;
  /** The same UUID in all that is told of one run. */
  run: string;
  host: string;
  /** ISO, UTC. */
  time: string;
  seconds?: number;
  exit?: number;
  /** One line. */
  message: string;
  problems: Problem[];
  /** What lies on the target now, server by server; empty where it could not be read. */
  servers: {
    server: string;
    stale: boolean;
    last_proven: string | null;
    age_hours: number | null;
    remarks: string[];
  }[];
};

type About = Pick<Notice, 'lab' | 'run' | 'host' | 'time'>;

export function startNotice(about: About): Notice {
  return { ...about, event: 'start', message: `backup of ${about.lab} starts`, problems: [], servers: [] };
}

export function endNotice(about: About, outcome: Outcome, standings: readonly Standing[]): Notice {
  const { exit, seconds } = outcome;
  const problems = problemsOf(outcome);
  return {
    ...about,
    ...{ event: exit === EXIT.ok ? 'success' : 'failure', seconds, exit, problems },
    message: exit === EXIT.ok ? `backup of ${about.lab}: all proven` : failedLine(about.lab, exit, problems),
    servers: standings.map(({ server, stale, newest, hours, remarks }) => ({
      ...{ server, stale, last_proven: newest?.name ?? null },
      ...{ age_hours: hours === undefined ? null : rounded(hours), remarks },
    })),
  };
}

function failedLine(lab: string, exit: number, [first, ...more]: readonly Problem[]): string {
  const what = first ? lineOf(first) : 'for no known reason';
  return `backup of ${lab} failed (exit code ${exit}): ${what}${more.length > 0 ? `, and ${more.length} more` : ''}`;
}

/** A notice as a person reads it: the body of a ping, and so of the mail that it becomes. */
export function noticeText({ lab, exit, message, host, time, run, problems, servers }: Notice): string {
  return [
    problems.length > 0 ? `backup of ${lab} failed (exit code ${exit})` : message,
    ...problems.flatMap((problem) => [
      '',
      lineOf(problem),
      ...(problem.output ? [problem.output.replaceAll(/^/gm, '  | ')] : []),
      ...(problem.cause ? [`probable cause: ${problem.cause}`] : []),
      ...(problem.fix ? [`to fix: ${problem.fix}`] : []),
    ]),
    ...(servers.length > 0 ? [''] : []),
    ...servers.map(
      ({ server, stale, last_proven, age_hours, remarks }) =>
        `${server}: ${stale ? 'STALE' : 'fresh'}: ${last_proven ? `${last_proven} is proven, ${span(age_hours ?? 0)} old` : 'there is no proven set'}` +
        (remarks.length > 0 ? `; ${remarks.join('; ')}` : ''),
    ),
    ...['', `on ${host}, ${time}, run ${run}`],
  ].join('\n');
}

/** What kept a run from its goal, the first cause first. */
export function problemsOf({ exit, error, signal, plan, applied, proofs, running = [] }: Outcome): Problem[] {
  if (signal) {
    const at = running.map((id) => id.split('/').slice(0, 2).join(' ')).join(', ');
    const fix = 'find out who ended it (a shutdown, a deadline, a person); the next run begins anew';
    return [{ ...placeOf(running[0]), message: `ended by ${signal}${at ? ` during ${at}` : ''}`, fix }];
  }
  if (error !== undefined) {
    const place = running[0] ? placeOf(running[0]) : { phase: phaseOf(exit, plan !== undefined) };
    return [{ ...place, ...said(error, exit) }];
  }
  const blockers = (plan?.notes ?? []).filter(({ level }) => level === 'blocker');
  return [
    ...blockers.map(({ text, fix }): Problem => ({ phase: 'plan', message: text, fix })),
    ...applied
      .filter(({ outcome }) => outcome === 'failed')
      .map(({ id, error: thrown }): Problem => ({ ...placeOf(id), ...said(thrown) })),
    ...proofs
      .filter(({ ok, skipped }) => !ok && !skipped)
      .map(({ claim, detail }): Problem => ({ phase: 'verify', message: `not so: ${claim}`, cause: detail })),
  ];
}

/** Step ids are SERVER/PHASE; those of the target have no server. */
export function placeOf(id = ''): { server?: string; phase: string } {
  const [server = '', phase] = id.split('/');
  return phase === undefined || server === 'target' || server === 'second'
    ? { phase: id || 'look' }
    : { server, phase };
}

function phaseOf(exit: number, planned: boolean): string {
  if (exit === EXIT.usage) return 'configuration';
  return planned ? 'run' : 'look';
}

function said(error: unknown, exit?: number): Pick<Problem, 'message' | 'cause' | 'fix' | 'output'> {
  if (!(error instanceof HomelabError))
    return {
      message: messageOf(error).replace(/^error: /, ''),
      fix: exit === EXIT.usage ? 'correct the call: --help says what there is' : undefined,
    };
  const { message, likelyCause, fix, output } = error;
  return { message, cause: likelyCause, fix, output };
}

function lineOf({ server, phase, message }: Problem): string {
  return `${server ? `${server}: ` : ''}${phase}: ${message}`;
}
