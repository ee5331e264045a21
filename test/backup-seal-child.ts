import { passingIdentity } from '../lib/backup/age.ts';
import { nasOf } from '../lib/backup/nas.ts';
import { encryptInPlace } from '../lib/backup/seal.ts';
import { realExec } from '../lib/ports/exec.ts';
import { realFiles } from '../lib/ports/files.ts';
import { theSet } from './backup-copy-fixture.ts';

/** Encrypts the set on a target, as another machine would: it has read it before it is told, on stdin, to begin. */
const [root = '', recipient = ''] = process.argv.slice(2);
const set = await theSet(root);
process.stdout.write('ready\n');
await new Promise((begin) => process.stdin.once('data', begin));
try {
  await encryptInPlace(realExec(), nasOf(realFiles(), 60), set, [recipient], await passingIdentity([recipient]));
  process.stdout.write('done\n');
} catch (error) {
  process.stdout.write(`${error instanceof Error ? error.message : error}\n`);
}
process.exit();
