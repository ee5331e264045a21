import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hashFile } from '../lib/ports/files.ts';
import { uploadTrouble } from '../lib/ports/ssh-upload.ts';
import type { Ssh } from '../lib/ports/types.ts';
import { ME, type Sshd, type SshLab, sshLab, startSshd, thrown, withSshd } from './sshd.ts';

const words = suite('ssh: a file that cannot be written');
const table: [string, RegExp | undefined][] = [
  ['cat: write error: No space left on device', /the disk of h is full/],
  ['cat: write error: Disk quota exceeded', /quota/],
  ["mkdir: cannot create directory '/x': Read-only file system", /mounted read-only/],
  ['sh: 12: cannot create /x/.homelab-1.tmp: Permission denied', /may not write there/],
  ["mv: cannot move '/x/.homelab-1.tmp' to '/x/y': Operation not permitted", /protected/],
  ['/x/y is a directory', /a folder is where the file belongs/],
  ['what nobody foresaw', undefined],
];
for (const [said, cause] of table)
  words(said, () => {
    const trouble = uploadTrouble(said, 'h', '/x/y');
    if (cause) assert.match(String(trouble.cause), cause);
    assert.is(trouble.fix !== undefined, cause !== undefined);
  });
words.run();

const test = suite('ssh port: uploads, real OpenSSH');
const HOST = 'k3s-cp-01';

/** A shell in a mount namespace of its own, with a small disk on $DISK; what it holds afterwards goes into $REPORT. */
const SMALL_DISK = `#!/bin/sh
exec unshare -rm sh -c '
mount -t tmpfs -o size=1m tmpfs "$DISK" && echo old > "$DISK/file"
[ "$READ_ONLY" ] && mount -o remount,bind,ro "$DISK"
sh -c "$SSH_ORIGINAL_COMMAND"; code=$?
{ cat "$DISK/file"; ls -A "$DISK"; } > "$REPORT"
exit $code'
`;

withSshd(test, () => {
  let lab: SshLab;
  let server: Sshd;
  let ssh: Ssh;

  test.before(async () => {
    lab = sshLab();
    server = await startSshd(join(lab.folder, 'sshd'), { authorized: [lab.publicKey] });
    ssh = await connectTo(server);
  });
  test.after(async () => {
    await server.stop();
    await lab.close();
  });

  const connectTo = async ({ port, hostKey }: Sshd): Promise<Ssh> => {
    lab.configure(`Host ${HOST}`, 'HostName 127.0.0.1', `Port ${port}`, `User ${ME}`);
    const connected = lab.connect({ connectSeconds: 20 });
    await connected.learnHostKey(HOST, hostKey);
    return connected;
  };
  const folder = (name: string): string => {
    const path = join(lab.folder, name);
    mkdirSync(path);
    return path;
  };

  test('300 MB go through without being held in memory', async () => {
    const [file, path] = [join(lab.folder, 'big'), join(folder('to'), 'images.tar.zst')];
    const descriptor = openSync(file, 'w');
    ftruncateSync(descriptor, 300e6);
    closeSync(descriptor);
    const before = process.memoryUsage().rss;
    let most = 0;
    const watch = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss);
    }, 20);
    const trips = ssh.roundTrips()[HOST] ?? 0;
    await ssh.upload(HOST, path, { file, sha256: await hashFile(file) }, { mode: '0644' });
    clearInterval(watch);
    assert.is((ssh.roundTrips()[HOST] ?? 0) - trips, 1);
    assert.is(statSync(path).size, 300e6);
    assert.ok(most - before < 150e6, `${Math.round((most - before) / 1e6)} MB more than before`);
  });

  test('a file that is not there, that cannot be read, or that changes meanwhile', async () => {
    const [file, to] = [join(lab.folder, 'changing'), folder('changing-to')];
    const path = join(to, 'x');
    const missing = await thrown(ssh.upload(HOST, path, { file }, { mode: '0644' }));
    assert.match(missing.message, /changing is not there/);
    writeFileSync(file, 'as it was');
    const sha256 = createHash('sha256').update('as it was').digest('hex');
    writeFileSync(file, 'as it is!');
    const other = await thrown(ssh.upload(HOST, path, { file, sha256 }, { mode: '0644' }));
    assert.match(String(other.output), /SHA-256 \w{64} arrived, not/);
    const isFolder = await thrown(ssh.upload(HOST, path, { file: to }, { mode: '0644' }));
    assert.match(isFolder.message, /EISDIR|cannot be read/);
    assert.equal(readdirSync(to), []);
    assert.is((await ssh.run(HOST, ['echo', 'on'])).stdout, 'on\n');
  });

  test('two uploads to one path at once do not mix', async () => {
    const path = join(folder('both'), 'file');
    const contents = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => letter.repeat(3_000_000));
    await Promise.all(contents.map((content) => ssh.upload(HOST, path, content, { mode: '0644' })));
    const text = readFileSync(path, 'utf8');
    assert.ok(contents.some((content) => content === text));
    assert.equal(readdirSync(join(lab.folder, 'both')), ['file']);
  });

  test('what a host that lost power left goes after a day; nothing else does', async () => {
    const to = folder('left');
    const names = ['.homelab-old.tmp', '.homelab-new.tmp', 'old.tmp', '.homelab-old'];
    mkdirSync(join(to, 'deeper'));
    for (const name of [...names, 'deeper/.homelab-old.tmp']) writeFileSync(join(to, name), '');
    const ago = Date.now() / 1000 - 3 * 86400;
    for (const name of ['.homelab-old.tmp', 'old.tmp', '.homelab-old', 'deeper/.homelab-old.tmp'])
      utimesSync(join(to, name), ago, ago);
    await ssh.upload(HOST, join(to, 'file'), 'x', { mode: '0644' });
    assert.equal(readdirSync(to).sort(), ['.homelab-new.tmp', '.homelab-old', 'deeper', 'file', 'old.tmp']);
    assert.equal(readdirSync(join(to, 'deeper')), ['.homelab-old.tmp']);
  });

  test('a folder that is in the way, and one that may not be written to', async () => {
    const to = folder('way');
    const inTheWay = await thrown(ssh.upload(HOST, to, 'x', { mode: '0644' }));
    assert.match(String(inTheWay.likelyCause), /a folder is where the file belongs/);
    if (process.getuid?.() === 0) return;
    chmodSync(to, 0o555);
    const closed = await thrown(ssh.upload(HOST, join(to, 'x'), 'x', { mode: '0644' }));
    assert.match(String(closed.likelyCause), /may not write there/);
  });

  const canMount = ((): boolean => {
    try {
      execFileSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  })();
  for (const [what, readOnly, bytes, cause] of [
    ['a disk that gets full', '', 3_000_000, /the disk of k3s-cp-01 is full/],
    ['a disk that is read-only', 'yes', 10, /is mounted read-only/],
  ] as const) {
    if (!canMount) {
      test.skip(`${what}: this machine lets nobody mount`, () => {});
      continue;
    }
    test(`${what}: the cause by name, the old file whole, nothing beside it`, async () => {
      const disk = folder(`disk${readOnly}`);
      const [login, report] = [join(lab.folder, `small${readOnly}`), join(lab.folder, `report${readOnly}`)];
      const settings = [`DISK=${disk}`, `REPORT=${report}`, `READ_ONLY=${readOnly}`];
      writeFileSync(login, SMALL_DISK.replace('exec', `export ${settings.join(' ')}\nexec`), { mode: 0o755 });
      const small = await startSshd(join(lab.folder, `sshd-small${readOnly}`), {
        authorized: [lab.publicKey],
        settings: [`ForceCommand ${login}`],
      });
      const connected = await connectTo(small);
      const error = await thrown(connected.upload(HOST, join(disk, 'file'), 'x'.repeat(bytes), { mode: '0644' }));
      await small.stop();
      await ssh.learnHostKey(HOST, server.hostKey);
      assert.match(error.message, /file could not be written on k3s-cp-01 \(exit code \d+\)/);
      assert.match(String(error.likelyCause), cause);
      assert.is(readFileSync(report, 'utf8'), 'old\nfile\n');
    });
  }
});

test.run();
