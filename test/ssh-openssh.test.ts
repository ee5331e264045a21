import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import type { Ssh } from '../lib/ports/types.ts';
import { nasty } from './nasty.ts';
import { ME, type Sshd, type SshLab, sshLab, startSshd, thrown, withSshd } from './sshd.ts';

/** The port against the real OpenSSH server, where the machine has one. */
const test = suite('ssh port, real OpenSSH');
const HOST = 'k3s-cp-01';

withSshd(test, () => {
  let lab: SshLab;
  let server: Sshd;
  let ssh: Ssh;
  let folder = '';

  test.before(async () => {
    lab = sshLab();
    folder = join(lab.folder, 'sshd');
    server = await startSshd(folder, { authorized: [lab.publicKey] });
    lab.configure(`Host ${HOST}`, 'HostName 127.0.0.1', `Port ${server.port}`, `User ${ME}`);
    ssh = lab.connect();
    await ssh.learnHostKey(HOST, server.hostKey);
    const answer = await ssh.reachable(HOST);
    if (!answer.ok) throw new Error(`${answer.reason}\n${server.log.join('')}`);
  });
  test.after(async () => {
    await server.stop();
    await lab.close();
  });

  test('argv arrives byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(nasty, { minLength: 1, maxLength: 6 }), async (words) => {
        const { stdout, stderr } = await ssh.run(HOST, ['printf', '%s\\0', ...words]);
        assert.equal(stdout.split('\0').slice(0, -1), words, stderr);
      }),
      { numRuns: 12 },
    );
  });

  test('codes, signals, output, and what is not there', async () => {
    const outcome = await ssh.run(HOST, ['sh', '-c', 'echo out; echo err >&2; exit 7']);
    assert.equal(outcome, { code: 7, stdout: 'out\n', stderr: 'err\n' });
    assert.is((await ssh.run(HOST, ['sh', '-c', 'kill -TERM $$'])).code, 143);
    assert.is((await ssh.run(HOST, ['no-such-program'])).code, 127);
    assert.equal(await ssh.readFile(HOST, join(folder, 'none')), { ok: true, value: undefined });
  });

  test('thirty commands at once stay below MaxSessions', async () => {
    const all = await Promise.all(Array.from({ length: 30 }, (_, i) => ssh.run(HOST, ['echo', String(i)])));
    assert.equal(
      all.map(({ stdout }) => Number(stdout)),
      Array.from({ length: 30 }, (_, i) => i),
    );
  });

  test('an upload arrives whole, with its mode, and leaves nothing beside it', async () => {
    const path = join(folder, 'up', "it's a file");
    const content = 'ü\n'.repeat(500_000);
    await ssh.upload(HOST, path, content, { mode: '0640' });
    assert.ok(readFileSync(path, 'utf8') === content);
    assert.is(statSync(path).mode & 0o777, 0o640);
    assert.equal(readdirSync(join(folder, 'up')), ["it's a file"]);
    const read = await ssh.readFile(HOST, path);
    assert.ok(read.ok && read.value === content);
  });

  test('forward leads to what the server reaches', async () => {
    const echo = createServer((socket) => socket.pipe(socket))
      .listen(0, '127.0.0.1')
      .unref();
    await new Promise((done) => echo.once('listening', done));
    const { port } = echo.address() as { port: number };
    const forward = await ssh.forward(HOST, '127.0.0.1', port);
    const said = await new Promise<string>((done) => {
      const socket = connect(forward.port, '127.0.0.1', () => socket.end('hello'));
      socket.on('data', (data) => done(data.toString()));
    });
    assert.is(said, 'hello');
    await forward.close();
    echo.close();
  });

  test('a deadline, then the connection goes on', async () => {
    const late = await ssh.run(HOST, ['sleep', '20'], { deadline: 0.3 }).catch((error: Error) => error.message);
    assert.match(String(late), /sleep 20 on k3s-cp-01: not within 0.3 s/);
    assert.is((await ssh.run(HOST, ['echo', 'on'])).stdout, 'on\n');
  });

  test('a server with no algorithm that we know is told as such', async () => {
    const modern = await startSshd(join(lab.folder, 'modern'), {
      authorized: [lab.publicKey],
      settings: ['KexAlgorithms sntrup761x25519-sha512@openssh.com'],
    });
    lab.configure(`Host ${HOST}`, 'HostName 127.0.0.1', `Port ${modern.port}`, `User ${ME}`);
    const error = await thrown(lab.connect().run(HOST, ['true']));
    await modern.stop();
    assert.match(error.message, /no matching key exchange algorithm/);
    assert.match(String(error.fix), /curve25519-sha256/);
  });

  test('a key that was not learned is refused', async () => {
    await ssh.learnHostKey(HOST, makeSshKey('test').public);
    const answer = await ssh.reachable(HOST);
    assert.match(answer.ok ? '' : answer.reason, /host key has changed/);
    const own =
      execFileSync('ssh-keygen', ['-lf', join(folder, 'host_key')])
        .toString()
        .split(' ')[1] ?? '';
    assert.ok(!answer.ok && answer.reason.includes(own), 'the fingerprint is what ssh-keygen prints');
  });
});

test.run();
