import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HomelabError } from '../lib/errors.ts';
import type { Family, Script } from '../lib/main.ts';
import backup from '../scripts/backup-postgres.ts';
import { backupLab, postgresHere, runBeats, type StartedLab } from './backup-harness.ts';

/** A proof is of what the target has, and not of what this machine remembers of writing it. */
const real = suite('backup-postgres: a target that keeps something else');
const one: StartedLab | undefined = (await postgresHere()) ? await backupLab() : undefined;
real.after(() => one?.close());

if (one)
  real('a dump that lies there otherwise than it was written is not proven', async () => {
    const { exec } = one.ports;
    // dd makes the kernel forget a file: from then on what the target has is what is read.
    one.ports.exec = {
      ...exec,
      async run(argv, options) {
        const file = argv.find((word) => /^if=.*\/sets\/.*\.dump$/.test(word))?.slice(3);
        if (file)
          writeFileSync(
            file,
            readFileSync(file).map((byte, i) => (i === 1000 ? byte ^ 1 : byte)),
          );
        return exec.run(argv, options);
      },
    };
    const family: Family = backup;
    const { failures } = await runBeats(one, family.commands[0] as Script<unknown>, {});
    assert.equal(Object.keys(failures), ['main/prove']);
    const error = failures['main/prove'];
    assert.match(error instanceof HomelabError ? String(error.output) : '', /^postgres\.dump: its SHA-256 is not/);
    const [lineage = ''] = readdirSync(join(one.root, 'main'));
    assert.not(readdirSync(join(one.root, 'main', lineage)).includes('LATEST'));
  });

real.run();
