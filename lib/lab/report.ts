import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Event } from '../journal.ts';
import { REFUSED } from '../ports/endpoints.ts';
import type { Components } from './components.ts';

/** .state/rehearsal/report.json. */
export type RehearsalReport = {
  components: Record<string, 'real' | 'stand-in' | 'skipped'>;
  /** Why each component was what it was. */
  notes: Record<string, string>;
  steps: { script: string; id: string; host?: string; seconds: number; changed: boolean }[];
  proofs: { script: string; claim: string; ok: boolean; skipped?: boolean; detail: string }[];
  /** Changes that the chain made when it was run again at once. */
  second_run_changes: number;
  /** Whether `make up DRY_RUN=1` left the lab as it was. */
  dry_run_changed_nothing: boolean;
  seconds: number;
  /** Connections that a script wanted and the rehearsal does not hold. */
  dials_refused: number;
};

type Line = Event & { t: string };
export type Run = { script: string; lines: Line[] };

/** Every run whose journal is in a lab's state folder, oldest first. A last line cut off by a SIGKILL is left out. */
export function readRuns(state: string): Run[] {
  const folder = join(state, 'runs');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .sort()
    .map((name) => {
      const lines = readFileSync(join(folder, name), 'utf8').split('\n').flatMap(parseLine);
      const [start] = lines;
      return { script: start?.event === 'start' ? start.script : name, lines };
    });
}

function parseLine(line: string): Line[] {
  try {
    return [JSON.parse(line) as Line];
  } catch {
    return [];
  }
}

export function stepsOf(runs: readonly Run[]): RehearsalReport['steps'] {
  return runs.flatMap(({ script, lines }) =>
    lines.flatMap((line) =>
      line.event === 'step-end' && line.outcome === 'done'
        ? [{ script, id: line.id, host: line.host, seconds: line.seconds, changed: line.changed }]
        : [],
    ),
  );
}

export function proofsOf(runs: readonly Run[]): RehearsalReport['proofs'] {
  return runs.flatMap(({ script, lines }) =>
    lines.flatMap((line) =>
      line.event === 'proof'
        ? [{ script, claim: line.claim, ok: line.ok, skipped: line.skipped, detail: line.detail }]
        : [],
    ),
  );
}

/** Addresses that scripts wanted and the rehearsal in `folder` does not hold. */
export function refusedDials(folder: string): string[] {
  const file = join(folder, REFUSED);
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
}

/** The last thing that a rehearsal prints. */
export function componentTable(components: Components): string {
  const width = Math.max(...Object.keys(components).map((name) => name.length));
  return Object.entries(components)
    .map(([name, { state, why }]) => `  ${name.padEnd(width)}  ${state.padEnd(8)}  ${why}`)
    .join('\n');
}
