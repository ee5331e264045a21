import type { Plan } from '../step.ts';
import type { CronSeen } from './backup-install-seen.ts';

/**
 * The lab's block in this user's crontab, between two lines that mark it. Every other line stays as it is. It stands
 * last: CRON_TZ counts for all lines after it.
 * @param lines what the block says; undefined: it goes
 */
export function planCrontab(lab: string, { crontab }: CronSeen, lines: string | undefined): Plan {
  const blocked = (text: string, fix?: string): Plan => ({ steps: [], notes: [{ level: 'blocker', text, fix }] });
  if (!crontab.ok) return blocked(crontab.reason, crontab.fix);
  const wanted = crontabWith(lab, crontab.text, lines);
  if ('broken' in wanted) return blocked(wanted.broken, BROKEN);
  if (wanted.text === crontab.text) return { steps: [], notes: [] };
  const title = lines === undefined ? 'take the backup out of this crontab' : 'put the backup into this crontab';
  return {
    notes: [],
    steps: [
      {
        id: 'crontab',
        title: `${title}; its other lines stay`,
        why: wanted.had ? (lines === undefined ? '--remove' : 'differs') : 'absent',
        does: lines?.split('\n'),
        // Other people's lines are no part of a plan; they are read once more.
        action: { kind: 'operation', name: 'crontab', args: { lines: lines ?? null }, deadline: 60 },
      },
    ],
  };
}

export const BROKEN = 'crontab -e: delete what is left of that block, and run this again';

/** The whole crontab as it should be. `had`: the block is in it already, in some form. */
export function crontabWith(
  lab: string,
  text: string,
  lines: string | undefined,
): { text: string; had: boolean } | { broken: string } {
  const all = text.split('\n');
  const [first, last] = [all.indexOf(begin(lab)), all.indexOf(end(lab))];
  const had = first >= 0 || last >= 0;
  const single = all.lastIndexOf(begin(lab)) === first && all.lastIndexOf(end(lab)) === last;
  if (had && (first < 0 || last < first || !single))
    return {
      broken: `the crontab's lines "${begin(lab)}" and "${end(lab)}" are no pair any more: it cannot be told what is ours`,
    };
  if (!had && lines === undefined) return { text, had };
  const others = (had ? [...all.slice(0, first), ...all.slice(last + 1)] : all).join('\n').replace(/\n+$/, '');
  const next = [others, lines === undefined ? '' : marked(lab, lines)].filter(Boolean).join('\n');
  return { text: next === '' ? '' : `${next}\n`, had };
}

/** Whether the crontab holds just that block, last. */
export function holdsBlock(lab: string, text: string, lines: string): boolean {
  return `\n${text.replace(/\n+$/, '')}`.endsWith(`\n${marked(lab, lines)}`);
}

function marked(lab: string, lines: string): string {
  return [begin(lab), lines.trimEnd(), end(lab)].join('\n');
}

function begin(lab: string): string {
  return `# begin: backup-postgres of the lab ${lab} (install --cron writes this; edits are lost)`;
}

function end(lab: string): string {
  return `# end: backup-postgres of the lab ${lab}`;
}
