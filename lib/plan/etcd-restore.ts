import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import type { Args } from '../main.ts';
import { errandCommand } from '../render/etcd-snapshots.ts';
import type { Plan } from '../step.ts';
import { suggestion } from '../suggest.ts';
import { LOCAL, placeOf, restoreNotes } from './etcd-restore-notes.ts';
import {
  findSource,
  type RestoreSeen,
  type RestoreState,
  restoredSource,
  type Source,
  sourceOf,
} from './etcd-restore-seen.ts';
import { restoreSteps } from './etcd-restore-steps.ts';
import { factsOf } from './k3s-join.ts';

export type RestoreArgs = Args & { snapshot: string; without: string[]; limit?: string[] };

/** Who takes part, and what of it an earlier run has done. */
export type RestoreCourse = {
  id: string;
  source: Source;
  /** The server that gets the snapshot; the others join it. */
  target: string;
  others: string[];
  /** What of it is done, by server. */
  done: Record<string, RestoreState['stage']>;
};

/**
 * A snapshot on one server, and the others back to it: all servers are stopped, their data is moved aside (never
 * deleted), one is reset with the snapshot, the rest join it one by one. Run again after an interruption it goes on.
 * @param script the text of templates/etcd-snapshots.sh
 * @throws UsageError for a snapshot or a server that there is not
 */
export function planRestoreSnapshot(lab: Lab, seen: RestoreSeen, args: RestoreArgs, script: string): Plan {
  if (args.limit?.length)
    throw new UsageError('--limit would leave servers as they are, with the data of now', {
      fix: '--without NAME leaves out a server that is gone for good',
    });
  const course = courseOf(lab, seen, args);
  const notes = restoreNotes(lab, seen, args, course);
  const fetch =
    course.source.from === 'nas'
      ? {
          argv: errandCommand(lab, {
            ...{ kind: 'fetch', node: course.source.server, snapshot: course.source.name },
            file: fetchedFile(course),
          }),
          stdin: script,
        }
      : {
          argv: ['install', '-D', '-m', '0600', `${LOCAL}/${course.source.name}`, fetchedFile(course)],
        };
  return { steps: restoreSteps(lab, seen, course, { ...fetch, from: placeOf(lab, course.source) }), notes };
}

/** Seconds after which a restore that was not ended is none any more: the same snapshot is restored from the beginning. */
const FORGOTTEN = 24 * 3600;

/** Where the snapshot lies on the target before anything is stopped. */
function fetchedFile({ source }: Pick<RestoreCourse, 'source'>): string {
  return `/var/lib/homelab/etcd-restore/${source.name}`;
}

/** @throws UsageError for a name that is no server, or when none is left */
export function courseOf(lab: Lab, seen: RestoreSeen, { snapshot, without }: RestoreArgs): RestoreCourse {
  const all = servers(lab.config).map(({ name }) => name);
  for (const name of without)
    if (!all.includes(name))
      throw new UsageError(`--without ${name}: there is no such server`, { fix: suggestion(name, all) });
  const left = all.filter((name) => !without.includes(name));
  if (left.length === 0) throw new UsageError('--without leaves no server', { fix: 'name those only that are gone' });
  const earlier = left
    .map((name) => begun(seen, name))
    .filter((state) => state?.snapshot === snapshot)
    .find((state) => state && state.id > timeText(seen.snapshots.now - FORGOTTEN));
  const source =
    earlier?.stage === 'reset' ? (findSource(seen, snapshot) ?? restoredSource(earlier)) : sourceOf(seen, snapshot);
  const hasK3s = left.filter((name) => Object.keys(factsOf(seen.k3s, name).units).includes('k3s'));
  const local = source.from === 'server' && left.includes(source.server) ? source.server : undefined;
  const { first_server } = lab.config.k3s;
  const target =
    earlier?.target ?? local ?? (hasK3s.includes(first_server) ? first_server : (hasK3s[0] ?? left[0] ?? first_server));
  const others = hasK3s.filter((name) => name !== target);
  const moved = others.filter((name) => earlier && seen.traces[name]?.kept.includes(earlier.id));
  return {
    id: earlier?.id ?? timeText(seen.snapshots.now),
    ...{ source, target, others },
    done: {
      ...(earlier ? { [target]: earlier.stage } : {}),
      ...Object.fromEntries(moved.map((name) => [name, 'aside' as const])),
    },
  };
}

/**
 * The restore that was begun on a server as its target, where it is as that left it. What somebody has changed since
 * (started it, put the old data back) is not gone on from.
 */
function begun(seen: RestoreSeen, name: string): RestoreState | undefined {
  const { state, restored, kept = [] } = seen.traces[name] ?? {};
  if (!state || state.target !== name) return undefined;
  const { etcdData, units } = factsOf(seen.k3s, name);
  const isIdle = ['inactive', 'failed'].includes(units.k3s?.state ?? '');
  const shown =
    state.stage === 'reset' ? etcdData && restored === state.id : isIdle && !etcdData && kept.includes(state.id);
  return shown ? state : undefined;
}

/** "20261126T182100Z" */
function timeText(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`;
}
