import { chmod, open } from 'node:fs/promises';

/** What must be on disk before it counts: pg_dump's own fsync is repeated, because closing on NFS is where errors come. */

/** Only its owner may read it, and it is on disk. @throws the file system's error (EIO, EDQUOT, ENOSPC) */
export async function settleFile(path: string): Promise<void> {
  await chmod(path, 0o600);
  await sync(path, 'r+');
}

/** Names in a folder are on disk. */
export async function settleFolder(path: string): Promise<void> {
  await sync(path, 'r');
}

/** A new file, mode 0600, on disk. */
export async function writeSettled(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function sync(path: string, flags: string): Promise<void> {
  const file = await open(path, flags);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
