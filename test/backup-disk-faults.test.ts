import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { converges, lineageOf, nothingHalfDone, runScript } from './backup-fault-harness.ts';
import { failsWith, withFaultyTarget } from './faulty-target.ts';

/**
 * What a backup does on a target that is full, whose fsync and close report errors, that is read-only or stale, and where
 * the answer of a rename is lost.
 */
const disk = suite('backup-postgres, with faults of the disk behind the target');

withFaultyTarget(disk, import.meta.url, (test) => {
  for (const [what, fault, said] of [
    ['full in the middle of a dump', 'write app.dump full:4096', /the target is full/],
    ['full at the roles', 'write globals.sql full:0', /globals\.sql is cut short[\s\S]*may be full|No space left/],
    ['full at the manifest', 'write manifest.json full:0', /manifest\.json: ENOSPC[\s\S]*the target is full/],
    ['full at the sums', 'write SHA256SUMS full:0', /SHA256SUMS: ENOSPC/],
    ['full at the proof’s report', 'write .tmp full:0', /verify\.json: ENOSPC/],
    ['full at LATEST', 'write .tmp 28 1', /LATEST: ENOSPC/],
    ['an fsync of the dump that fails', 'fsync app.dump 5', /Input\/output error|app\.dump: EIO/],
    ['our own fsync of the dump that fails', 'fsync app.dump 5 1', /app\.dump: EIO[\s\S]*its disks/],
    ['an fsync of the manifest that fails', 'fsync manifest.json 5', /manifest\.json: EIO/],
    ['a quota that close() tells of, of the dump', 'close app.dump 122', /quota/i],
    ['a quota that close() tells of, of the manifest', 'close manifest.json 122', /manifest\.json: EDQUOT[\s\S]*quota/],
    ['a read-only target', 'mkdir * 30', /EROFS[\s\S]*read-only/],
    ['a stale handle', 'rename /sets/ 116', /ESTALE[\s\S]*umount and mount/],
    ['a rename that was not done', 'rename /sets/ 5', /EIO/],
  ] as const)
    test(`${what}: said, nothing half-done; the next run converges`, async (target) => {
      await failsWith(target, fault, said);
      await converges(target.lab, target.behind);
    });

  test('half a dump does not keep a full target full', async (target) => {
    await failsWith(target, 'write app.dump full:4096', /the target is full/);
    assert.equal(readdirSync(join(lineageOf(target.behind), '.incoming')), []);
    await converges(target.lab, target.behind);
  });

  test('a rename whose answer was lost is looked at again: the set is published, proven, and LATEST is it', async ({
    lab,
    nas,
    behind,
  }) => {
    for (const path of ['/sets/', 'verify.json', 'LATEST']) {
      nas.tell(`rename ${path} after:5`);
      const run = await runScript(lab);
      const { happened } = nas;
      nas.tell();
      assert.ok(happened.length > 0, path);
      assert.is(run.code, 0, `${path}: ${run.stderr}`);
      nothingHalfDone(behind);
    }
  });
});

disk.run();
