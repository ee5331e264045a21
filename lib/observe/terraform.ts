import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import { caFile } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { TOOLKIT } from '../paths.ts';
import { addressIn, parsePlan, parseState, type StateVm, type VmChange } from '../plan/terraform-json.ts';
import type { Answer, Readers } from '../ports/types.ts';
import { atLeast } from '../version.ts';
import { NEEDED, readTool, type ToolSeen } from './tools.ts';

/** Terraform, its working folder .state/<lab>/terraform/, and its state. */
export type TerraformSeen = {
  version?: string;
  /** Why it cannot be used. */
  problem?: string;
  folder: string;
  /** `terraform init` has been here. */
  initialised: boolean;
  /** Our *.tf and .terraform.lock.hcl, by name. */
  sources: Record<string, string>;
  /** The same in the working folder, and the generated variables. */
  files: Record<string, string | undefined>;
  state: StateVm[];
};

export const VARIABLES = 'homelab.auto.tfvars.json';
const LOCK = '.terraform.lock.hcl';

/** Terraform's working folder, which also says in `ps` whose it is. */
export function terraformFolder({ paths }: Pick<Lab, 'paths'>): string {
  return join(paths.state, 'terraform');
}

/** Which Terraform there is, and its working folder as the last run left it. */
export async function readTerraform(lab: Lab, { exec, files }: Readers): Promise<TerraformSeen> {
  const folder = terraformFolder(lab);
  const ours = join(TOOLKIT, 'terraform');
  const names = (await files.list(ours)).filter((name) => name.endsWith('.tf') || name === LOCK);
  const [version, initialised, state, ...texts] = await Promise.all([
    terraformVersion(exec),
    files.exists(join(folder, '.terraform/providers')),
    files.text(join(folder, 'terraform.tfstate')),
    ...names.map((name) => files.text(join(ours, name))),
    ...[...names, VARIABLES].map((name) => files.text(join(folder, name))),
  ]);
  const sources = Object.fromEntries(names.map((name, i) => [name, texts[i] ?? '']));
  const present = Object.fromEntries([...names, VARIABLES].map((name, i) => [name, texts[names.length + i]]));
  return { ...version, folder, initialised, sources, files: present, state: parseState(state) };
}

/** Files of ours that the working folder lacks or has otherwise. The lock file grows by itself: its versions count. */
export function differingSources({ sources, files }: TerraformSeen): string[] {
  const versions = (text: string | undefined): string => JSON.stringify(text?.match(/^\s*(provider|version) .*$/gm));
  return Object.keys(sources).filter((name) =>
    name === LOCK ? versions(sources[name]) !== versions(files[name]) : sources[name] !== files[name],
  );
}

/** Arguments have a limit (128 KiB each on Linux); longer variables are planned with after they are written. */
const LONGEST_VARIABLE = 100_000;

/**
 * Asks `terraform plan` what it would do with `variables`, without writing them. Undefined: it cannot be asked;
 * `init`: the folder was initialised by half, or for another version of the provider.
 * Terraform's own lock is waited for: an interrupted run may have left one that works still.
 */
export async function askTerraform(
  lab: Lab,
  { exec }: Readers,
  { secrets }: RunContext,
  seen: TerraformSeen,
  { variables, targets, refresh }: { variables: string; targets: readonly string[]; refresh: boolean },
): Promise<Answer<VmChange[]> | 'init' | undefined> {
  if (!seen.initialised || differingSources(seen).length > 0) return undefined;
  const given = JSON.parse(variables) as Record<string, unknown>;
  const values = Object.entries(given).map(([name, value]) =>
    typeof value === 'string' ? `${name}=${value}` : `${name}=${JSON.stringify(value)}`,
  );
  const same = seen.files[VARIABLES] === variables;
  if (!same && values.some((value) => value.length > LONGEST_VARIABLE)) return undefined;
  const token = `${lab.config.proxmox.token_id}=${secrets.get('PROXMOX_TOKEN_SECRET')?.reveal() ?? ''}`;
  const options = {
    env: { ...terraformEnvironment(lab), PROXMOX_VE_API_TOKEN: token },
    deadline: 900,
  };
  const file = 'observed.tfplan';
  const plan = await exec.run(
    [
      ...[
        'terraform',
        `-chdir=${seen.folder}`,
        'plan',
        '-input=false',
        '-no-color',
        '-lock-timeout=300s',
        `-out=${file}`,
      ],
      ...(refresh ? [] : ['-refresh=false']),
      ...(same ? [] : values.flatMap((value) => ['-var', value])),
      ...targets.map((name) => `-target=${addressIn(name)}`),
    ],
    options,
  );
  if (plan.code !== 0) {
    const reason = (plan.stderr.trim() || plan.stdout.trim()).split('\n').slice(-20).join('\n');
    if (/terraform init|required plugins|Inconsistent dependency lock file/i.test(reason)) return 'init';
    return { ok: false, reason };
  }
  const shown = await exec.run(['terraform', `-chdir=${seen.folder}`, 'show', '-json', file], options);
  return shown.code === 0 ? { ok: true, value: parsePlan(shown.stdout) } : { ok: false, reason: shown.stderr.trim() };
}

/** What every call of Terraform gets, beside the token. */
export function terraformEnvironment(lab: Lab): Record<string, string> {
  const ca = caFile(lab);
  return {
    TF_IN_AUTOMATION: '1',
    ...(ca && { SSL_CERT_FILE: ca }),
  };
}

async function terraformVersion(exec: Readers['exec']): Promise<ToolSeen> {
  const seen = await readTool('terraform', exec);
  if (!seen.version || atLeast(seen.version, NEEDED.terraform)) return seen;
  return { problem: `terraform ${seen.version} is older than ${NEEDED.terraform.join('.')}` };
}
