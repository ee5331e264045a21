import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HomelabError, messageOf } from '../errors.ts';
import type { Exec } from '../ports/types.ts';
import { DamagedCipher, decryptFile, decryptText, encryptFile, type Identity } from './age.ts';
import { type Claim, claim } from './claim.ts';
import { cipherName, discreet, ENCRYPTED, type EncryptedContent, encryptedText, plainLeftovers } from './encrypted.ts';
import { type HashedFile, type Manifest, parseManifest, sumsText } from './manifest.ts';
import type { Nas } from './nas.ts';
import { hashFromDisk } from './pour.ts';
import { writeReport } from './publish.ts';
import { type BackupSet, filesOf, sha256 } from './sets.ts';

/** Making an encrypted set of a plain one, and a plain one of an encrypted set. */

/** An identity that lives as long as a run; see age.ts. */
type Passing = Identity & { recipient: string };

/** A proven set whose files are plain. */
export type PlainSet = Pick<BackupSet, 'name' | 'server' | 'lineage' | 'folder'> & { manifest: Manifest };

/** The files that make a plain set, verify.json aside: in this order they are numbered when they are encrypted. */
export async function plainFiles(nas: Nas, folder: string, manifest: Manifest): Promise<HashedFile[]> {
  const hashed = (file: string, text: string): HashedFile => ({
    ...{ file, bytes: Buffer.byteLength(text), sha256: sha256(text) },
  });
  const own = hashed('manifest.json', (await nas.text(join(folder, 'manifest.json'))) ?? '');
  return [own, hashed('SHA256SUMS', sumsText([...filesOf(manifest), own])), ...filesOf(manifest)];
}

/**
 * Writes the encrypted files of a set into `to`, each hashed again from the disk.
 * @param proof an identity of this run that can open them too; `recipients` are whose they stay
 * @returns what encrypted.json is to say
 */
export async function sealFiles(
  exec: Exec,
  nas: Nas,
  set: PlainSet,
  to: string,
  recipients: readonly string[],
  proof: Passing,
): Promise<EncryptedContent> {
  const files: HashedFile[] = [];
  const plain = await plainFiles(nas, set.folder, set.manifest);
  for (const [n, { file, sha256: expected }] of plain.entries()) {
    const name = cipherName(n);
    const done = await encryptFile(join(set.folder, file), join(to, name), [...recipients, proof.recipient]);
    if (done.plain.sha256 !== expected) throw damagedSource(set, file);
    if ((await hashFromDisk(exec, nas, join(to, name))) !== done.cipher.sha256) throw unlikeWritten(join(to, name));
    files.push({ file: name, ...done.cipher });
  }
  return {
    format: 1,
    set: set.name,
    server: set.server,
    system_identifier: set.lineage,
    manifest_sha256: plain[0]?.sha256 ?? '',
    recipients: [...recipients],
    files,
  };
}

/** The text of encrypted.json. */
export function sealedText(content: EncryptedContent): string {
  return encryptedText(content, sha256);
}

/**
 * Encrypts a proven set where it lies. It stays the plain, proven set until manifest.json goes, which is when every
 * encrypted file is on disk and was opened once; the plain files go after that. What a killed run left is done anew.
 * One at a time does it, on whatever machine: two would delete what the other one has just made.
 * @throws HomelabError with exit code 75 while somebody else encrypts the set
 */
export async function encryptInPlace(
  exec: Exec,
  nas: Nas,
  set: BackupSet,
  recipients: readonly string[],
  proof: Passing,
): Promise<void> {
  const { name, folder } = set;
  let held: Claim;
  try {
    held = await claim(nas, join(folder, CLAIM), `${name} is being encrypted`);
  } catch (error) {
    if (await isPruned(nas, folder)) return;
    throw isOfDisk(error) ? unencrypted(name, error) : error;
  }
  try {
    await encryptClaimed(exec, nas, set, recipients, proof, held);
  } finally {
    await held.release().catch(() => {});
  }
}

/** Is no leftover for whoever sees it: see plainLeftovers(). */
const CLAIM = '.encrypting.tmp';

async function encryptClaimed(
  exec: Exec,
  nas: Nas,
  set: BackupSet,
  recipients: readonly string[],
  proof: Passing,
  held: Claim,
): Promise<void> {
  const { folder, manifest, report } = set;
  if (manifest && report) {
    // Somebody else may have done it since the set was read; the encrypted files are all that there is then.
    if (!(await nas.exists(join(folder, 'manifest.json')))) return;
    await removeCiphers(nas, folder);
    try {
      const content = await sealFiles(exec, nas, { ...set, manifest }, folder, recipients, proof);
      const plain = await plainFiles(nas, folder, manifest);
      for (const [n, { sha256: expected }] of plain.entries()) {
        const opened = await decryptFile(join(folder, cipherName(n)), undefined, proof);
        if (opened.sha256 !== expected) throw unlikeWritten(join(folder, cipherName(n)));
      }
      await writeReport(nas, folder, discreet(report));
      await nas.replace(join(folder, ENCRYPTED), sealedText(content), incomingOf(folder));
    } catch (error) {
      // A full target must not stay full of what nobody can use.
      await removeCiphers(nas, folder).catch(() => {});
      // The first target's retention took it away meanwhile.
      if (await isPruned(nas, folder)) return;
      throw isOfDisk(error) ? unencrypted(set.name, error) : error;
    }
    await held.assertHeld();
    await nas.remove(join(folder, 'manifest.json'));
    await nas.settleFolder(folder);
  } else {
    const problems = await damagedCiphers(exec, nas, set);
    if (problems.length > 0)
      throw new HomelabError(`${set.name}: its encrypted files are not what was written; its plain ones were kept`, {
        output: problems.join('\n'),
        fix: `copy what is plain in ${folder} to another place, and see whether the NAS is sound`,
      });
  }
  for (const name of plainLeftovers(await nas.list(folder))) await nas.remove(join(folder, name));
  await nas.settleFolder(folder);
}

/** Whether a set is gone, and not the whole target. */
export async function isPruned(nas: Nas, folder: string): Promise<boolean> {
  return !(await nas.exists(folder)) && (await nas.exists(dirname(folder)));
}

/** Where what is written into a set is written first. */
function incomingOf(folder: string): string {
  return join(dirname(dirname(folder)), '.incoming');
}

function isOfDisk(error: unknown): boolean {
  return error instanceof Error && 'code' in error;
}

function unencrypted(name: string, error: unknown): HomelabError {
  return new HomelabError(`encrypting ${name}: ${messageOf(error)}`, {
    fix: 'see whether the NAS answers and has room for the set once more; it is plain so far, and proven',
  });
}

/** Only of a set whose plain files are there. */
async function removeCiphers(nas: Nas, folder: string): Promise<void> {
  for (const name of await nas.list(folder))
    if (/^\d{4,}\.age$/.test(name) || name === ENCRYPTED) await nas.remove(join(folder, name));
}

/** The manifest of an encrypted set. @throws HomelabError when the identity is another's, or it was changed */
export async function openManifest(set: BackupSet, identity: Identity): Promise<{ manifest: Manifest; text: string }> {
  const path = join(set.folder, cipherName(0));
  const text = await decryptText(path, identity);
  const manifest = parseManifest(text);
  if ('damaged' in manifest || sha256(text) !== set.encrypted?.manifest_sha256)
    throw new HomelabError(`${path} is not the manifest of ${set.name}`, { fix: 'take another set' });
  return { manifest, text };
}

/** Decrypts a set into `to`, as the plain set that it was. @returns what is not as it was, file by file */
export async function openSet(
  nas: Nas,
  set: BackupSet,
  identity: Identity,
  to: string,
): Promise<{ manifest: Manifest; problems: string[] }> {
  const { manifest } = await openManifest(set, identity);
  await decryptFile(join(set.folder, cipherName(0)), join(to, 'manifest.json'), identity);
  const plain = await plainFiles(nas, to, manifest);
  const problems: string[] = [];
  for (const [n, { file, sha256: expected }] of plain.entries()) {
    if (n === 0) continue;
    // Anybody can encrypt to a public key: a manifest is no reason to write outside of the folder.
    if (/(^|\/)\.\.?(\/|$)|^\/|\0/.test(file))
      throw new HomelabError(`${set.name}: ${JSON.stringify(file)} is no file`);
    await mkdir(dirname(join(to, file)), { recursive: true, mode: 0o700 });
    try {
      const found = await decryptFile(join(set.folder, cipherName(n)), join(to, file), identity);
      if (found.sha256 !== expected) problems.push(`${cipherName(n)}: it holds another ${file}`);
    } catch (error) {
      if (error instanceof DamagedCipher) problems.push(error.message);
      else if ((error as NodeJS.ErrnoException).code === 'ENOENT') problems.push(`${cipherName(n)}: it is missing`);
      else throw (error as NodeJS.ErrnoException).code === 'ENOSPC' ? noScratch(set) : error;
    }
  }
  return { manifest, problems };
}

function noScratch({ name, bytes }: BackupSet): HomelabError {
  return new HomelabError(`no room to decrypt ${name} (${Math.ceil(bytes / 2 ** 20)} MiB) in the temporary folder`, {
    fix: 'set TMPDIR to a folder with room for the set and the databases',
  });
}

/** Encrypted files that are missing, short or flipped. */
export async function damagedCiphers(exec: Exec, nas: Nas, set: BackupSet): Promise<string[]> {
  const problems: string[] = [];
  for (const { file, sha256: expected } of set.encrypted?.files ?? []) {
    const found = await hashFromDisk(exec, nas, join(set.folder, file)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return 'it is missing';
      throw error;
    });
    if (found !== expected) problems.push(`${file}: ${found.length === 64 ? 'its SHA-256 is another' : found}`);
  }
  return problems;
}

/** A disk, or the way to it, that changes what it stores. */
export function unlikeWritten(path: string): HomelabError {
  return new HomelabError(`${path}: what was read back is not what was written`, {
    cause: 'the disk, or the way to it, changes what it stores',
    fix: 'look at its health, and at the cable; the next run tries again',
  });
}

/** A set that is not any more what was proven. */
export function damagedSource({ name, folder }: Pick<BackupSet, 'name' | 'folder'>, file: string): HomelabError {
  return new HomelabError(`${folder}/${file} is not what was proven; it was left as it is`, {
    cause: 'the first target changed it since',
    fix: `backup-postgres verify ${name} records that; the next run makes a new set`,
  });
}
