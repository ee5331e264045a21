import type { Config } from './schema.ts';

type Part = Pick<Config, 'proxmox' | 'k3s'>;
export type ClientGroup = 'proxmox' | 'k3s' | 'k3s-servers';

/** Words that stand for hosts where an export names its clients, and what they are called. */
export const CLIENT_GROUPS: Record<ClientGroup, { what: string; of: (config: Part) => string[] }> = {
  proxmox: { what: 'Proxmox nodes', of: ({ proxmox }) => proxmox.nodes.map(({ name }) => name) },
  k3s: { what: 'K3s nodes', of: ({ k3s }) => k3s.nodes.map(({ name }) => name) },
  'k3s-servers': {
    what: 'servers of K3s',
    of: ({ k3s }) => k3s.nodes.filter(({ role }) => role === 'server').map(({ name }) => name),
  },
};

/** Whether a client is a group, and not a single host. */
export function isGroup(client: string): client is ClientGroup {
  return Object.hasOwn(CLIENT_GROUPS, client);
}
