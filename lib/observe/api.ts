import type { Lab } from '../lab-context.ts';
import { inUrl } from '../ledger/ip.ts';
import type { RunContext } from '../main.ts';
import type { Readers } from '../ports/types.ts';

/**
 * https://HOST:PORT of the Proxmox API, as other programs are to dial it: of `first` when it answers, else of the
 * next node that does. When none does, that of `first`, undialled: the reads that follow say what is wrong.
 */
export async function apiAddress(
  { config }: Lab,
  { net }: Pick<Readers, 'net'>,
  { endpoints }: Pick<RunContext, 'endpoints'>,
  first: string,
): Promise<string> {
  const { nodes, port } = config.proxmox;
  const ordered = [...nodes].sort((a, b) => Number(b.name === first) - Number(a.name === first));
  for (const { address } of ordered) {
    if (!(await net.tcp(address, port, 5)).ok) continue;
    const dialled = endpoints.dial(address, port);
    return url(dialled.host, dialled.port);
  }
  return url(ordered[0]?.address ?? '', port);
}

function url(host: string, port: number): string {
  return `https://${inUrl(host)}:${port}`;
}
