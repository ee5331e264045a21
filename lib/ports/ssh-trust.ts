import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ServerHostKeyAlgorithm } from 'ssh2';
import type { PortContext } from './index.ts';
import { fingerprint, type HostKey, type KnownKey, knownKeys } from './known-hosts.ts';
import { Unreachable, whereIs } from './ssh-errors.ts';
import type { Login } from './ssh-login.ts';

/**
 * What is known of a host's keys. `elsewhere` are those of other ports of its address: one of them may be its own, but
 * another one than those is not "changed". `file` is where its key would be added.
 */
export type Trust = { known: KnownKey[]; elsewhere: KnownKey[]; file: string };

/** Our known_hosts of a lab. */
export function ownKnownHosts({ lab }: Pick<PortContext, 'lab'>): string {
  return join(lab.paths.state, 'known_hosts');
}

/**
 * What we know of a host's keys: our own file decides; where it has nothing, ssh's files are asked.
 * @param own our known_hosts, which has hosts of homelab.yaml only
 */
export function trusted({ labAddress, knownHosts, port }: Login, own: string): Trust {
  const ours = labAddress === undefined ? [] : knownKeys(textOf(own), [labAddress], own);
  if (ours.length > 0) return { known: ours, elsewhere: [], file: own };
  const { files, names } = knownHosts;
  const find = (wanted: readonly string[]): KnownKey[] =>
    files.flatMap((file) => knownKeys(textOf(file), wanted, file));
  const known = find(names.map((name) => (port === 22 ? name : `[${name}]:${port}`)));
  return {
    known,
    elsewhere: known.length > 0 || port === 22 ? [] : find(names),
    file: (labAddress === undefined ? files[0] : undefined) ?? own,
  };
}

/** The algorithms to ask for: those of the keys that we know, so that a host with several shows the right one. */
export function algorithmsFor({ known, elsewhere }: Trust): ServerHostKeyAlgorithm[] {
  const all: ServerHostKeyAlgorithm[] = [
    ...(['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521'] as const),
    ...(['rsa-sha2-512', 'rsa-sha2-256'] as const),
  ];
  const isKnown = (name: string): boolean =>
    [...known, ...elsewhere].some(({ type }) => type === name || (type === 'ssh-rsa' && name.startsWith('rsa-')));
  return [...all.filter(isKnown), ...all.filter((name) => !isKnown(name))];
}

/** Why a key is not the host's, or undefined when it is. */
export function refusal(login: Login, shown: HostKey, { known, elsewhere, file }: Trust): Unreachable | undefined {
  const same = [...known, ...elsewhere].find(({ type, blob }) => type === shown.type && blob === shown.blob);
  if (same && !same.revoked) return undefined;
  const { address, port, labAddress } = login;
  const who = whereIs(login);
  if (same)
    return new Unreachable(`${who}: its host key ${fingerprint(shown)} is revoked in ${same.file}`, {
      fix: 'give the host a new key; never connect with this one',
    });
  const [first] = known;
  if (!first) {
    const name = labAddress ?? (port === 22 ? address : `[${address}]:${port}`);
    const compare = `compare the fingerprint on the host's console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and add the line "${name} ${shown.type} ${shown.blob}" to ${file}`;
    return new Unreachable(`${who}: its host key is not known: ${shown.type} ${fingerprint(shown)}`, {
      cause: 'nobody has vouched for this key yet',
      fix:
        labAddress === undefined
          ? compare
          : `for a VM run scripts/provision.ts, which learns it through Proxmox; else ${compare}`,
    });
  }
  const otherwise = `find out who answers at ${address} before removing its line from ${first.file}`;
  return new Unreachable(
    `${who}: its host key has changed: known is ${first.type} ${fingerprint(first)}, shown was ${shown.type} ${fingerprint(shown)}`,
    {
      cause: 'the machine was rebuilt, another one has its address, or somebody is in between',
      fix:
        labAddress === undefined
          ? otherwise
          : `if it was rebuilt, scripts/provision.ts learns its new key through Proxmox; otherwise ${otherwise}`,
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
