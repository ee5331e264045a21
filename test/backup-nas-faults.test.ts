import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { converges, holdsAfter, lookAt, runScript, startScript } from './backup-fault-harness.ts';
import { happened, withFaultyTarget } from './faulty-target.ts';

/** What a backup does when its target hangs, goes away, or becomes another one while it runs. */
const away = suite('backup-postgres, with a target that hangs or goes away');

withFaultyTarget(away, import.meta.url, (test) => {
  for (const [what, fault, said] of [
    ['looked at', 'statfs * hang', /free space of .* hangs, for 3 s/],
    ['dumped to', 'write app.dump hang', /pg_dump[\s\S]*not within 12 s/],
    ['written to by pg_dump', 'write app.dump hang\nstatfs * hang 2', /free space of .* hangs, for 3 s/],
    ['synced', 'fsync manifest.json hang', /writing .*manifest\.json hangs, for 3 s/],
    ['published to', 'rename /sets/ hang', /renaming .* hangs, for 3 s/],
    ['read back', 'read app.dump hang', /hangs, for 3 s|not within 12 s/],
    ['proven from', 'open SHA256SUMS hang', /reading .*SHA256SUMS hangs, for 3 s/],
  ] as const)
    test(`a NAS that hangs while it is ${what}: the run ends, with what hangs; the next one converges`, async ({
      lab,
      nas,
      behind,
    }) => {
      const before = lookAt(behind);
      nas.tell(fault);
      const { ended } = startScript(lab);
      const run = await ended;
      const came = nas.happened.length > 0;
      nas.tell();
      assert.ok(came, `${fault} did not happen`);
      holdsAfter(behind, before, run);
      assert.match(run.stderr, said);
      await converges(lab, behind);
    });

  for (const [when, fault] of [
    ['in the middle of a dump', 'write app.dump hang'],
    ['before it is published', 'create manifest.json hang'],
    ['before LATEST', 'create .tmp hang 1'],
  ] as const)
    test(`a target that goes away ${when}: refused, and nothing is written to the local disk`, async ({
      lab,
      nas,
      behind,
    }) => {
      const before = lookAt(behind);
      nas.tell(fault);
      const { ended } = startScript(lab);
      await happened(nas, fault);
      nas.unmount();
      nas.tell();
      const run = await ended;
      assert.equal(readdirSync(lab.mount), [], 'the mount point is empty');
      nas.remount();
      holdsAfter(behind, before, run);
      await converges(lab, behind);
    });

  test('a target that is not mounted when the run begins', async ({ lab, nas, behind }) => {
    const before = lookAt(behind);
    nas.unmount();
    const run = await runScript(lab);
    assert.equal(readdirSync(lab.mount), []);
    nas.remount();
    holdsAfter(behind, before, run);
    assert.match(run.stderr, /is empty, but this lab's backups were there/);
  });

  test('another target’s sentinel that comes between dump and publication', async ({ lab, nas, behind }) => {
    const before = lookAt(behind);
    const sentinel = join(behind.root, '.target.json');
    const fault = 'write app.dump hang';
    nas.tell(fault);
    const { ended } = startScript(lab);
    await happened(nas, fault);
    const text = readFileSync(sentinel, 'utf8');
    writeFileSync(sentinel, JSON.stringify({ id: 'another', lab: 'homelab', created: '' }));
    nas.tell();
    const run = await ended;
    writeFileSync(sentinel, text);
    holdsAfter(behind, before, run);
    assert.match(run.stderr, /has the id another/);
    await converges(lab, behind);
  });
});

away.run();
