import type { Lab } from '../lab-context.ts';
import { inUrl } from '../ledger/ip.ts';
import type { RunContext } from '../main.ts';
import type { Readers } from '../ports/types.ts';
import { readTrust, type TrustSeen } from './trust.ts';

/** The Proxmox API as other programs dial it, and how they recognise it. */
export type ApiSeen = {
  /** https://HOST:PORT */
  api: string;
  trust?: TrustSeen;
};

/**
 * The API of `first` when it answers, else of the next node that does. When none does, that of `first`, undialled:
 * the reads that follow say what is wrong.
 */
export async function readApi(
  lab: Lab,
  readers: Pick<Readers, 'net' | 'files'>,
  context: Pick<RunContext, 'endpoints'>,
  first: string,
): Promise<ApiSeen> {
  const { nodes, port } = lab.config.proxmox;
  const ordered = [...nodes].sort((a, b) => Number(b.name === first) - Number(a.name === first));
  for (const { name, address } of ordered) {
    if (!(await readers.net.tcp(address, port, 5)).ok) continue;
    const dialled = context.endpoints.dial(address, port);
    return { api: url(dialled.host, dialled.port), trust: await readTrust(lab, readers, context, name) };
  }
  return { api: url(ordered[0]?.address ?? '', port) };
}

function url(host: string, port: number): string {
  return `https://${inUrl(host)}:${port}`;
}
