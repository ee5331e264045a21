import type { Operation } from '../lib/apply.ts';
import type { Found } from '../lib/lab/components.ts';
import type { Rehearsal } from '../lib/lab/rehearsal.ts';
import type { RehearsalReport } from '../lib/lab/report.ts';
import { type Args, defineScript, type Script } from '../lib/main.ts';
import { planRehearsal, rehearsalProofs } from '../lib/plan/rehearsal.ts';

type Seen = { found: Found };
type RehearseArgs = Args & { keep: boolean };

/** The rehearsal of this process, and what it reported. */
let rehearsal: Rehearsal | undefined;
let report: RehearsalReport | undefined;

const script: Script<Seen, RehearseArgs> = {
  name: 'rehearse',
  summary: 'Build the lab of homelab.yaml on loopback, twice, and say what was real and what a stand-in.',
  description:
    'No root, no Docker, nothing but loopback is dialled. What it makes is in .state/rehearsal/, report.json too.',
  options: [{ flags: '--keep', description: 'leave the lab running afterwards, until Ctrl-C', default: false }],
  lock: 'none',

  observe: async (_lab, { exec }) => {
    const { findComponents } = await import('../lib/lab/components.ts');
    return { found: await findComponents(exec) };
  },

  plan: (_lab, { found }) => planRehearsal(found.postgresql),

  operations: (lab, { keep }, context) => {
    const leg = (work: (r: Rehearsal) => Promise<void>): Operation => {
      return async () => {
        await work(rehearsal!);
        return undefined;
      };
    };
    return {
      lab: async (_args, { ports }) => {
        const { Rehearsal } = await import('../lib/lab/rehearsal.ts');
        const { findComponents } = await import('../lib/lab/components.ts');
        rehearsal = new Rehearsal({
          configFile: lab.paths.config,
          root: lab.paths.root,
          found: await findComponents(ports.exec),
          say: context.say,
        });
        context.atEnd(() => rehearsal!.close(keep));
        await rehearsal.start();
        return undefined;
      },
      plan: leg((r) => r.plan()),
      up: leg((r) => r.make('up')),
      owner: leg((r) => r.deployOwners()),
      ingress: leg((r) => r.ingress()),
      backup: leg((r) => r.make('backup-postgres')),
      restore: leg((r) => r.restore()),
      again: leg((r) => r.again()),
      check: leg((r) => r.make('check')),
      report: leg(async (r) => {
        report = r.report();
      }),
    };
  },

  verify: async () => rehearsalProofs(report!),

  report: () => {
    if (!rehearsal || !report) return undefined;
    return { text: `\n${rehearsal.componentTable()}\n\nreport: ${rehearsal.reportFile}`, data: report };
  },
};

export default defineScript(import.meta.url, script);
