import { createHash, createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { HomelabError } from '../errors.ts';
import { writeAtomically } from './files.ts';

/** A host key: its algorithm and the base64 of its blob. */
export type HostKey = { type: string; blob: string };

/** A key that a known_hosts file has for a host. `revoked` keys are refused whatever else is said. */
export type KnownKey = HostKey & { revoked: boolean; file: string };

/** "SHA256:…" as ssh-keygen -l prints it. */
export function fingerprint({ blob }: HostKey): string {
  return `SHA256:${createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64').replace(/=+$/, '')}`;
}

/** "ssh-ed25519 AAAA… comment" as a key. @throws HomelabError when it is none */
export function parseHostKey(text: string): HostKey {
  const [type = '', blob = ''] = text.trim().split(/\s+/);
  const bytes = Buffer.from(blob, 'base64');
  // The blob begins with its own type: a length and the name.
  const inside = bytes.length > 4 ? bytes.subarray(4, 4 + bytes.readUInt32BE(0)).toString('latin1') : '';
  if (type === '' || inside !== type)
    throw new HomelabError(`not an SSH host key: ${JSON.stringify(text.slice(0, 60))}`, {
      fix: 'it looks like "ssh-ed25519 AAAA…"; /etc/ssh/ssh_host_ed25519_key.pub of the host has it',
    });
  return { type, blob };
}

/**
 * Keys that known_hosts text has for any of a host's names: plain, listed, wildcard, negated and hashed entries.
 * Lines that are no entry are passed over, as ssh does.
 */
export function knownKeys(text: string, names: readonly string[], file: string): KnownKey[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const marker = fields[0]?.startsWith('@') ? fields.shift() : undefined;
    const [patterns = '', type = '', blob = ''] = fields;
    if (patterns === '' || patterns.startsWith('#') || blob === '' || marker === '@cert-authority') return [];
    if (!names.some((name) => matches(patterns, name))) return [];
    return [{ type, blob, file, revoked: marker === '@revoked' }];
  });
}

/** What is being written, by file. Hosts come up side by side; whoever reads before the other has written loses its key. */
const writing = new Map<string, Promise<unknown>>();

/**
 * Makes `key` the only one that our file has for `address`; all other lines stay as they are.
 * Learning the same key again writes nothing. Calls of one process take turns.
 */
export function learn(file: string, address: string, name: string, key: HostKey): Promise<boolean> {
  return inTurn(file, () => rewrite(file, address, `${address} ${key.type} ${key.blob} ${name}`));
}

/** Takes out what our file has for `address`; all other lines stay as they are. @returns whether there was anything */
export function forget(file: string, address: string): Promise<boolean> {
  return inTurn(file, () => rewrite(file, address));
}

function inTurn(file: string, turn: () => Promise<boolean>): Promise<boolean> {
  // One that failed is its caller's failure, and not that of the next.
  const done = (writing.get(file) ?? Promise.resolve()).then(turn, turn);
  writing.set(file, done);
  return done;
}

/** @param entry the only line that `address` is to have; none when left out */
async function rewrite(file: string, address: string, entry?: string): Promise<boolean> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const lines = text.split('\n').filter((line) => line !== '');
  const others = lines.filter((line) => line.split(/\s+/)[0] !== address);
  const entries = entry === undefined ? [] : [entry];
  if (lines.length === others.length + entries.length && entries.every((one) => lines.includes(one))) return false;
  await writeAtomically(file, [...others, ...entries].map((line) => `${line}\n`).join(''), 0o600);
  return true;
}

function matches(patterns: string, name: string): boolean {
  if (patterns.startsWith('|1|')) return matchesHash(patterns, name);
  let matched = false;
  for (const pattern of patterns.split(',')) {
    const negated = pattern.startsWith('!');
    if (!globMatches(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    matched = true;
  }
  return matched;
}

function matchesHash(pattern: string, name: string): boolean {
  const [, , salt = '', hash = ''] = pattern.split('|');
  return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash;
}

function globMatches(pattern: string, name: string): boolean {
  const parts = pattern.toLowerCase().split(/([*?])/);
  const source = parts.map((part) =>
    part === '*' ? '.*' : part === '?' ? '.' : part.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&'),
  );
  return new RegExp(`^${source.join('')}$`).test(name.toLowerCase());
}
