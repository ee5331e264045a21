import { EXIT, HomelabError } from '../errors.ts';
import type { Outcome } from '../outcome.ts';
import type { Standing } from '../plan/backup-standing.ts';
import { placeOf } from './backup-notice.ts';

/** Prometheus' text format, as node_exporter's textfile collector reads it. */

const PREFIX = 'homelab_backup_';

/** Every metric, and what it means. All are gauges: a file is what was so when it was written. */
const METRICS = {
  last_verified_timestamp_seconds: 'When the newest set was begun that was restored and compared; 0: there is none.',
  max_age_seconds: 'How old that set may be: backup.max_age_hours.',
  last_attempt_timestamp_seconds: 'When the last run began.',
  exit_code: 'Exit code of the last run, as far as it was about this server.',
  phase_seconds: 'How long each phase of the last run took, all its steps together.',
  rows: 'Rows in the newest proven set.',
  bytes: 'Bytes of the newest proven set.',
  sets: 'Sets on the target, by their state.',
  target_free_bytes: 'Free space of the target.',
} as const;

type Name = keyof typeof METRICS;
export type Sample = { name: Name; labels: Record<string, string>; value: number };

/** What the target and a run say. What is not known is left out: `merged` keeps what was known before. */
export function samplesOf(
  lab: string,
  seen: {
    standings: readonly (Standing & { sets: Record<string, number> })[];
    maxAgeHours?: number;
    freeBytes?: number;
  },
  run: { servers: readonly string[]; began: Date; outcome: Outcome },
): Sample[] {
  const { began, outcome } = run;
  const of = (server: string, more: Record<string, string> = {}) => ({ lab, server, ...more });
  return [
    ...seen.standings.flatMap(({ server, newest, sets }): Sample[] => [
      sample('last_verified_timestamp_seconds', of(server), (newest?.time ?? 0) / 1000),
      sample('rows', of(server), newest?.report?.rows ?? 0),
      sample('bytes', of(server), newest?.bytes ?? 0),
      ...Object.entries(sets).map(([state, count]) => sample('sets', of(server, { state }), count)),
      ...(seen.maxAgeHours === undefined ? [] : [sample('max_age_seconds', of(server), seen.maxAgeHours * 3600)]),
    ]),
    ...run.servers.flatMap((server): Sample[] => [
      sample('last_attempt_timestamp_seconds', of(server), Math.floor(began.getTime() / 1000)),
      sample('exit_code', of(server), exitOf(server, outcome)),
      ...Object.entries(phasesOf(server, outcome)).map(([phase, seconds]) =>
        sample('phase_seconds', of(server, { phase }), seconds),
      ),
    ]),
    ...(seen.freeBytes === undefined ? [] : [sample('target_free_bytes', { lab }, seen.freeBytes)]),
  ];
}

/** Seconds of each phase, all of its steps together: a run that copies three sets has three of some. A sample may be there once only. */
function phasesOf(server: string, { applied }: Outcome): Record<string, number> {
  const phases: Record<string, number> = {};
  for (const { id, outcome, seconds } of applied) {
    const { server: own, phase } = placeOf(id);
    if (own === server && outcome !== 'skipped')
      phases[phase] = Math.round(((phases[phase] ?? 0) + seconds) * 1000) / 1000;
  }
  return phases;
}

/** What a server's own steps came to, where it has some: another's failure is not its. */
function exitOf(server: string, { exit, error, signal, applied }: Outcome): number {
  const own = applied.filter(({ id }) => placeOf(id).server === server);
  if (error !== undefined || signal !== undefined || own.length === 0) return exit;
  const failed = applied.filter(({ outcome }) => outcome === 'failed');
  const [first] = own.filter(({ outcome }) => outcome === 'failed');
  if (first) return first.error instanceof HomelabError ? first.error.exit : EXIT.failed;
  return failed.length > 0 && own.every(({ outcome }) => outcome === 'done') ? EXIT.ok : exit;
}

/**
 * What the file says now, with what is known anew in its place. A server that was not looked at keeps what is known of
 * it, above all its last proven set; one that homelab.yaml has no more goes.
 * @param servers all that homelab.yaml has; undefined where it could not be read
 */
export function merged(
  before: readonly Sample[],
  fresh: readonly Sample[],
  lab: string,
  servers: readonly string[] | undefined,
): Sample[] {
  const attempted = new Set(fresh.filter(({ name }) => name === 'exit_code').map(({ labels }) => labels.server));
  const keys = new Set(fresh.map(keyOf));
  const kept = before.filter((one) => {
    const { server } = one.labels;
    if (keys.has(keyOf(one))) return false;
    if (one.labels.lab !== lab) return true;
    if (one.name === 'phase_seconds' && attempted.has(server)) return false;
    return server === undefined || servers === undefined || servers.includes(server);
  });
  return [...kept, ...fresh];
}

export function metricsText(samples: readonly Sample[]): string {
  return (Object.keys(METRICS) as Name[])
    .flatMap((name) => {
      const own = samples.filter((one) => one.name === name).map(lineOf);
      if (own.length === 0) return [];
      return [`# HELP ${PREFIX}${name} ${METRICS[name]}`, `# TYPE ${PREFIX}${name} gauge`, ...own.sort()];
    })
    .map((line) => `${line}\n`)
    .join('');
}

/** The samples of a file that we wrote; of any other, those that look like ours. */
export function parseMetrics(text: string): Sample[] {
  return text.split('\n').flatMap((line) => {
    const [, name = '', labels = '', value] = /^homelab_backup_(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    if (!(name in METRICS) || !Number.isFinite(Number(value))) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [
      key,
      text.replaceAll(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c)),
    ]);
    return [{ name: name as Name, labels: Object.fromEntries(pairs), value: Number(value) }];
  });
}

function sample(name: Name, labels: Record<string, string>, value: number): Sample {
  return { name, labels, value };
}

function keyOf({ name, labels }: Sample): string {
  return JSON.stringify([name, Object.entries(labels).sort()]);
}

function lineOf({ name, labels, value }: Sample): string {
  const escaped = (text: string): string =>
    text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
  return `${PREFIX}${name}{${pairs.join(',')}} ${value}`;
}
