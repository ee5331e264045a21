import type { AnyScript } from '../lib/main.ts';
import script from '../scripts/backup-postgres.ts';
import { attach, runBeats } from './backup-harness.ts';

/** One run of backup-postgres in a process of its own, to be killed: `node backup-child.ts FOLDER PORT`. */
const [folder = '', port = ''] = process.argv.slice(2);
const run: AnyScript | undefined = script.commands.find(({ name }) => name === 'run');
if (!run) throw new Error('no run');
const { failures } = await runBeats(attach(folder, Number(port)), run, {});
process.exit(Object.keys(failures).length > 0 ? 1 : 0);
