import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import { connectSsh } from '../lib/ports/ssh.ts';
import { type TestLab, testLab } from './hosts-lab.ts';
import { nasty } from './nasty.ts';

/** The port against the real OpenSSH server, where the machine has one: unprivileged port, keys and files of its own. */
const test = suite('ssh port, real OpenSSH');
const SSHD = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/opt/homebrew/sbin/sshd'].find((path) => existsSync(path));
const HOST = 'k3s-cp-01';
const required = (process.env.HOMELAB_REQUIRE ?? '').split(',').includes('openssh');

if (!SSHD) {
  if (required) test('sshd is there', () => assert.unreachable('HOMELAB_REQUIRE has openssh, and there is no sshd'));
  else {
    console.error('skipped: there is no sshd on this machine');
    test.skip('there is no sshd on this machine', () => {});
  }
} else declare(SSHD);

function declare(sshd: string): void {
  let lab: TestLab;
  let server: ChildProcess;
  let folder = '';
  const log: string[] = [];

  test.before(async () => {
    lab = await testLab();
    folder = join(lab.folder, 'sshd');
    mkdirSync(folder);
    const hostKey = makeSshKey('test');
    writeFileSync(join(folder, 'host_key'), hostKey.private, { mode: 0o600 });
    writeFileSync(join(folder, 'authorized_keys'), `${lab.publicKey}\n`, { mode: 0o600 });
    const port = await freePort();
    const config = [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${join(folder, 'host_key')}`,
      `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
      ...[
        'StrictModes no',
        'UsePAM no',
        'PidFile none',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
      ],
      'PermitRootLogin prohibit-password',
    ];
    writeFileSync(join(folder, 'config'), `${config.join('\n')}\n`);
    // As root, sshd wants the folder of its privilege separation, which a machine without a running sshd may lack.
    // It stays: another test run beside this one may need it.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
    server = spawn(sshd, ['-D', '-e', '-f', join(folder, 'config')], { stdio: ['ignore', 'ignore', 'pipe'] });
    server.stderr?.on('data', (data: Buffer) => log.push(data.toString()));
    await listening(port);
    lab.lab.config.template.user = userInfo().username;
    lab.endpoints.set('10.20.11.80:22', `127.0.0.1:${port}`);
    await lab.ssh.learnHostKey(HOST, hostKey.public);
    const answer = await lab.ssh.reachable(HOST);
    if (!answer.ok) throw new Error(`${answer.reason}\n${log.join('')}`);
  });
  test.after(async () => {
    await lab.close();
    server.kill();
  });

  test('argv arrives byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(nasty, { minLength: 1, maxLength: 6 }), async (words) => {
        const { stdout, stderr } = await lab.ssh.run(HOST, ['printf', '%s\\0', ...words]);
        assert.equal(stdout.split('\0').slice(0, -1), words, stderr);
      }),
      { numRuns: 12 },
    );
  });

  test('codes, signals, output, and what is not there', async () => {
    const outcome = await lab.ssh.run(HOST, ['sh', '-c', 'echo out; echo err >&2; exit 7']);
    assert.equal(outcome, { code: 7, stdout: 'out\n', stderr: 'err\n' });
    assert.is((await lab.ssh.run(HOST, ['sh', '-c', 'kill -TERM $$'])).code, 143);
    assert.is((await lab.ssh.run(HOST, ['no-such-program'])).code, 127);
    assert.equal(await lab.ssh.readFile(HOST, join(folder, 'none')), { ok: true, value: undefined });
  });

  test('thirty commands at once stay below MaxSessions', async () => {
    const all = await Promise.all(Array.from({ length: 30 }, (_, i) => lab.ssh.run(HOST, ['echo', String(i)])));
    assert.equal(
      all.map(({ stdout }) => Number(stdout)),
      Array.from({ length: 30 }, (_, i) => i),
    );
  });

  test('an upload arrives whole, with its mode, and leaves nothing beside it', async () => {
    const path = join(folder, 'up', "it's a file");
    const content = 'ü\n'.repeat(500_000);
    await lab.ssh.upload(HOST, path, content, { mode: '0640' });
    assert.ok(readFileSync(path, 'utf8') === content);
    assert.is(statSync(path).mode & 0o777, 0o640);
    assert.equal(readdirSync(join(folder, 'up')), ["it's a file"]);
    const read = await lab.ssh.readFile(HOST, path);
    assert.ok(read.ok && read.value === content);
  });

  test('forward leads to what the server reaches', async () => {
    const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
    await new Promise((done) => echo.once('listening', done));
    const { port } = echo.address() as { port: number };
    const forward = await lab.ssh.forward(HOST, '127.0.0.1', port);
    const said = await new Promise<string>((done) => {
      const socket = connect(forward.port, '127.0.0.1', () => socket.end('hello'));
      socket.on('data', (data) => done(data.toString()));
    });
    assert.is(said, 'hello');
    await forward.close();
    echo.close();
  });

  test('a deadline, then the connection goes on', async () => {
    const late = await lab.ssh.run(HOST, ['sleep', '20'], { deadline: 0.3 }).catch((error: Error) => error.message);
    assert.match(String(late), /sleep 20 on k3s-cp-01: not within 0.3 s/);
    assert.is((await lab.ssh.run(HOST, ['echo', 'on'])).stdout, 'on\n');
  });

  test('a connection that breaks is no failed command; the next command connects again', async () => {
    // The server's process for this connection is the shell's parent, or (where a login shell stays in between) its parent.
    const kill =
      'p=$PPID; case $(cat /proc/$p/comm) in sshd*) ;; *) p=$(cut -d" " -f4 /proc/$p/stat) ;; esac; kill $p; sleep 5';
    const broken = await lab.ssh.run(HOST, ['sh', '-c', kill]).catch((error: Error) => error.message);
    assert.match(String(broken), /the connection to k3s-cp-01 broke during sh -c/);
    assert.is((await lab.ssh.run(HOST, ['echo', 'again'])).stdout, 'again\n');
  });

  test('without the key file an agent signs, and offers that key only', async () => {
    const socket = join(lab.folder, 'agent');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    while (!existsSync(socket)) await new Promise((done) => setTimeout(done, 20));
    const env = { ...process.env, SSH_AUTH_SOCK: socket };
    for (const name of ['a', 'b', 'c']) {
      writeFileSync(join(lab.folder, name), makeSshKey('test').private, { mode: 0o600 });
      execFileSync('ssh-add', ['-q', join(lab.folder, name)], { env });
    }
    execFileSync('ssh-add', ['-q', join(lab.folder, 'key')], { env });
    writeFileSync(join(lab.folder, 'elsewhere.pub'), `${lab.publicKey}\n`);
    const before = process.env.SSH_AUTH_SOCK;
    const { key } = lab.lab.config.ssh;
    process.env.SSH_AUTH_SOCK = socket;
    lab.lab.config.ssh.key = join(lab.folder, 'elsewhere');
    const ports = connectSsh(lab.context);
    try {
      log.length = 0;
      assert.equal(await ports.reachable(HOST), { ok: true, value: true });
      assert.is(log.join('').match(/Failed publickey/g), null);
    } finally {
      if (before === undefined) delete process.env.SSH_AUTH_SOCK;
      else process.env.SSH_AUTH_SOCK = before;
      lab.lab.config.ssh.key = key;
      await ports.close();
      agent.kill();
    }
  });

  test('a key that was not learned is refused', async () => {
    await lab.ssh.learnHostKey(HOST, makeSshKey('test').public);
    const answer = await lab.ssh.reachable(HOST);
    assert.match(answer.ok ? '' : answer.reason, /host key has changed/);
    const own =
      execFileSync('ssh-keygen', ['-lf', join(folder, 'host_key')])
        .toString()
        .split(' ')[1] ?? '';
    assert.ok(!answer.ok && answer.reason.includes(own), 'the fingerprint is what ssh-keygen prints');
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

async function listening(port: number): Promise<void> {
  for (let i = 0; i < 100; i += 1) {
    const open = await new Promise<boolean>((done) => {
      const socket = connect(port, '127.0.0.1', () => done(true)).on('error', () => done(false));
      socket.once('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error('sshd does not listen');
}

test.run();
