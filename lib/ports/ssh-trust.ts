import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ServerHostKeyAlgorithm } from 'ssh2';
import { addressOf } from '../lookup.ts';
import type { PortContext } from './index.ts';
import { fingerprint, type HostKey, type KnownKey, knownKeys } from './known-hosts.ts';
import { Unreachable } from './ssh-errors.ts';

/** Our known_hosts of a lab. */
export function ownKnownHosts({ lab }: Pick<PortContext, 'lab'>): string {
  return join(lab.paths.state, 'known_hosts');
}

/**
 * What we know of a host's keys: our own file decides; where it has nothing, the user's is asked (never in a
 * rehearsal, whose hosts have the real ones' addresses).
 */
export function trusted(context: Pick<PortContext, 'lab' | 'endpoints'>, host: string): KnownKey[] {
  const { lab, endpoints } = context;
  const address = addressOf(lab, host);
  const own = ownKnownHosts(context);
  const ours = knownKeys(textOf(own), [address], own);
  if (ours.length > 0 || endpoints.rehearsal) return ours;
  const users = join(homedir(), '.ssh', 'known_hosts');
  return knownKeys(textOf(users), [address, host, `${host}.${lab.config.search_domain}`], users);
}

/** The algorithms to ask for: those of the keys that we know, so that a host with several shows the right one. */
export function algorithmsFor(known: readonly KnownKey[]): ServerHostKeyAlgorithm[] {
  const all: ServerHostKeyAlgorithm[] = [
    ...(['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521'] as const),
    ...(['rsa-sha2-512', 'rsa-sha2-256'] as const),
  ];
  const isKnown = (name: string): boolean =>
    known.some(({ type }) => type === name || (type === 'ssh-rsa' && name.startsWith('rsa-')));
  return [...all.filter(isKnown), ...all.filter((name) => !isKnown(name))];
}

/** Why a key is not the host's, or undefined when it is. */
export function refusal(
  host: string,
  address: string,
  shown: HostKey,
  known: readonly KnownKey[],
  ownFile: string,
): Unreachable | undefined {
  const same = known.find(({ type, blob }) => type === shown.type && blob === shown.blob);
  if (same && !same.revoked) return undefined;
  const who = `${host} (${address})`;
  if (same)
    return new Unreachable(`${who}: its host key ${fingerprint(shown)} is revoked in ${same.file}`, {
      fix: 'give the host a new key; never connect with this one',
    });
  const [first] = known;
  if (!first)
    return new Unreachable(`${who}: its host key is not known: ${shown.type} ${fingerprint(shown)}`, {
      cause: 'nobody has vouched for this key yet',
      fix: `for a VM run scripts/provision.ts, which learns it through Proxmox; else compare the fingerprint on the host's console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and add the line "${address} ${shown.type} ${shown.blob}" to ${ownFile}`,
    });
  return new Unreachable(
    `${who}: its host key has changed: known is ${first.type} ${fingerprint(first)}, shown was ${shown.type} ${fingerprint(shown)}`,
    {
      cause: 'the machine was rebuilt, another one has its address, or somebody is in between',
      fix: `if it was rebuilt, scripts/provision.ts learns its new key through Proxmox; otherwise find out who answers at ${address} before removing its line from ${first.file}`,
    },
  );
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
