import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { converges, nothingHalfDone, runScript, seeded, setsOf, startScript } from './backup-fault-harness.ts';
import { withFaultyTarget } from './faulty-target.ts';

/** SIGKILL of our own process while it changes the target, at any of its calls. */
const killed = suite('backup-postgres, killed in the middle of its steps');

withFaultyTarget(killed, import.meta.url, (test) => {
  test('killed at 20 of its calls to the target, by chance: whole sets only, and each next run goes on from there', async ({
    lab,
    nas,
    behind,
  }) => {
    nas.count();
    assert.is((await runScript(lab)).code, 0);
    const { changes } = nas;
    const random = seeded(`${changes} calls that change the target; killed at`);
    for (let i = 0; i < 20; i++) {
      const sets = setsOf(behind);
      const at = Math.floor(random() * changes);
      nas.tell(`change * kill ${at}`);
      const { code, stderr } = await startScript(lab).ended;
      const [happened] = nas.happened;
      nas.tell();
      assert.is(code, null, `killed at call ${at}: ${stderr}`);
      nothingHalfDone(behind);
      assert.ok(setsOf(behind).length >= Math.min(3, sets.length), `${happened}: three are kept`);
    }
    await converges(lab, behind);
  });

  test('killed while it makes a new target: the next run makes it', async ({ lab, nas, behind }) => {
    const memory = join(lab.folder, '.state/homelab/backup-target.json');
    for (const fault of ['mkdir /postgresql kill', 'rename .target.json kill', 'fsync .tmp kill']) {
      rmSync(behind.root, { recursive: true });
      rmSync(memory, { force: true });
      nas.tell(fault);
      assert.is((await startScript(lab).ended).code, null);
      nas.tell();
      const run = await runScript(lab);
      assert.is(run.code, 0, `${fault}: ${run.stderr}`);
    }
  });
});

killed.run();
