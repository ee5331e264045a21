import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HomelabError } from '../lib/errors.ts';
import type { SeenBackup } from '../lib/observe/backup.ts';
import {
  anotherServer,
  type BackupLab,
  backupLab,
  commandOf,
  initdbOnce,
  postgresHere,
  type Ran,
  runBeats,
} from './backup-harness.ts';

/** A server that was made anew, and is empty, is backed up every night: what the old one's backups become. */
const real = suite('backup-postgres, a server made anew');
/** Sixty where there is time; the rotation would reach the old lineage in the third. */
const NIGHTS = process.env.CI ? 60 : 6;
const DAY = 86_400_000;

/** A run that many days from now. */
const night = (lab: BackupLab, days: number): Promise<Ran<SeenBackup>> => {
  const clock = { ...lab.ports.clock, now: () => new Date(Date.now() + days * DAY) };
  return runBeats({ ...lab, ports: { ...lab.ports, clock } }, commandOf('run'), {});
};

/** Every file below a folder, with a hash of its content, its mode and its time. */
function fingerprint(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      const { mode, mtimeMs } = statSync(path);
      return [path, `${createHash('sha256').update(readFileSync(path)).digest('hex')} ${mode} ${mtimeMs}`];
    }),
  );
}

if (await postgresHere()) {
  const old = await backupLab();
  const anew = await anotherServer(old);
  old.ports.exec = anew.ports.exec = initdbOnce(old.folder);
  real.after(async () => {
    await anew.close();
    await old.close();
  });

  real(`its lineage is byte-identical after ${NIGHTS} nights, and only the first of them is an alarm`, async () => {
    await old.pg.seed(['app']);
    for (const days of [-2, -1]) assert.equal((await night(old, days)).failures, {});
    const main = join(old.root, 'main');
    const [lineage = ''] = readdirSync(main);
    const before = fingerprint(join(main, lineage));
    assert.ok(Object.keys(before).length >= 9);

    const failures = [];
    for (let i = 0; i < NIGHTS; i++) failures.push((await night(anew, i)).failures);
    assert.equal(Object.keys(failures[0] ?? {}), ['main/compare']);
    const alarm = failures[0]?.['main/compare'];
    assert.instance(alarm, HomelabError);
    assert.match((alarm as HomelabError).message, /system identifier is new .*made anew, or it is another server/);
    assert.equal(
      failures.slice(1),
      Array.from({ length: NIGHTS - 1 }, () => ({})),
    );

    assert.equal(fingerprint(join(main, lineage)), before);
    const [other = ''] = readdirSync(main).filter((name) => name !== lineage);
    assert.is(readdirSync(join(main, other, 'sets')).length, 2, 'its own sets are pruned as the policy says');

    const { plan } = await night(anew, NIGHTS);
    assert.match(plan.notes[0]?.text ?? '', new RegExp(`has [1-9]\\d* rows in .* --of ${lineage} restores it`));
    writeFileSync(join(main, lineage, 'RETIRED'), '');
    assert.equal((await night(anew, NIGHTS + 1)).plan.notes, []);
  });
}
real.run();
