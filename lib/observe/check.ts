import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { expandPath } from '../paths.ts';
import type { Preflight } from '../plan/check.ts';
import type { Granted } from '../plan/privileges.ts';
import type { Exec, Readers } from '../ports/types.ts';
import { HOW_TO_GET, NEEDED, neededPacker, readTool } from './tools.ts';

/** What has to be there before anything can start: programs, the SSH key, Proxmox's nodes, the token's privileges. */
export async function observePreflight(lab: Lab, readers: Readers, context: RunContext): Promise<Preflight> {
  const { config, paths } = lab;
  const path = expandPath(config.ssh.key, paths.root);
  const [tools, found, listed, nodes, granted] = await Promise.all([
    readTools(readers.exec, context),
    readers.files.exists(path),
    readers.pve.get<{ node: string; status?: string }[]>('/nodes'),
    Promise.all(
      config.proxmox.nodes.map(async ({ name, address }) => ({
        name,
        address,
        reason: await silence(address, lab, readers),
      })),
    ),
    readers.pve.get<Granted>('/access/permissions'),
  ]);
  const offline = listed.ok ? listed.value.filter(({ status }) => status === 'offline').map(({ node }) => node) : [];
  return {
    tools,
    key: { path: config.ssh.key, found },
    nodes: nodes.map((node) => ({
      ...node,
      reason: node.reason ?? (offline.includes(node.name) ? 'the cluster says that it is offline' : undefined),
    })),
    token: granted.ok ? { granted: granted.value } : { reason: granted.reason },
  };
}

/** Why a Proxmox node's API does not answer, or undefined when it does. */
async function silence(address: string, { config }: Lab, { net }: Readers): Promise<string | undefined> {
  const answer = await net.tcp(address, config.proxmox.port);
  return answer.ok ? undefined : answer.reason;
}

async function readTools(exec: Exec, context: RunContext): Promise<Preflight['tools']> {
  const needed = neededPacker(context);
  const [terraform, packer] = await Promise.all([readTool('terraform', exec), readTool('packer', exec, { needed })]);
  return [
    { name: 'node', version: process.versions.node, needed: [20, 18, 1], how: 'install Node 20 or newer' },
    { name: 'terraform', ...terraform, needed: NEEDED.terraform, how: HOW_TO_GET.terraform },
    { name: 'packer', ...packer, needed, how: HOW_TO_GET.packer },
  ];
}
