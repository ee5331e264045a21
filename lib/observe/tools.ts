import { DeadlineError } from '../errors.ts';
import type { RunContext } from '../main.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import { atLeast } from '../version.ts';

/** The oldest versions that terraform/ and packer/ are written for; Debian's Packer needs HCL of its own. */
export const NEEDED = { terraform: [1, 9], packer: [1, 10], packerWithOwnHcl: [1, 6] } as const;

/** The oldest Packer that will do: HCL of the lab's own (HOMELAB_PACKER_DIR) says itself what it needs. */
export function neededPacker({ settings }: Pick<RunContext, 'settings'>): readonly number[] {
  return settings.HOMELAB_PACKER_DIR === undefined ? NEEDED.packer : NEEDED.packerWithOwnHcl;
}

export type Tool = 'terraform' | 'packer';

/** A program of this machine: its version, and why it cannot be used, with what to do about it. */
export type ToolSeen = { version?: string; problem?: string; fix?: string };

/** Each says its name before its version, which is how a namesake, or OpenTofu, is told from it. */
const SAYS = { terraform: /^Terraform v(\d+\.\d+\.\d+\S*)/m, packer: /^(?:Packer )?v?(\d+\.\d+\.\d+\S*)/m };
const OPENTOFU = /^OpenTofu v(\S+)/m;

/** How one gets a program, as `fix` of what is wrong with it. */
export const HOW_TO_GET: Record<Tool, string> = {
  terraform:
    'install Terraform 1.9 or newer: https://developer.hashicorp.com/terraform/install ' +
    '(macOS: brew install hashicorp/tap/terraform; Debian: sudo apt-get install terraform, from the repository named there)',
  packer:
    'install Packer 1.10 or newer: https://developer.hashicorp.com/packer/install ' +
    "(macOS: brew install hashicorp/tap/packer; Debian: sudo apt-get install packer, from the repository named there: Debian's own is too old)",
};

/**
 * Asks a program for its version. Whatever comes of it is a value.
 * @param needed the oldest version that will do
 * @param deadline seconds; the first start of a program on macOS takes some
 */
export async function readTool(
  tool: Tool,
  exec: Exec,
  { needed = NEEDED[tool], deadline = 30 }: { needed?: readonly number[]; deadline?: number } = {},
): Promise<ToolSeen> {
  const fix = HOW_TO_GET[tool];
  const outcome = await ended(exec, [tool, 'version'], deadline);
  if ('late' in outcome) return { problem: `${tool} version did not end within ${deadline} s`, fix };
  const { code, stdout, stderr } = outcome;
  const path = exec.which(tool);
  if (code === 127 && !path) return { problem: missing(tool, exec), fix };
  const said = firstLines(stderr) || firstLines(stdout);
  if (code === 126 || code === 127)
    return { problem: `${path ?? tool} cannot be started: ${said}`, fix: `see that it may be executed, or ${fix}` };
  if (code !== 0) return { problem: `${tool} version ended with exit code ${code}: ${said || 'it said nothing'}`, fix };
  const version = SAYS[tool].exec(stdout)?.[1];
  const tofu = OPENTOFU.exec(stdout)?.[1];
  if (tofu) return { problem: `${path ?? tool} is OpenTofu ${tofu}, ${UNTRIED}`, fix };
  if (!version)
    return {
      problem: `${path ?? tool} does not say its version, but: ${firstLines(stdout) || said || 'nothing'}`,
      fix,
    };
  if (atLeast(version, needed)) return { version };
  return { version, problem: `${tool} ${version} is older than ${needed.join('.')}`, fix };
}

const UNTRIED = 'which this toolkit was never tried with';

function missing(tool: Tool, exec: Exec): string {
  const tofu = tool === 'terraform' ? exec.which('tofu') : undefined;
  return `${tool} is not installed${tofu ? `; there is OpenTofu (${tofu}), ${UNTRIED}` : ''}`;
}

async function ended(exec: Exec, argv: string[], deadline: number): Promise<Outcome | { late: true }> {
  try {
    return await exec.run(argv, { deadline });
  } catch (error) {
    if (error instanceof DeadlineError) return { late: true };
    throw error;
  }
}

/** Enough to recognise what a program says, and no more: it may be anything. */
function firstLines(text: string): string {
  const lines = text.split('\n').flatMap((line) => line.trim() || []);
  const shown = lines.slice(0, 3).join(' ');
  return shown.length > 300 ? `${shown.slice(0, 300)}…` : shown;
}
