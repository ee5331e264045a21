import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { isAlive } from '../alive.ts';
import { HomelabError, messageOf } from '../errors.ts';
import type { Exec } from '../ports/types.ts';
import { type Identity, passingIdentity } from './age.ts';
import { ENCRYPTED } from './encrypted.ts';
import type { HashedFile } from './manifest.ts';
import type { Nas } from './nas.ts';
import { hashFromDisk } from './pour.ts';
import { move, removeSet } from './publish.ts';
import { damagedSource, isPruned, plainFiles, sealedText, sealFiles, unlikeWritten } from './seal.ts';
import { type BackupSet, lineageFolder, readOneSet } from './sets.ts';

/** A proven set of the first target, copied to the second. The first is read only. */

export type CopyContext = {
  exec: Exec;
  /** Of the second target. */
  nas: Nas;
  /** The second target, looked at anew. @throws HomelabError when it is not there, or not ours */
  target: () => Promise<{ root: string; freeBytes: number }>;
  /** Whose the copies are; without, they are as plain as the set. A set that is encrypted already stays as it is. */
  recipients?: readonly string[];
};

/** A copy that is published, and not yet proven. */
export type Copy = {
  server: string;
  lineage: string;
  name: string;
  /** Decrypts it, in this run only. */
  proof?: Identity;
};

/**
 * Copies a set: each file hashed while it is read, on disk, hashed again from there; then one rename.
 * @returns undefined where the first target's retention took the set away meanwhile
 */
export async function copySet(context: CopyContext, set: BackupSet): Promise<Copy | undefined> {
  const { root } = await context.target();
  const { nas } = context;
  const incoming = await openIncoming(nas, root, set);
  try {
    // Only now: what a copy that was killed has left may be what there is no room for.
    requireSpace(set, (await context.target()).freeBytes, root);
    const proof = await fill(context, set, incoming);
    await nas.settleFolder(incoming);
    await context.target();
    await publish(nas, root, set, incoming);
    return { server: set.server, lineage: set.lineage, name: set.name, proof };
  } catch (error) {
    const reason = await explained(context, set, error);
    await nas.remove(incoming).catch(() => {});
    if (reason === undefined) return undefined;
    throw reason;
  }
}

const INCOMING = '.incoming';

/** A folder of this process. Copies take no lock in the server: what another one left is known by its name, or by its age. */
async function openIncoming(nas: Nas, root: string, { server, lineage, name: set }: BackupSet): Promise<string> {
  const folder = lineageFolder(root, server, lineage);
  const all = join(folder, INCOMING);
  // One by one, below the target: where that has gone away meanwhile, nothing is made on the local disk.
  for (const path of [dirname(folder), folder, join(folder, 'sets'), all]) await nas.makeFolder(path);
  const host = hostname().replaceAll(/[^A-Za-z0-9-]/g, '-');
  for (const name of await nas.list(all)) if (isAbandoned(name, host)) await nas.remove(join(all, name));
  const own = join(all, `copy-${set}.${host}.${process.pid}.${Date.now()}`);
  await nas.makeFolder(own);
  return own;
}

/** No copy takes two days. */
const ABANDONED_MS = 48 * 3_600_000;

function isAbandoned(name: string, host: string): boolean {
  const [, owner, pid, since] = /^copy-.+\.([^.]+)\.(\d+)\.(\d+)$/.exec(name) ?? [];
  if (owner === undefined) return true;
  if (owner === host) return Number(pid) === process.pid || !isAlive(Number(pid));
  return Date.now() - Number(since) > ABANDONED_MS;
}

/** @returns who can decrypt it in this run, where it was encrypted on the way */
async function fill(context: CopyContext, set: BackupSet, to: string): Promise<Identity | undefined> {
  const { exec, nas, recipients } = context;
  if (set.pinned) await nas.create(join(to, 'PINNED'), '');
  if (set.manifest && recipients) {
    const proof = await passingIdentity(recipients);
    const content = await sealFiles(exec, nas, { ...set, manifest: set.manifest }, to, recipients, proof);
    await nas.create(join(to, ENCRYPTED), sealedText(content));
    return proof;
  }
  const folders = new Set<string>();
  for (const file of set.manifest ? await plainFiles(nas, set.folder, set.manifest) : ciphersOf(set)) {
    // Of a dump that is a folder.
    const folder = join(to, dirname(file.file));
    if (folder !== to && !folders.has(folder)) await nas.makeFolder(folder);
    folders.add(folder);
    await copy(exec, nas, set, file, to);
  }
  for (const folder of folders) await nas.settleFolder(folder);
  if (set.encrypted) await nas.create(join(to, ENCRYPTED), sealedText(set.encrypted));
  return undefined;
}

function ciphersOf({ name, encrypted }: BackupSet): HashedFile[] {
  if (!encrypted) throw new Error(`${name} has neither a manifest nor an encrypted one`);
  return encrypted.files;
}

async function copy(exec: Exec, nas: Nas, set: BackupSet, { file, sha256 }: HashedFile, to: string): Promise<void> {
  const path = join(to, file);
  if ((await nas.copy(join(set.folder, file), path)).sha256 !== sha256) throw damagedSource(set, file);
  if ((await hashFromDisk(exec, nas, path)) !== sha256) throw unlikeWritten(path);
}

/** Whole under its final name, or not at all. A copy of the same name that is not proven gives way to this one. */
async function publish(nas: Nas, root: string, set: BackupSet, incoming: string): Promise<void> {
  const lineage = lineageFolder(root, set.server, set.lineage);
  const there = await readOneSet(nas, root, set.server, set.lineage, set.name);
  if (there?.state === 'proven') return nas.remove(incoming);
  if (there) await removeSet(nas, lineage, there);
  await move(nas, incoming, join(lineage, 'sets', set.name));
  await nas.settleFolder(join(lineage, 'sets'));
  await nas.settleFolder(join(lineage, INCOMING));
}

/** @throws HomelabError where a target has no room for the set once more */
export function requireSpace(set: BackupSet, freeBytes: number, root: string): void {
  if (freeBytes >= set.bytes * ROOM) return;
  const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  throw new HomelabError(`${root}: ${mib(freeBytes)} free; ${set.name} needs ${mib(set.bytes * ROOM)} once more`, FULL);
}

/** Blocks, and encryption, take a little more than the bytes. */
const ROOM = 1.05;
const FULL = { fix: 'make room there, or lower backup.keep; the next run copies what is missing' };

/** What a failure means; undefined where nothing is left to be copied. */
async function explained({ nas, target }: CopyContext, set: BackupSet, error: unknown): Promise<unknown> {
  try {
    await target();
  } catch (gone) {
    return new HomelabError(`the second target went away while ${set.name} was copied: ${messageOf(gone)}`, {
      fix: (gone instanceof HomelabError && gone.fix) || 'attach it again; the next run copies what is missing',
    });
  }
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new HomelabError(`copying ${set.name}: the second target is full (${messageOf(error)})`, FULL);
  if (code === 'ENOENT' && (await isPruned(nas, set.folder))) return undefined;
  return typeof code === 'string' ? new HomelabError(`copying ${set.name}: ${messageOf(error)}`) : error;
}
