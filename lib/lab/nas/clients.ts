import type { Config } from '../../config/schema.ts';
import { clientsOf } from '../../lookup.ts';

/** Addresses of an export's clients. Names without an address have none yet. */
export function clientsIn(
  config: Pick<Config, 'proxmox' | 'k3s'>,
  words: readonly string[],
  addressOf: (name: string) => string | undefined,
): string[] {
  return clientsOf(config, words)
    .map(addressOf)
    .filter((address) => address !== undefined);
}
