import type { Operation } from '../lib/apply.ts';
import type { AnyScript } from '../lib/main.ts';
import script from '../scripts/backup-postgres.ts';
import { attach, runBeats } from './backup-harness.ts';

/**
 * One run of backup-postgres in a process of its own, to be killed: `node backup-child.ts FOLDER PORT`, or with the moment
 * at which it kills itself: `… before publish`, `… after publish`.
 */
const [folder = '', port = '', when, step] = process.argv.slice(2);
const run: AnyScript | undefined = script.commands.find(({ name }) => name === 'run');
if (!run) throw new Error('no run');
const die = (): void => process.kill(process.pid, 'SIGKILL') && undefined;
const deadly: AnyScript = {
  ...run,
  operations: (lab, args, context) =>
    Object.fromEntries(
      Object.entries(run.operations?.(lab, args, context) ?? {}).map(([name, operation]): [string, Operation] => [
        name,
        async (...given) => {
          if (when === 'before' && name === step) die();
          const output = await operation(...given);
          if (when === 'after' && name === step) die();
          return output;
        },
      ]),
    ),
};
const { failures } = await runBeats(attach(folder, Number(port)), deadly, {});
process.exit(Object.keys(failures).length > 0 ? 1 : 0);
