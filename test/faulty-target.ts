import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type Before, holdsAfter, lookAt, runScript } from './backup-fault-harness.ts';
import { backupLab, postgresHere, type StartedLab } from './backup-harness.ts';
import { FaultyFs, missingForFaults } from './faulty-fs.ts';
import { ownTmp, withNamespaces } from './namespaces/enter.ts';

/** A lab whose target is a file system that fails as it is told, with two proven sets. */
export type FaultyTarget = {
  lab: StartedLab;
  nas: FaultyFs;
  /** The target as it lies on the NAS, whatever the mount shows. */
  behind: { root: string };
};

type Suite = Parameters<typeof withNamespaces>[0] & {
  before: (work: () => Promise<void>) => unknown;
  after: (work: () => Promise<void>) => unknown;
};

/** Declares tests with such a lab; in namespaces of their own, or skipped where they are not to be had. */
export function withFaultyTarget(
  suite: Suite,
  url: string,
  declare: (test: (name: string, body: (target: FaultyTarget) => Promise<void>) => void) => void,
): void {
  const start = (): void => {
    let target: FaultyTarget | undefined;
    suite.before(async () => {
      if (await postgresHere()) target = await startTarget();
    });
    suite.after(async () => {
      target?.nas.tell();
      target?.nas.unmount();
      await target?.lab.close();
    });
    declare((name, body) =>
      suite(name, async () => {
        if (target) await body(target);
      }),
    );
  };
  withNamespaces(suite, url, start, missingForFaults);
}

async function startTarget(): Promise<FaultyTarget> {
  ownTmp();
  const lab = await backupLab({}, (backup) => {
    backup.keep = { last: 3, daily: 0, weekly: 0, monthly: 0 };
    backup.deadlines = { nas_seconds: 3, program_seconds: 12 };
    const [server = {}] = backup.postgresql;
    server.include = ['app'];
  });
  await lab.pg.seed(['app']);
  const nas = new FaultyFs(join(lab.folder, 'nas-disk'), lab.mount);
  for (let i = 0; i < 2; i++) {
    const run = await runScript(lab);
    assert.is(run.code, 0, run.stderr);
  }
  return { lab, nas, behind: { root: join(nas.behind, 'postgresql') } };
}

/** A run with a fault fails, safely; and the fault did happen. */
export async function failsWith({ lab, nas, behind }: FaultyTarget, fault: string, said: RegExp): Promise<void> {
  const before: Before = lookAt(behind);
  nas.tell(fault);
  const run = await runScript(lab);
  const { happened } = nas;
  nas.tell();
  assert.ok(happened.length > 0, `${fault} did not happen`);
  holdsAfter(behind, before, run);
  assert.match(run.stderr, said, fault);
}

/** Waits until what was told has happened. */
export async function happened(nas: FaultyFs, fault: string): Promise<void> {
  for (let i = 0; nas.happened.length === 0; i++) {
    assert.ok(i < 1200, `${fault} did not happen`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
