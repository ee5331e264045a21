import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Manifest, manifestText, reportText } from '../lib/backup/manifest.ts';
import { setName } from '../lib/backup/names.ts';
import { sha256, summaryOf } from '../lib/backup/sets.ts';

const DATABASES = 5;
const TABLES = 20;

/** A proven set without its dumps, `i` hours before 2026, of the server main and the lineage 7. @returns its name */
export function makeSet(folder: string, i: number): string {
  const time = new Date(Date.UTC(2026, 0, 1) - i * 3_600_000);
  const run = i.toString(16).padStart(8, '0');
  const name = setName(time, run);
  const hash = sha256(name);
  const content = { rows: i, hash: '-123456789012345678' };
  const tables = Object.fromEntries(Array.from({ length: TABLES }, (_, t) => [`"public"."table_${t}"`, content]));
  const database = (d: number): Manifest['databases'][string] => ({
    ...{ file: `app_${d}.dump`, bytes: 1, sha256: hash, owner: 'app', encoding: 'UTF8', collate: 'C', ctype: 'C' },
    ...{ provider: 'c', locale: null, settings: [], extensions: { plpgsql: '1.0' }, tables },
    ...{ large_objects: { rows: 0, hash: '0' }, objects: { indexes: 20, sequences: 20 }, grants: content },
    sequences: Object.fromEntries(Object.keys(tables).map((table) => [`${table}_id`, { from: '1', to: '2' }])),
  });
  const manifest: Manifest = {
    ...{ format: 1, run, lab: 'homelab', server: 'main', system_identifier: '7' },
    ...{ started: time.toISOString(), finished: time.toISOString(), versions: { server: '15.1', client: '15.1' } },
    ...{ bootstrap_role: 'postgres', roles: ['app'], discovered: [], excluded: [], previous: null },
    databases: Object.fromEntries(Array.from({ length: DATABASES }, (_, d) => [`app_${d}`, database(d)])),
    globals: { file: 'globals.sql', bytes: 1, sha256: hash },
  };
  const text = manifestText(manifest);
  const report = reportText(
    {
      ...{ format: 1, set: name, ok: true, checked: time.toISOString(), seconds: 3, server_version: '15.1' },
      ...{ manifest_sha256: sha256(text), databases: DATABASES, tables: DATABASES * TABLES, rows: i },
      ...{
        problems: [],
        differences: [],
        of: summaryOf(manifest),
        not_compared: ['planner statistics, replication slots'],
      },
    },
    sha256,
  );
  const own = join(folder, name);
  mkdirSync(own);
  writeFileSync(join(own, 'manifest.json'), text);
  writeFileSync(join(own, 'verify.json'), report);
  return name;
}
