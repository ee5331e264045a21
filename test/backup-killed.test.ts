import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AnyScript } from '../lib/main.ts';
import type { Plan } from '../lib/step.ts';
import script from '../scripts/backup-postgres.ts';
import { converges, lineageOf, lookAt, nothingHalfDone, runScript, setsOf } from './backup-fault-harness.ts';
import { backupLab, postgresHere, type StartedLab } from './backup-harness.ts';
import { nodeArgv } from './node-argv.ts';

/** SIGKILL of our own process at every boundary of a step: those that the plan has, so that none is forgotten. */
const killed = suite('backup-postgres, killed between its steps');
const lab: StartedLab | undefined = (await postgresHere())
  ? await backupLab({}, (backup) => {
      backup.keep = { last: 2, daily: 0, weekly: 0, monthly: 0 };
      const [server = {}] = backup.postgresql;
      server.include = ['app'];
    })
  : undefined;
killed.after(() => lab?.close());

if (lab) {
  await lab.pg.seed(['app']);
  for (const { when, step } of boundaries(await planOf(lab)))
    killed(`${when} ${step}: whole sets only, LATEST is proven, and the next run converges`, async () => {
      if (step === 'mark') rmSync(lab.mount, { recursive: true });
      if (step === 'mark') rmSync(join(lab.folder, '.state'), { recursive: true, force: true });
      mkdirSync(lab.mount, { recursive: true });
      if (step !== 'mark') await killedRun(lab, when, step);
      else {
        await kill(lab, when, step);
        const run = await runScript(lab);
        assert.is(run.code, 0, run.stderr);
      }
      await converges(lab);
      const sets = join(lineageOf(lab), 'sets');
      const proven = setsOf(lab).filter((name) => existsSync(join(sets, name, 'verify.json')));
      assert.is(proven.length, 2, 'two are kept, and what was never proven');
    });
}

async function killedRun(one: StartedLab, when: string, step: string): Promise<void> {
  const before = lookAt(one);
  await kill(one, when, step);
  nothingHalfDone(one);
  const kept = setsOf(one);
  for (const file of Object.keys(before.files)) {
    const [set = ''] = file.split('/');
    assert.ok(kept.includes(set) || (step === 'prune' && when === 'after'), `${set} is still there`);
  }
}

async function kill({ folder, pg }: StartedLab, when: string, step: string): Promise<void> {
  const [node = '', ...argv] = nodeArgv('test/backup-child.ts');
  const child = spawn(node, [...argv, folder, String(pg.port), when, step], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [, signal] = await once(child, 'exit');
  assert.is(signal, 'SIGKILL', `it did not come to ${when} ${step}`);
}

/** The plan of a first run, which has every step. */
async function planOf(one: StartedLab): Promise<Plan> {
  const { commands } = script;
  const run: AnyScript | undefined = commands.find(({ name }) => name === 'run');
  if (!run) throw new Error('no run');
  return run.plan(one.lab, await run.observe(one.lab, one.ports, {}, one.context), {});
}

function boundaries({ steps }: Plan): { when: 'before' | 'after'; step: string }[] {
  const names = steps.map(({ action }) => (action.kind === 'operation' ? action.name : ''));
  assert.ok(names.length >= 6 && names.every(Boolean), names.join());
  return names.flatMap((step) => (['before', 'after'] as const).map((when) => ({ when, step })));
}

killed.run();
