import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateHybridIdentity, generateX25519Identity, identityToRecipient } from 'age-encryption';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  decryptFile,
  decryptText,
  encryptFile,
  type Identity,
  passingIdentity,
  readIdentity,
} from '../lib/backup/age.ts';
import { type CopyContext, copySet } from '../lib/backup/copy.ts';
import { discreet, encryptedText, parseEncrypted } from '../lib/backup/encrypted.ts';
import { damagedCiphers, encryptInPlace, openSet } from '../lib/backup/seal.ts';
import { type BackupSet, sha256 } from '../lib/backup/sets.ts';
import { HomelabError, UsageError } from '../lib/errors.ts';
import { realExec } from '../lib/ports/exec.ts';
import { content, killedAt, LINEAGE, nas, provenSet, SET, theSet } from './backup-copy-fixture.ts';

/** Copies and encryption, file by file, without a PostgreSQL server. */
const test = suite('backup: copies');
const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const exec = realExec();
const secret = await generateX25519Identity();
const recipient = await identityToRecipient(secret);
let count = 0;
const place = (): { first: string; second: string } => {
  const base = join(folder, String(count++));
  for (const name of ['first', 'second']) mkdirSync(join(base, name), { recursive: true });
  return { first: join(base, 'first'), second: join(base, 'second') };
};
const to = (root: string, more: Partial<CopyContext> = {}): CopyContext => ({
  ...{ exec, nas, target: async () => ({ root, freeBytes: Number.POSITIVE_INFINITY }) },
  ...more,
});
const keyFile = (text: string, mode = 0o600): string => {
  const file = join(folder, `key-${count++}`);
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
};
const own = (): Promise<Identity> => readIdentity(keyFile(`# created\n${secret}\n`));
const setFolder = (root: string): string => join(root, 'main', LINEAGE, 'sets', SET);
const failure = async (work: () => Promise<unknown>): Promise<HomelabError> => {
  try {
    await work();
  } catch (error) {
    if (error instanceof HomelabError) return error;
    throw error;
  }
  throw new Error('it did not fail');
};
/** The files of a set, verify.json aside. */
const withoutProof = (all: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(all).filter(([name]) => !name.endsWith('verify.json')));

test('a copy has the same bytes and no proof; the first target is not touched', async () => {
  const { first, second } = place();
  const set = await provenSet(first);
  writeFileSync(join(set.folder, 'PINNED'), '');
  const before = content(first);
  await copySet(to(second), { ...set, pinned: true });
  assert.equal(content(first), before);
  assert.equal(content(setFolder(second)), withoutProof(content(setFolder(first))));
  assert.is((await theSet(second)).state, 'unproven');
});

test('an encrypted copy holds no name, and opens to what it was', async () => {
  const { first, second } = place();
  const set = await provenSet(first);
  const copy = await copySet(to(second, { recipients: [recipient] }), set);
  const names = readdirSync(setFolder(second)).sort();
  assert.equal(names, ['0001.age', '0002.age', '0003.age', '0004.age', '0005.age', 'encrypted.json']);
  for (const name of names)
    assert.not.match(readFileSync(join(setFolder(second), name), 'latin1'), /clinic|patients|CREATE|postgres/, name);
  const copied = await theSet(second);
  assert.equal(copied.encrypted?.recipients, [recipient]);
  for (const [who, identity] of [
    ['its owner', await own()],
    ['the run that wrote it', copy?.proof],
  ] as const) {
    const open = mkdtempSync(join(folder, 'open-'));
    assert.ok(identity);
    const { problems } = await openSet(nas, copied, identity, open);
    assert.equal(problems, [], who);
    assert.equal(content(open), withoutProof(content(setFolder(first))), who);
  }
});

const programs = spawnSync('age', ['--version']).status === 0;
if (!programs && (process.env.HOMELAB_REQUIRE ?? '').split(',').includes('age')) throw new Error('age is missing');
if (!programs) console.log('skipped: the program age is not on this machine');
for (const bytes of [0, 1, 65_536, 65_537, 1_000_000])
  (programs ? test : test.skip)(
    `the program age reads what is written here, and the reverse: ${bytes} bytes`,
    async () => {
      const [plain, here, there] = ['plain', 'here', 'there'].map((name) => join(folder, `${name}-${bytes}`));
      writeFileSync(plain!, Buffer.alloc(bytes, 'x'));
      const done = await encryptFile(plain!, here!, [recipient]);
      assert.is(done.plain.bytes, bytes);
      const key = keyFile(`${secret}\n`);
      assert.equal(execFileSync('age', ['--decrypt', '-i', key, here!]), readFileSync(plain!));
      execFileSync('age', ['-r', recipient, '-o', there!, plain!]);
      assert.equal(await decryptFile(there!, undefined, await own()), done.plain);
    },
  );

test('post-quantum recipients are encrypted to without a weaker key beside them', async () => {
  const strong = await identityToRecipient(await generateHybridIdentity());
  assert.match((await passingIdentity([strong])).recipient, /^age1pq1/);
  assert.not.match((await passingIdentity([recipient])).recipient, /^age1pq1/);
});

test('killed before any change of files: the first stays, no half copy is published, the next run makes it', async () => {
  for (const recipients of [undefined, [recipient]]) {
    let reached = true;
    for (let n = 1; reached; n++) {
      const { first, second } = place();
      const set = await provenSet(first, SET, 1000);
      const before = content(first);
      reached = await killedAt(n, (dying) => copySet(to(second, { recipients, nas: dying }), set));
      assert.equal(content(first), before, `change ${n}`);
      const sets = join(second, 'main', LINEAGE, 'sets');
      const published = existsSync(sets) ? readdirSync(sets) : [];
      if (published.length > 0) assert.ok(['unproven'].includes((await theSet(second)).state), `change ${n}`);
      await copySet(to(second, { recipients }), set);
      assert.equal(readdirSync(join(second, 'main', LINEAGE, '.incoming')), [], `change ${n}`);
      const copied = await theSet(second);
      assert.equal(await damagedCiphers(exec, nas, copied), []);
      assert.equal(copied.encrypted !== undefined, recipients !== undefined);
      rmSync(join(first, '..'), { recursive: true });
      if (!reached) assert.ok(n > 12, `${n} changes were tried`);
    }
  }
});

test('killed before any change while a set is encrypted where it lies: it is proven at every moment', async () => {
  const identity = await own();
  let reached = true;
  for (let n = 1; reached; n++) {
    const { first } = place();
    const plain = await provenSet(first, SET, 1000);
    const original = withoutProof(content(plain.folder));
    const encrypt = async (set: BackupSet, by = nas) =>
      encryptInPlace(exec, by, set, [recipient], await passingIdentity([recipient]));
    reached = await killedAt(n, (dying) => encrypt(plain, dying));
    const left = await theSet(first);
    assert.is(left.state, 'proven', `change ${n}: ${left.problem}`);
    if (left.manifest) {
      for (const [name, bytes] of Object.entries(original))
        assert.is(content(left.folder)[name], bytes, `${n}: ${name}`);
    } else
      assert.equal(
        (await openSet(nas, left, identity, mkdtempSync(join(folder, 'open-')))).problems,
        [],
        `change ${n}`,
      );
    await encrypt(left);
    const done = await theSet(first);
    assert.is(done.state, 'proven');
    assert.equal(done.leftovers, []);
    assert.equal(
      readdirSync(done.folder)
        .filter((name) => !/\.age$/.test(name))
        .sort(),
      ['encrypted.json', 'verify.json'],
    );
    assert.not.match(readFileSync(join(done.folder, 'verify.json'), 'utf8'), /clinic/);
    const open = mkdtempSync(join(folder, 'open-'));
    await openSet(nas, done, identity, open);
    assert.equal(content(open), original);
    rmSync(join(first, '..'), { recursive: true });
    if (!reached) assert.ok(n > 15, `${n} changes were tried`);
  }
});

test('a target that fills up while a set is encrypted there is not left full', async () => {
  const { first } = place();
  const set = await provenSet(first);
  const before = content(first);
  const full: CopyContext['exec'] = {
    ...exec,
    run: async () => Promise.reject(Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' })),
  };
  const proof = await passingIdentity([recipient]);
  const error = await failure(() => encryptInPlace(full, nas, set, [recipient], proof));
  assert.match(`${error.message}; ${error.fix}`, /^encrypting \S+: ENOSPC.*; see whether the NAS answers and has room/);
  assert.equal(content(first), before);
});

test('a set that is not any more what was proven is not copied', async () => {
  for (const recipients of [undefined, [recipient]]) {
    const { first, second } = place();
    const set = await provenSet(first);
    const file = join(set.folder, 'clinic.dump');
    const bytes = readFileSync(file);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    const error = await failure(() => copySet(to(second, { recipients }), set));
    assert.match(error.message, /clinic\.dump is not what was proven; it was left as it is/);
    assert.match(error.fix ?? '', new RegExp(`backup-postgres verify ${SET}`));
    assert.equal(readdirSync(join(second, 'main', LINEAGE, 'sets')), []);
    assert.equal(readdirSync(join(second, 'main', LINEAGE, '.incoming')), []);
  }
});

test('a disk that does not give back what was written is found before anything is published', async () => {
  for (const recipients of [undefined, [recipient]]) {
    const { first, second } = place();
    const set = await provenSet(first);
    // Between the writing and the reading stands dd, which makes the kernel forget the file.
    const flipping: CopyContext['exec'] = {
      ...exec,
      run: async (argv) => {
        const file = argv.find((one) => one.startsWith('if='))?.slice(3) ?? '';
        if (file && readFileSync(file).length > 100_000)
          writeFileSync(file, readFileSync(file).fill(0, 70_000, 70_001));
        return { code: 0, stdout: '', stderr: '' };
      },
    };
    const error = await failure(() => copySet({ ...to(second, { recipients }), exec: flipping }, set));
    assert.match(error.message, /what was read back is not what was written/);
    assert.equal(readdirSync(join(second, 'main', LINEAGE, 'sets')), []);
  }
});

test('a copy that is not proven is replaced; a proven one stays', async () => {
  const { first, second } = place();
  const set = await provenSet(first);
  await copySet(to(second), set);
  writeFileSync(join(setFolder(second), 'clinic.dump'), 'rotten');
  await copySet(to(second), set);
  assert.equal(content(setFolder(second)), withoutProof(content(setFolder(first))));
  writeFileSync(join(setFolder(second), 'verify.json'), readFileSync(join(setFolder(first), 'verify.json')));
  writeFileSync(join(setFolder(second), 'note'), 'still here');
  await copySet(to(second), set);
  assert.ok(existsSync(join(setFolder(second), 'note')));
});

test('a set that retention takes away meanwhile is no failure', async () => {
  const { first, second } = place();
  const set = await provenSet(first);
  renameSync(set.folder, join(first, 'gone'));
  assert.is(await copySet(to(second), set), undefined);
  assert.equal(readdirSync(join(second, 'main', LINEAGE, '.incoming')), []);
});

test('a first target that goes away meanwhile is one', async () => {
  const { first, second } = place();
  const set = await provenSet(first);
  renameSync(join(first, 'main'), join(first, 'unmounted'));
  assert.match((await failure(() => copySet(to(second), set))).message, /ENOENT/);
  const proof = await passingIdentity([recipient]);
  assert.match((await failure(() => encryptInPlace(exec, nas, set, [recipient], proof))).message, /^encrypting /);
});

test('a second target that goes away while it is copied to is named', async () => {
  const { first, second } = place();
  const set = await provenSet(first);
  const before = content(first);
  let looks = 0;
  const target = async () => {
    if (++looks > 1) throw new HomelabError('/mnt/usb is no mount point', { fix: 'attach the disk' });
    return { root: second, freeBytes: 1e9 };
  };
  const error = await failure(() => copySet({ ...to(second), target }, set));
  assert.match(error.message, /the second target went away while \S+ was copied: \/mnt\/usb is no mount point/);
  assert.is(error.fix, 'attach the disk');
  assert.equal(content(first), before);
});

test('too little room is told before anything is copied', async () => {
  const { first, second } = place();
  const set = await provenSet(first);
  const target = async () => ({ root: second, freeBytes: 1000 });
  assert.match(
    (await failure(() => copySet({ ...to(second), target }, set))).message,
    /second: 0\.0 MiB free; \S+ needs 0\.2 MiB once more/,
  );
  assert.equal(content(second), {}, 'no file is there');
});

const namespaces = spawnSync('unshare', ['-rm', 'true']).status === 0;
(namespaces ? test : test.skip)('a disk that is full: named, nothing half-done, nothing left on it', async () => {
  const { first, second } = place();
  await provenSet(first, SET, 3_000_000);
  const before = content(first);
  const child = fileURLToPath(new URL('./backup-copy-child.ts', import.meta.url));
  const script = 'mount -t tmpfs -o size=1m tmpfs "$1" && "$2" --import tsx "$3" "$0" "$1"; find "$1" -type f';
  const said = execFileSync('unshare', ['-rm', 'sh', '-c', script, first, second, process.execPath, child], {
    encoding: 'utf8',
  });
  assert.match(said, /^copying \S+: the second target is full \(.*ENOSPC.*make room there.*\n$/);
  assert.equal(content(first), before);
});

test('what is wrong with an identity file is said, and never its content', async () => {
  const [kept, text] = [`${secret}\n`, 'AGE-SECRET-KEY-1DAMAGED'];
  for (const [file, message] of [
    [join(folder, 'nope'), /--identity .*nope: there is no such file/],
    [keyFile(kept, 0o644), /can be read by others \(mode 0644\)/],
    [keyFile('# only a comment\n'), /holds no secret key of age/],
    [keyFile(`${text}\n`), /a secret key in it is damaged/],
    [keyFile('age-encryption.org/v1\n-> scrypt'), /it is itself encrypted/],
    [keyFile('-----BEGIN AGE ENCRYPTED FILE-----\n'), /it is itself encrypted/],
  ] as const) {
    const error = await failure(() => readIdentity(file));
    assert.instance(error, UsageError);
    assert.match(error.message, message);
    assert.ok(error.fix);
    assert.not.match(`${error.message} ${error.fix}`, /SECRET-KEY-1/);
  }
});

test('a wrong identity, a flipped byte, a file that is cut: each is told apart', async () => {
  const { first, second } = place();
  await copySet(to(second, { recipients: [recipient] }), await provenSet(first));
  const set = await theSet(second);
  const stranger = await readIdentity(keyFile(await generateX25519Identity()));
  const wrong = await failure(() => openSet(nas, set, stranger, mkdtempSync(join(folder, 'open-'))));
  assert.match(wrong.message, /0001\.age is not encrypted to age1/);
  assert.match(wrong.fix ?? '', /public key backup-postgres list shows/);

  const file = join(set.folder, '0003.age');
  const bytes = readFileSync(file);
  const identity = await own();
  for (const [what, damaged] of [
    ['flipped', Buffer.from(bytes).fill((bytes[150_000] ?? 0) ^ 1, 150_000, 150_001)],
    ['cut at a chunk', bytes.subarray(0, bytes.length - 10_000)],
    ['emptied', Buffer.alloc(0)],
  ] as const) {
    writeFileSync(file, damaged);
    assert.equal(await damagedCiphers(exec, nas, set), ['0003.age: its SHA-256 is another'], what);
    const { problems } = await openSet(nas, set, identity, mkdtempSync(join(folder, 'open-')));
    assert.match(problems.join(), /^[^,]*0003\.age cannot be decrypted: /, what);
  }
  rmSync(file);
  assert.equal(await damagedCiphers(exec, nas, set), ['0003.age: it is missing']);
});

test('whoever encrypts to the public key writes nothing outside of the folder', async () => {
  const { first, second } = place();
  const plain = await provenSet(first);
  const text = readFileSync(join(plain.folder, 'manifest.json'), 'utf8').replaceAll('clinic.dump', '../../evil');
  const manifest = join(folder, 'manifest.json');
  writeFileSync(manifest, text);
  await copySet(to(second, { recipients: [recipient] }), plain);
  const set = await theSet(second);
  rmSync(join(set.folder, '0001.age'));
  await encryptFile(manifest, join(set.folder, '0001.age'), [recipient]);
  const forged = { ...set, encrypted: set.encrypted && { ...set.encrypted, manifest_sha256: sha256(text) } };
  const open = mkdtempSync(join(folder, 'open-'));
  assert.match(
    (await failure(async () => openSet(nas, forged, await own(), open))).message,
    /"\.\.\/\.\.\/evil" is no file/,
  );
  assert.is(await decryptText(join(set.folder, '0001.age'), await own()), text);
});

test('encrypted.json is sealed: any change to it shows', async () => {
  const { first, second } = place();
  await copySet(to(second, { recipients: [recipient] }), await provenSet(first));
  const { encrypted } = await theSet(second);
  assert.ok(encrypted);
  const text = encryptedText(encrypted, sha256);
  assert.equal(parseEncrypted(text, sha256), encrypted);
  for (let i = 0; i < text.length; i += 7) {
    const flipped = text.slice(0, i) + String.fromCharCode(text.charCodeAt(i) ^ 1) + text.slice(i + 1);
    assert.ok('damaged' in parseEncrypted(flipped, sha256), `byte ${i}`);
  }
});

test('what is said beside an encrypted set names nothing', async () => {
  const { first } = place();
  const { report } = await provenSet(first);
  assert.ok(report);
  const shown = JSON.stringify(discreet({ ...report, problems: ['"clinic": table "patients" is missing'] }));
  assert.not.match(shown, /clinic|patients/);
  assert.match(shown, /1 found that name databases or tables/);
  assert.not.match(JSON.stringify(discreet({ ...report, not_compared: ['clinic'] })), /clinic/);
});

test.run();
