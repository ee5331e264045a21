import type { Operation } from '../lib/apply.ts';
import type { Found, ToolName } from '../lib/lab/components.ts';
import type { Rehearsal } from '../lib/lab/rehearsal.ts';
import type { RehearsalReport } from '../lib/lab/report.ts';
import { type Args, defineScript, type Script } from '../lib/main.ts';
import { planRehearsal, rehearsalProofs } from '../lib/plan/rehearsal.ts';

type Seen = { found: Found };
type RehearseArgs = Args & { keep: boolean; without: ToolName[] };

/** The rehearsal of this process: what it found, itself, and what it reported. */
let found: Found | undefined;
let rehearsal: Rehearsal | undefined;
let report: RehearsalReport | undefined;

const TOOLS: ToolName[] = ['terraform', 'packer', 'postgresql'];

/** @throws Error for a name that is none of TOOLS */
function toolNames(text: string): ToolName[] {
  return text.split(',').map((name) => {
    const tool = TOOLS.find((t) => t === name);
    if (!tool) throw new Error(`${name} is none of ${TOOLS.join(', ')}`);
    return tool;
  });
}

const script: Script<Seen, RehearseArgs> = {
  name: 'rehearse',
  summary: 'Builds the lab of homelab.yaml on loopback, twice, and says what was real and what a stand-in',
  description:
    'No root, no Docker, nothing but loopback is dialled. What it makes is in .state/rehearsal/, report.json too.',
  options: [
    { flags: '--keep', description: 'leave the lab running afterwards, until Ctrl-C', default: false },
    {
      flags: '--without <tools>',
      description: `as if these were not installed (${TOOLS.join(',')})`,
      default: [],
      parse: toolNames,
    },
  ],
  lock: 'none',
  asks: false,

  observe: async (_lab, { exec }, { without }) => {
    const { findComponents } = await import('../lib/lab/components.ts');
    found = await findComponents(exec, without);
    return { found };
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
      lab: async () => {
        const { Rehearsal } = await import('../lib/lab/rehearsal.ts');
        rehearsal = new Rehearsal({
          configFile: lab.paths.config,
          root: lab.paths.root,
          found: found!,
          say: context.say,
          aside: context.aside,
        });
        context.atEnd(() => rehearsal!.close(keep && !context.interrupted.aborted));
        await rehearsal.start();
        return undefined;
      },
      plan: leg((r) => r.plan()),
      up: leg((r) => r.make('up')),
      owner: leg((r) => r.deployOwners()),
      ingress: leg((r) => r.ingress()),
      backup: leg((r) => r.make('backup-postgres')),
      cronjob: leg((r) => r.make('backup-install')),
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
