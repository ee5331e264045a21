import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import { goTrust } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { TOOLKIT } from '../paths.ts';
import type { GeneratedSeen } from '../plan/generated.ts';
import { isRead, LOCK_FILE, lockDiffers } from '../plan/terraform-folder.ts';
import { addressIn, parsePlan, parseState, type StateVm, type VmChange } from '../plan/terraform-json.ts';
import { STATE_LOCK } from '../plan/terraform-trouble.ts';
import type { Answer, Outcome, Readers } from '../ports/types.ts';
import { readGenerated } from './generated.ts';
import { readTool } from './tools.ts';

/** Terraform, its working folder .state/<lab>/terraform/, and its state. */
export type TerraformSeen = {
  version?: string;
  /** Why it cannot be used, and what to do about it. */
  problem?: string;
  fix?: string;
  folder: string;
  /** `terraform init` has been here. */
  initialised: boolean;
  /** Our *.tf, their templates and .terraform.lock.hcl, by name. */
  sources: Record<string, string>;
  /** The same in the working folder, and the generated variables. */
  files: Record<string, string | undefined>;
  state: StateVm[];
  /** What is remembered of the generated files, and the edited ones that were kept. */
  generated: GeneratedSeen;
  /** Files that Terraform reads there, and that are not ours. */
  extra: { path: string; sha256: string }[];
};

export const VARIABLES = 'homelab.auto.tfvars.json';

/** Terraform's working folder, which also says in `ps` whose it is. */
export function terraformFolder({ paths }: Pick<Lab, 'paths'>): string {
  return join(paths.state, 'terraform');
}

/** Which Terraform there is, and its working folder as the last run left it. */
export async function readTerraform(lab: Lab, { exec, files }: Readers): Promise<TerraformSeen> {
  const folder = terraformFolder(lab);
  const ours = join(TOOLKIT, 'terraform');
  const names = (await files.list(ours)).filter((name) => /\.(tf|tftpl)$/.test(name) || name === LOCK_FILE);
  const [version, initialised, state, generated, extra, ...texts] = await Promise.all([
    readTool('terraform', exec),
    files.exists(join(folder, '.terraform/providers')),
    readState(lab, files),
    readGenerated(lab, files, folder),
    readExtra(files, folder, [...names, VARIABLES]),
    ...names.map((name) => files.text(join(ours, name))),
    ...[...names, VARIABLES].map((name) => files.text(join(folder, name))),
  ]);
  const sources = Object.fromEntries(names.map((name, i) => [name, texts[i] ?? '']));
  const present = Object.fromEntries([...names, VARIABLES].map((name, i) => [name, texts[names.length + i]]));
  return { ...version, folder, initialised, sources, files: present, state, generated, extra };
}

/** The VMs in Terraform's state. @throws HomelabError for a file that cannot be read: it is not taken for an empty one */
export async function readState(lab: Pick<Lab, 'paths'>, files: Pick<Readers['files'], 'text'>): Promise<StateVm[]> {
  const file = join(terraformFolder(lab), 'terraform.tfstate');
  return parseState(await files.text(file), file);
}

async function readExtra(files: Readers['files'], folder: string, ours: string[]): Promise<TerraformSeen['extra']> {
  const names = (await files.list(folder)).filter((name) => isRead(name) && !ours.includes(name));
  return Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      return { path, sha256: (await files.sha256(path)) ?? '' };
    }),
  );
}

/** Files of ours that the working folder lacks or has otherwise. The lock file grows by itself. */
export function differingSources({ sources, files }: TerraformSeen): string[] {
  return Object.entries(sources).flatMap(([name, text]) =>
    (name === LOCK_FILE ? lockDiffers(text, files[name]) : text !== files[name]) ? [name] : [],
  );
}

/** Arguments have a limit (128 KiB each on Linux); longer variables are planned with after they are written. */
const LONGEST_VARIABLE = 100_000;

export type AskTerraform = { variables: string; targets: readonly string[]; refresh: boolean; wait: boolean };

/**
 * Asks `terraform plan` what it would do with `variables`, without writing them. Undefined: it cannot be asked;
 * `init`: the folder was initialised by half, or for another version of the provider.
 * Terraform's own lock is waited for, and its holder named: an interrupted run may have left one that works still, or
 * a person works in the folder.
 * @param wait false: a look that changes nothing takes a held lock for its answer
 */
export async function askTerraform(
  lab: Lab,
  { exec }: Pick<Readers, 'exec'>,
  { secrets, say }: Pick<RunContext, 'secrets' | 'say'>,
  seen: TerraformSeen,
  { variables, targets, refresh, wait }: AskTerraform,
): Promise<Answer<VmChange[]> | 'init' | undefined> {
  if (!seen.initialised || differingSources(seen).length > 0) return undefined;
  const given = JSON.parse(variables) as Record<string, unknown>;
  const values = Object.entries(given).map(([name, value]) =>
    typeof value === 'string' ? `${name}=${value}` : `${name}=${JSON.stringify(value)}`,
  );
  const there = seen.files[VARIABLES];
  const same = there === variables;
  // Terraform reads the file even where all of its values are given; one that an edit broke is written anew first.
  if (there !== undefined && !isJson(there)) return undefined;
  if (!same && values.some((value) => value.length > LONGEST_VARIABLE)) return undefined;
  const token = `${lab.config.proxmox.token_id}=${secrets.get('PROXMOX_TOKEN_SECRET')?.reveal() ?? ''}`;
  const options = {
    env: { ...terraformEnvironment(lab), PROXMOX_VE_API_TOKEN: token },
    deadline: 900,
  };
  const file = 'observed.tfplan';
  const ask = (lockTimeout: string): Promise<Outcome> =>
    exec.run(
      [
        ...['terraform', `-chdir=${seen.folder}`, 'plan', '-input=false', '-no-color'],
        ...[`-lock-timeout=${lockTimeout}`, `-out=${file}`],
        ...(refresh ? [] : ['-refresh=false']),
        ...(same ? [] : values.flatMap((value) => ['-var', value])),
        ...targets.map((name) => `-target=${addressIn(name)}`),
      ],
      options,
    );
  let plan = await ask('0s');
  const holder = wait ? holderOf(plan) : undefined;
  if (holder) {
    say(`waiting for ${holder}, which holds ${join(seen.folder, 'terraform.tfstate')}`);
    plan = await ask('300s');
  }
  if (plan.code !== 0) {
    const reason = (plan.stderr.trim() || plan.stdout.trim()).split('\n').slice(-20).join('\n');
    if (/terraform init|required plugins|Inconsistent dependency lock file/i.test(reason)) return 'init';
    return { ok: false, reason };
  }
  const shown = await exec.run(['terraform', `-chdir=${seen.folder}`, 'show', '-json', file], options);
  return shown.code === 0 ? { ok: true, value: parsePlan(shown.stdout) } : { ok: false, reason: shown.stderr.trim() };
}

/** "Terraform of ops@laptop (OperationTypeApply since …)", from what one says that finds the state locked. */
function holderOf({ code, stderr }: Outcome): string | undefined {
  if (code === 0 || !STATE_LOCK.test(stderr)) return undefined;
  const field = (name: string): string => new RegExp(`${name}: +(.*)$`, 'm').exec(stderr)?.[1]?.trim() ?? '?';
  return `the Terraform of ${field('Who')} (${field('Operation')} since ${field('Created')})`;
}

/** What every call of Terraform gets, beside the token. */
export function terraformEnvironment(lab: Lab): Record<string, string> {
  return { TF_IN_AUTOMATION: '1', ...goTrust(lab) };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
