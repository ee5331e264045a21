import { messageOf } from '../lib/errors.ts';
import type { Lab } from '../lib/lab-context.ts';
import { limited } from '../lib/limit.ts';
import { type AnyScript, type Args, defineScript, type RunContext, type Script } from '../lib/main.ts';
import {
  checkExit,
  conventionFindings,
  driftFindings,
  type Finding,
  findingsText,
  type Look,
  preflightFindings,
} from '../lib/plan/check.ts';
import type { Readers } from '../lib/ports/types.ts';
import { noSteps } from '../lib/step.ts';

type CheckArgs = Args & { role: boolean; preflight: boolean; limit: string[] };
type Seen = { findings: Finding[]; role?: string };

/** The chain, each asked for its plan. They are loaded here only: `--help` stays quick. */
const CHAIN: (() => Promise<{ default: AnyScript }>)[] = [
  () => import('./build-template.ts'),
  () => import('./provision.ts'),
  () => import('./install-k3s.ts'),
  () => import('./install-metallb.ts'),
  () => import('./setup-nfs.ts'),
  () => import('./setup-ingress.ts'),
];

const script: Script<Seen, CheckArgs> = {
  name: 'check',
  summary: 'Preflight and drift: is everything as homelab.yaml says?',
  description: [
    'Looks at this machine, Proxmox, the privileges of the token, and asks every script of the chain what it would do.',
    'Changes nothing. Exit code 0: as wanted, 1: something is broken, 3: something would be changed.',
  ].join('\n'),
  options: [
    {
      flags: '--role',
      description: 'print the role that the Proxmox token needs, with the commands that make it',
      default: false,
    },
    { flags: '--preflight', description: 'this machine and Proxmox only', default: false },
  ],
  optionalSecrets: () => ['PROXMOX_TOKEN_SECRET', 'CLOUDFLARE_API_TOKEN', 'PROXMOX_PASSWORD'],
  lock: 'none',

  observe: async (lab, readers, args, context) => {
    if (args.role) return { findings: [], role: (await import('../lib/plan/privileges.ts')).roleCommands(lab.config) };
    const { observeApplications, observePreflight } = await import('../lib/observe/check.ts');
    const warnings = context.warnings.map((text): Finding => ({ area: 'homelab.yaml', level: 'warning', text }));
    const preflight = [...warnings, ...preflightFindings(lab.config, await observePreflight(lab, readers, context))];
    if (args.preflight) return { findings: preflight };
    const [looks, backups, { placed, unreadable }, { lintObjects }] = await Promise.all([
      askChain(lab, readers, args, context),
      lookAtBackups(lab, readers, context),
      observeApplications(lab, readers),
      import('../lib/plan/conventions.ts'),
    ]);
    const files = unreadable.map(
      ({ place, problem }): Finding => ({ area: 'conventions', level: 'broken', text: `${place}: ${problem}` }),
    );
    return {
      findings: [
        ...preflight,
        ...driftFindings(looks, context.warnings),
        ...backups,
        ...files,
        ...conventionFindings(lintObjects(placed, lab.config)),
      ],
    };
  },

  plan: () => noSteps,

  report: (_lab, { findings, role }) =>
    role
      ? { text: role, data: { role } }
      : { text: findingsText(findings), data: { findings }, exit: checkExit(findings) },
};

/** One after another: they share connections, and a lab that is down is told once for each script. */
async function askChain(lab: Lab, readers: Readers, args: CheckArgs, context: RunContext): Promise<Look[]> {
  const looks: Look[] = [];
  for (const load of CHAIN) {
    const { default: one } = await load();
    try {
      const plan = one.plan(lab, await one.observe(lab, readers, args, context), args);
      looks.push({ script: one.name, plan: limited(plan, args.limit) });
    } catch (error) {
      looks.push({ script: one.name, error: messageOf(error) });
    }
  }
  return looks;
}

/** Whether every PostgreSQL server has a proven set that is young enough. Judged from the target alone. */
async function lookAtBackups(lab: Lab, readers: Readers, context: RunContext): Promise<Finding[]> {
  const { backup } = lab.config;
  if (!backup) return [];
  const { observeSets } = await import('../lib/observe/backup.ts');
  const { statusReport } = await import('../lib/render/backup-report.ts');
  try {
    const seen = await observeSets(lab, readers, {}, context);
    const { text, exit } = statusReport(backup, seen);
    return text.split('\n').map((line) => ({ area: 'backup', level: exit ? 'warning' : 'ok', text: line }));
  } catch (error) {
    return [{ area: 'backup', level: 'warning', text: messageOf(error) }];
  }
}

export default defineScript(import.meta.url, script);
