import type { Exec } from '../ports/types.ts';

/** The oldest versions that terraform/ and packer/ are written for; Debian's Packer needs HCL of its own. */
export const NEEDED = { terraform: [1, 9], packer: [1, 10], packerWithOwnHcl: [1, 6] } as const;

/** A program of this machine: its version, or why it cannot be used. */
export type ToolSeen = { version?: string; problem?: string };

const TOOLS = {
  terraform: { argv: ['terraform', 'version', '-json'], version: /"terraform_version": *"([^"]+)"/ },
  packer: { argv: ['packer', 'version'], version: /v?(\d+\.\d+\.\d+)/ },
};

/** Asks a program for its version, without letting it ask the internet for a newer one. */
export async function readTool(tool: keyof typeof TOOLS, exec: Exec): Promise<ToolSeen> {
  const { argv, version } = TOOLS[tool];
  if (!exec.which(tool)) return { problem: `${tool} is not installed` };
  const { code, stdout, stderr } = await exec.run(argv, { deadline: 60 });
  const found = code === 0 ? version.exec(stdout)?.[1] : undefined;
  return found ? { version: found } : { problem: (stderr || stdout).trim() || `${tool} does not say its version` };
}
