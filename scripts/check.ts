import { HEALTHCHECK_URL } from '../lib/config/env.ts';
import { HomelabError, messageOf } from '../lib/errors.ts';
import type { Lab } from '../lib/lab-context.ts';
import { limited } from '../lib/limit.ts';
import { type AnyScript, type Args, defineScript, type RunContext, type Script } from '../lib/main.ts';
import type { SeenForProvision } from '../lib/observe/drift.ts';
import type { ProvisionSeen } from '../lib/observe/provision.ts';
import {
  awayWithTheirVms,
  checkExit,
  conventionFindings,
  type Finding,
  findingsText,
  isProxmoxAway,
  type Look,
  preflightFindings,
} from '../lib/plan/check.ts';
import { chainFindings } from '../lib/plan/check-chain.ts';
import { driftFindings } from '../lib/plan/check-drift.ts';
import type { VmChange } from '../lib/plan/terraform-json.ts';
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
  async () => {
    const { default: family } = await import('./etcd-snapshot.ts');
    const install = family.commands.find(({ name }) => name === 'install');
    return { default: { ...(install as AnyScript), name: 'etcd-snapshot' } };
  },
  () => import('./setup-ingress.ts'),
];

const script: Script<Seen, CheckArgs> = {
  name: 'check',
  summary: 'Preflight and drift: is everything as homelab.yaml says?',
  description: [
    'Looks at this machine, Proxmox and the privileges of the token, compares homelab.yaml, the leases, the state of',
    'Terraform and Proxmox VM by VM, and asks every script of the chain what it would do. Changes nothing.',
    'Exit code 0: as wanted, 1: something is broken, 3: something would be changed, or waits for that.',
  ].join('\n'),
  options: [
    {
      flags: '--role',
      description: 'print the role that the Proxmox token needs, with the commands that make it',
      default: false,
    },
    { flags: '--preflight', description: 'this machine and Proxmox only', default: false },
  ],
  optionalSecrets: () => ['PROXMOX_TOKEN_SECRET', 'CLOUDFLARE_API_TOKEN', 'PROXMOX_PASSWORD', HEALTHCHECK_URL],
  lock: 'none',

  observe: async (lab, readers, args, context) => {
    if (args.role) return { findings: [], role: (await import('../lib/plan/privileges.ts')).roleCommands(lab.config) };
    const { observePreflight } = await import('../lib/observe/check.ts');
    const { observeApplications } = await import('../lib/observe/applications.ts');
    const { observeConventions } = await import('../lib/observe/conventions.ts');
    const warnings = context.warnings.map((text): Finding => ({ area: 'homelab.yaml', level: 'warning', text }));
    const preflight = await observePreflight(lab, readers, context);
    const found = [...warnings, ...preflightFindings(lab.config, preflight)];
    if (args.preflight) return { findings: found };
    const [chain, backups, { placed, unreadable }, cluster, { lintObjects }] = await Promise.all([
      askChain(lab, readers, args, context),
      Promise.all([lookAtBackups(lab, readers, context), lookAtCronJobs(lab, readers, context)]),
      observeApplications(lab, readers),
      observeConventions(lab, readers),
      import('../lib/plan/conventions.ts'),
    ]);
    const { observeDrift } = await import('../lib/observe/drift.ts');
    const drift = driftFindings(await observeDrift(lab, readers, chain.seen), args.limit);
    // Why it does not answer is told by the chain.
    const live = cluster.ok ? cluster.value : undefined;
    const files = unreadable.map(
      ({ place, problem }): Finding => ({ area: 'conventions', level: 'broken', text: `${place}: ${problem}` }),
    );
    return {
      findings: [
        ...found,
        ...drift.findings,
        ...chainFindings({
          looks: chain.looks,
          proxmoxAway: isProxmoxAway(preflight),
          away: awayWithTheirVms(lab.config, preflight),
          said: [...context.warnings, ...[...found, ...drift.findings].map(({ text }) => text)],
          explained: drift.explained,
          byHand: drift.byHand,
          changes: chain.changes,
          limit: args.limit,
        }),
        ...backups.flat(),
        ...files,
        ...conventionFindings(lintObjects(placed, lab.config, live), live !== undefined),
      ],
    };
  },

  plan: () => noSteps,

  report: (_lab, { findings, role }) =>
    role
      ? { text: role, data: { role } }
      : { text: findingsText(findings), data: { findings }, exit: checkExit(findings) },
};

type Asked = { looks: Look[]; seen?: SeenForProvision; changes?: VmChange[] };

/** One after another: they share connections. What provision has read of the VMs is compared afterwards. */
async function askChain(lab: Lab, readers: Readers, args: CheckArgs, context: RunContext): Promise<Asked> {
  const asked: Asked = { looks: [] };
  for (const load of CHAIN) {
    const { default: one } = await load();
    try {
      // A look waits for nothing that is under way.
      const seen: unknown = await one.observe(lab, readers, { ...args, check: true }, context);
      const plan = one.plan(lab, seen, args);
      asked.looks.push({ script: one.name, plan: limited(plan, args.limit) });
      if (one.name === 'provision') Object.assign(asked, ofProvision(seen as ProvisionSeen));
    } catch (error) {
      asked.looks.push({
        script: one.name,
        error: messageOf(error),
        fix: error instanceof HomelabError ? error.fix : undefined,
      });
    }
  }
  return asked;
}

function ofProvision(seen: ProvisionSeen): Omit<Asked, 'looks'> {
  return { seen, changes: seen.changes?.ok ? seen.changes.value : undefined };
}

/** Whether every PostgreSQL server has a proven set that is young enough, and who would hear that not. */
async function lookAtBackups(lab: Lab, readers: Readers, context: RunContext): Promise<Finding[]> {
  const { backup } = lab.config;
  if (!backup) return [];
  const { observeSets } = await import('../lib/observe/backup.ts');
  const { observeNotify } = await import('../lib/observe/backup-notify.ts');
  const { backupFindings } = await import('../lib/plan/check-backup.ts');
  try {
    const [seen, notify] = await Promise.all([
      observeSets(lab, readers, {}, context),
      observeNotify(lab, readers, context),
    ]);
    return backupFindings(backup, seen, notify);
  } catch (error) {
    return [{ area: 'backup', level: 'warning', text: messageOf(error) }];
  }
}

/** Whether what runs the backup inside the cluster is as homelab.yaml says, and has run lately. */
async function lookAtCronJobs(lab: Lab, readers: Readers, context: RunContext): Promise<Finding[]> {
  if (!lab.config.backup?.cronjob) return [];
  const { observeCronJob } = await import('../lib/observe/backup-install.ts');
  const { cronJobFindings } = await import('../lib/plan/backup-cronjob-findings.ts');
  return cronJobFindings(lab.config, await observeCronJob(lab, readers, context));
}

export default defineScript(import.meta.url, script);
