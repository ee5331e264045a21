import { onInterrupt } from '../lib/interrupt.ts';
import { Secrets } from '../lib/secret.ts';
import { Talk } from '../lib/talk.ts';
import script from '../scripts/restore-postgres.ts';
import { attach, runBeats } from './backup-harness.ts';

/** One restore in place of `app` in a process of its own, to be killed: `node restore-child.ts FOLDER PORT`. */
const [folder = '', port = ''] = process.argv.slice(2);
const lab = attach(folder, Number(port));
const endings: (() => Promise<void>)[] = [];
const context = {
  ...lab.context,
  say: (text: string) => void process.stderr.write(`${text}\n`),
  atEnd: (work: () => Promise<void>) => void endings.unshift(work),
};
onInterrupt(new AbortController(), new Talk(new Secrets(), { verbose: false }), {
  end: async () => {
    for (const work of endings) await work();
  },
  tell: async () => {},
  last: () => {},
});
const { failures } = await runBeats({ ...lab, context }, script, { server: 'main', database: ['app'], swap: true });
process.exit(Object.keys(failures).length > 0 ? 1 : 0);
