import { readFile, stat } from 'node:fs/promises';
import {
  Decrypter,
  Encrypter,
  generateHybridIdentity,
  generateX25519Identity,
  identityToRecipient,
} from 'age-encryption';
import { HomelabError, messageOf, UsageError } from '../errors.ts';
import { type Measured, measuring, piecesOf, pour } from './pour.ts';
import { shortRecipient } from './recipients.ts';

/**
 * Encryption to age recipients (age-encryption.org/v1), by age's own library: what it writes, the program `age` reads.
 */

/** What can decrypt. Its secret keys stay inside. */
export type Identity = {
  decrypter: Decrypter;
  /** Public keys, to say which they are. */
  recipients: string[];
};

/** Encrypts a file into a new one, in pieces. @returns what was read, and what was written */
export async function encryptFile(
  from: string,
  to: string,
  recipients: readonly string[],
): Promise<{ plain: Measured; cipher: Measured }> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  const plain = measuring();
  const stream = await encrypter.encrypt(ReadableStream.from(plain.through(piecesOf(from))));
  const cipher = await pour(stream, to);
  return { plain: plain.result(), cipher };
}

/**
 * Decrypts a file into a new one, or (without `to`) only looks what it holds.
 * @throws HomelabError when the identity is another's, or the file was changed or cut off
 */
export async function decryptFile(from: string, to: string | undefined, identity: Identity): Promise<Measured> {
  const plain = await decrypted(from, identity);
  if (to !== undefined) return pour(explained(plain, from), to);
  const measured = measuring();
  for await (const _ of measured.through(explained(plain, from)));
  return measured.result();
}

/** The text that a small encrypted file holds. */
export async function decryptText(from: string, identity: Identity): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of explained(await decrypted(from, identity), from)) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

/** A pair of keys that lives in this process only: what a run encrypts, the same run can prove, and no later one. */
export async function passingIdentity(beside: readonly string[]): Promise<Identity & { recipient: string }> {
  // A weaker key beside post-quantum ones would decide.
  const quantum = beside.length > 0 && beside.every((recipient) => recipient.startsWith('age1pq1'));
  const secret = quantum ? await generateHybridIdentity() : await generateX25519Identity();
  return { ...(await identityOf([secret])), recipient: await identityToRecipient(secret) };
}

/**
 * The secret keys in a file of `age-keygen`.
 * @throws UsageError when it is missing, readable by others, or holds none
 */
export async function readIdentity(file: string): Promise<Identity> {
  const text = await readPrivate(file);
  if (/^(age-encryption\.org\/|-----BEGIN AGE)/.test(text))
    throw new UsageError(`--identity ${file}: it is itself encrypted`, {
      fix: `decrypt it into a file of your own first: age --decrypt -o key.txt ${file}; chmod 600 key.txt`,
    });
  const secrets = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (secrets.length === 0 || !secrets.every((line) => line.startsWith('AGE-SECRET-KEY-')))
    throw new UsageError(`--identity ${file}: it holds no secret key of age`, {
      fix: 'give the file that age-keygen wrote; it has a line AGE-SECRET-KEY-…',
    });
  try {
    return await identityOf(secrets);
  } catch {
    // The library's words might repeat the key.
    throw new UsageError(`--identity ${file}: a secret key in it is damaged`, { fix: 'take another copy of the file' });
  }
}

async function identityOf(secrets: readonly string[]): Promise<Identity> {
  const decrypter = new Decrypter();
  for (const secret of secrets) decrypter.addIdentity(secret);
  return { decrypter, recipients: await Promise.all(secrets.map((secret) => identityToRecipient(secret))) };
}

async function readPrivate(file: string): Promise<string> {
  try {
    const found = await stat(file);
    if (found.isFile() && found.mode & 0o077)
      throw new UsageError(`--identity ${file} can be read by others (mode 0${(found.mode & 0o777).toString(8)})`, {
        fix: `chmod 600 ${file}`,
      });
    return await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw new UsageError(`--identity ${file}: ${missing ? 'there is no such file' : messageOf(error)}`, {
      fix: 'give the file that age-keygen wrote',
    });
  }
}

async function decrypted(from: string, { decrypter, recipients }: Identity): Promise<AsyncIterable<Uint8Array>> {
  try {
    return await decrypter.decrypt(ReadableStream.from(piecesOf(from)));
  } catch (error) {
    if (/no identity matched/.test(messageOf(error)))
      throw new HomelabError(`${from} is not encrypted to ${recipients.map(shortRecipient).join(' or ')}`, {
        fix: 'give the identity whose public key backup-postgres list shows for the set',
      });
    throw damaged(from, error);
  }
}

async function* explained(chunks: AsyncIterable<Uint8Array>, from: string): AsyncIterable<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw damaged(from, error);
  }
}

/** The library's own errors say nothing of a file; the file system's have a code, and are not about the content. */
function damaged(from: string, error: unknown): unknown {
  if (error instanceof HomelabError || (error instanceof Error && 'code' in error)) return error;
  return new DamagedCipher(from, messageOf(error));
}

/** A file that nobody can decrypt any more; what hangs, or is not ours, is something else. */
export class DamagedCipher extends HomelabError {
  constructor(from: string, why: string) {
    super(`${from} cannot be decrypted: ${why}`, { cause: 'it was changed or cut off since it was written' });
  }
}
