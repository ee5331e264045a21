import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { type Manifest, manifestText, type ProofReport } from '../lib/backup/manifest.ts';
import { type Nas, nasOf } from '../lib/backup/nas.ts';
import { openIncoming, publishSet, writeReport } from '../lib/backup/publish.ts';
import { type BackupSet, lineageFolder, readLineage, sha256 } from '../lib/backup/sets.ts';
import { realFiles } from '../lib/ports/files.ts';

/** Sets as a run publishes and proves them, without a PostgreSQL server. */

export const LINEAGE = '7311111111111111111';
export const SET = '20261123T030000Z-0a1b2c3d';
export const nas = nasOf(realFiles(), 60);

/** A proven set with two databases of random bytes; its names are what must not be seen once it is encrypted. */
export async function provenSet(root: string, name = SET, bytes = 200_000): Promise<BackupSet> {
  const lineage = lineageFolder(root, 'main', LINEAGE);
  const incoming = await openIncoming(nas, root, { server: 'main', lineage: LINEAGE }, name.slice(-8));
  const file = (file: string, content: Buffer) => {
    writeFileSync(join(incoming, file), content, { mode: 0o600 });
    return { file, bytes: content.length, sha256: sha256OfBuffer(content) };
  };
  const database = (hashed: ReturnType<typeof file>): Manifest['databases'][string] => ({
    ...hashed,
    ...{ owner: 'clinic_owner', encoding: 'UTF8', collate: 'C', ctype: 'C', provider: 'c', locale: null, settings: [] },
    ...{ extensions: {}, tables: { '"public"."patients"': { rows: 3, hash: '7' } } },
    large_objects: { rows: 0, hash: '0' },
  });
  const manifest: Manifest = {
    ...{ format: 1, run: name.slice(-8), lab: 'homelab', server: 'main', system_identifier: LINEAGE },
    ...{ started: '', finished: '', versions: { server: '15.1', client: '15.1' }, bootstrap_role: 'postgres' },
    ...{ roles: ['clinic_owner'], discovered: ['clinic', 'empty'], excluded: [], previous: null },
    databases: {
      clinic: database(file('clinic.dump', randomBytes(bytes))),
      empty: database(file('empty.dump', Buffer.alloc(0))),
    },
    globals: file('globals.sql', Buffer.from('CREATE ROLE clinic_owner;\n')),
  };
  const folder = await publishSet(nas, lineage, incoming, name, manifest);
  const report: ProofReport = {
    ...{ format: 1, set: name, ok: true, checked: '2026-11-23T03:01:00Z', seconds: 1, server_version: '15.1' },
    ...{ manifest_sha256: sha256(manifestText(manifest)), databases: 2, tables: 2, rows: 6, problems: [] },
    differences: ['"clinic" was restored with the locale C'],
  };
  await writeReport(nas, folder, report);
  return theSet(root, name);
}

/** The set as it is read. */
export async function theSet(root: string, name = SET): Promise<BackupSet> {
  const found = (await readLineage(nas, root, 'main', LINEAGE)).find((set) => set.name === name);
  if (!found) throw new Error(`no set ${name} in ${root}`);
  return found;
}

/** Every file below a folder, with its bytes. */
export function content(root: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => statSync(join(root, name)).isFile())
      .sort()
      .map((name) => [name, readFileSync(join(root, name)).toString('base64')]),
  );
}

const CHANGING = ['makeFolder', 'rename', 'remove', 'create', 'replace', 'settleFolder', 'copy'] as const;

/**
 * Does `work`, and from its n-th change of files on lets none happen any more: what is left is what a killed process
 * leaves. @returns whether it got that far
 */
export async function killedAt(n: number, work: (dying: Nas) => Promise<unknown>): Promise<boolean> {
  let count = 0;
  const alive = <T extends unknown[], R>(call: (...args: T) => Promise<R>): ((...args: T) => Promise<R>) => {
    return (...args) => (++count >= n ? Promise.reject(new Error('killed')) : call(...args));
  };
  const dying = {
    ...nas,
    ...Object.fromEntries(CHANGING.map((name) => [name, alive(nas[name] as () => Promise<void>)])),
  };
  // What is encrypted is written by this process itself.
  const all: { open: typeof fs.open } = fs;
  const { open } = all;
  all.open = alive(open);
  syncBuiltinESMExports();
  try {
    await work(dying);
  } catch (error) {
    if (count < n) throw error;
  } finally {
    all.open = open;
    syncBuiltinESMExports();
  }
  return count >= n;
}

function sha256OfBuffer(bytes: Buffer): string {
  return sha256(bytes as unknown as string);
}
