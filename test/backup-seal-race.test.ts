import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { passingIdentity, readIdentity } from '../lib/backup/age.ts';
import { encryptInPlace, openSet } from '../lib/backup/seal.ts';
import { realExec } from '../lib/ports/exec.ts';
import { content, killedAt, nas, provenSet, SET, theSet } from './backup-copy-fixture.ts';
import { nodeArgv } from './node-argv.ts';

/** Two machines (or a machine and a pod) that encrypt the same set in place: the set outlives it. */
const test = suite('backup: two that encrypt one set');
const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
const secret = await generateX25519Identity();
const recipient = await identityToRecipient(secret);
writeFileSync(join(folder, 'key'), `${secret}\n`, { mode: 0o600 });
const identity = await readIdentity(join(folder, 'key'));
const exec = realExec();
let count = 0;
const target = (): string => {
  const root = join(folder, String(count++));
  mkdirSync(root);
  return root;
};

async function another(root: string): Promise<{ go(): Promise<string> }> {
  const [node = '', ...argv] = nodeArgv('test/backup-seal-child.ts');
  const child: ChildProcess = spawn(node, [...argv, root, recipient], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  child.stdout?.on('data', (text) => {
    said += text;
  });
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  return {
    async go() {
      const ended = once(child, 'exit');
      child.stdin?.write('\n');
      await ended;
      return said.replace('ready\n', '').trim();
    },
  };
}

/** What is there can be restored: the plain files, or what the encrypted ones hold. */
async function whole(root: string, original: Record<string, string>, when: string): Promise<void> {
  const left = await theSet(root);
  assert.is(left.state, 'proven', `${when}: ${left.problem}`);
  const plain = (bytes: Record<string, string>): Record<string, string> =>
    Object.fromEntries(Object.entries(bytes).filter(([name]) => Object.hasOwn(original, name)));
  if (left.manifest) return assert.equal(plain(content(left.folder)), original, when);
  const open = mkdtempSync(join(folder, 'open-'));
  assert.equal((await openSet(nas, left, identity, open)).problems, [], when);
  assert.equal(content(open), original, when);
}

for (const moment of ['removing manifest.json', 'writing encrypted.json', 'the end'] as const)
  test(`one that comes when the other is at ${moment}`, async () => {
    const root = target();
    const set = await provenSet(root, SET, 1000);
    const { 'verify.json': _, ...original } = content(set.folder);
    const other = await another(root);
    let said = '';
    const met: typeof nas = {
      ...nas,
      async remove(path) {
        if (moment === 'removing manifest.json' && path.endsWith('/manifest.json')) said = await other.go();
        return nas.remove(path);
      },
      async replace(path, text, by) {
        if (moment === 'writing encrypted.json' && path.endsWith('/encrypted.json')) said = await other.go();
        return nas.replace(path, text, by);
      },
    };
    await encryptInPlace(exec, met, set, [recipient], await passingIdentity([recipient])).catch(() => {});
    if (moment === 'the end') said = await other.go();
    await whole(root, original, `${moment}; the other one: ${said}`);
    if (moment !== 'the end') assert.match(said, /is being encrypted by \S+ \(process \d+\) since /);
    assert.not(readdirSync(set.folder).includes('.encrypting.tmp'));
  });

test('plain files that are left go only where the encrypted ones are still what was written', async () => {
  const root = target();
  const set = await provenSet(root, SET, 1000);
  const proof = await passingIdentity([recipient]);
  // Killed after manifest.json went, and before the dumps did.
  for (let n = 1; (await theSet(root)).manifest; n++)
    await killedAt(n, (dying) => encryptInPlace(exec, dying, set, [recipient], proof));
  const left = await theSet(root);
  assert.ok((left.leftovers ?? []).includes('clinic.dump'), String(left.leftovers));
  truncateSync(join(left.folder, '0003.age'), 10);
  const refused = await encryptInPlace(exec, nas, left, [recipient], proof).catch((error) => error);
  assert.match(refused.message, /its encrypted files are not what was written; its plain ones were kept/);
  assert.ok(readdirSync(left.folder).includes('clinic.dump'));
});

test.run();
