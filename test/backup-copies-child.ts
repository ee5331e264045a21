import type { AnyScript } from '../lib/main.ts';
import script from '../scripts/backup-postgres.ts';
import { attach, runBeats } from './backup-harness.ts';

/** A run of backup-postgres that is killed so many milliseconds into an operation: FOLDER PORT OPERATION MILLISECONDS. */
const [folder = '', port = '', name = '', wait = '0'] = process.argv.slice(2);
const run: AnyScript | undefined = script.commands.find(({ name }) => name === 'run');
if (!run) throw new Error('no run');
const dying: AnyScript = {
  ...run,
  operations: (lab, args, context) => {
    const operations = run.operations?.(lab, args, context) ?? {};
    const original = operations[name];
    if (!original) throw new Error(`no operation ${name}`);
    return {
      ...operations,
      [name]: async (given, applying) => {
        if (wait === '0') process.kill(process.pid, 'SIGKILL');
        setTimeout(() => process.kill(process.pid, 'SIGKILL'), Number(wait));
        return original(given, applying);
      },
    };
  },
};
await runBeats(attach(folder, Number(port)), dying, { ifStale: true });
