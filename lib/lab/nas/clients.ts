import type { Config } from '../../config/schema.ts';

/** Addresses of an export's clients: `proxmox`, `k3s`, or names of single hosts. Names without an address have none yet. */
export function clientsIn(
  { proxmox, k3s }: Pick<Config, 'proxmox' | 'k3s'>,
  words: readonly string[],
  addressOf: (name: string) => string | undefined,
): string[] {
  const names = words.flatMap((word) => {
    if (word === 'proxmox') return proxmox.nodes.map(({ name }) => name);
    if (word === 'k3s') return k3s.nodes.map(({ name }) => name);
    return [word];
  });
  return names.map(addressOf).filter((address) => address !== undefined);
}
