import { copySet } from '../lib/backup/copy.ts';
import { HomelabError } from '../lib/errors.ts';
import { realExec } from '../lib/ports/exec.ts';
import { nas, theSet } from './backup-copy-fixture.ts';

/** One copy in a process of its own, whose second target is a small disk: `node backup-copy-child.ts FIRST SECOND`. */
const [first = '', second = ''] = process.argv.slice(2);
try {
  const target = async () => ({ root: second, freeBytes: Number.POSITIVE_INFINITY });
  await copySet({ exec: realExec(), nas, target }, await theSet(first));
} catch (error) {
  if (!(error instanceof HomelabError)) throw error;
  console.log(`${error.message}; ${error.fix}`);
}
process.exit();
