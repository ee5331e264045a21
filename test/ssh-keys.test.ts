import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../lib/errors.ts';
import { eventually, ME, type Sshd, type SshLab, sshLab, startSshd, thrown, withSshd } from './sshd.ts';

/** Which keys are offered, to a real OpenSSH server that counts, by files and by a real agent. */
const test = suite('ssh port: keys and agent, real OpenSSH');
const HOST = 'k3s-cp-01';

withSshd(test, () => {
  let lab: SshLab;
  let server: Sshd;
  let agent: ChildProcess;
  let socket = '';

  test.before(async () => {
    lab = sshLab();
    server = await startSshd(join(lab.folder, 'sshd'), { authorized: [lab.publicKey] });
    await lab.connect().learnHostKey(HOST, server.hostKey);
    socket = join(lab.folder, 'agent');
    agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    await eventually('an agent listens', () => existsSync(socket));
  });
  test.before.each(() => {
    server.log.length = 0;
    lab.lab.config.ssh.key = join(lab.folder, 'key');
    delete process.env.SSH_AUTH_SOCK;
    execFileSync('ssh-add', ['-qD'], { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: 'ignore' });
  });
  test.after(async () => {
    agent.kill();
    await server.stop();
    await lab.close();
  });

  const add = (file: string): void => {
    execFileSync('ssh-add', ['-q', file], { env: { ...process.env, SSH_AUTH_SOCK: socket }, stdio: 'ignore' });
  };
  const configure = (...more: string[]): void =>
    lab.configure(`Host ${HOST}`, 'HostName 127.0.0.1', `Port ${server.port}`, `User ${ME}`, ...more);
  /** What `true` on the host comes to with a new port: 'in', or the error. */
  const login = async (): Promise<Error & { fix?: string }> => {
    const ssh = lab.connect({ connectSeconds: 20 });
    const error = await thrown(ssh.run(HOST, ['true']));
    await ssh.close();
    return error;
  };
  const isIn = async (): Promise<void> => assert.is((await login()).message, 'it succeeded');
  const failures = (): number => server.log.join('').match(/Failed publickey/g)?.length ?? 0;
  /** A key that the server lets in, encrypted in its file; `add` puts it into the agent. */
  const encrypted = (name: string, { inAgent }: { inAgent: boolean }): string => {
    const file = join(lab.folder, name);
    rmSync(file, { force: true });
    writeFileSync(file, execFileSync('cat', [join(lab.folder, 'key')]), { mode: 0o600 });
    if (inAgent) add(file);
    execFileSync('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'a passphrase', '-f', file], { stdio: 'ignore' });
    return file;
  };

  test("ssh_config's IdentityFile is offered first, and then nothing more is", async () => {
    lab.lab.config.ssh.key = lab.key('another').file;
    configure(`IdentityFile ${join(lab.folder, 'key')}`);
    await isIn();
    assert.is(failures(), 0);
  });

  test('the key of homelab.yaml comes after it', async () => {
    configure(`IdentityFile ${lab.key('another').file}`);
    await isIn();
    assert.is(failures(), 1);
  });

  test('a wrong key says who was not let in, with what, and what to try', async () => {
    const { file } = lab.key('another');
    lab.lab.config.ssh.key = file;
    configure();
    const { message, fix } = await login();
    assert.match(
      message,
      new RegExp(`^k3s-cp-01 \\(127.0.0.1:${server.port}\\) does not let ${ME} in: .*; offered ssh.key: ${file}`),
    );
    assert.match(String(fix), `ssh -o IdentitiesOnly=yes -i ${file} -p ${server.port} ${ME}@127.0.0.1`);
    assert.is(failures(), 1);
  });

  test('an agent with too many keys signs with the one that is wanted', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) add(lab.key(name).file);
    add(join(lab.folder, 'key'));
    process.env.SSH_AUTH_SOCK = socket;
    writeFileSync(join(lab.folder, 'elsewhere.pub'), `${lab.publicKey}\n`);
    for (const wanted of ['elsewhere', 'elsewhere.pub']) {
      lab.lab.config.ssh.key = join(lab.folder, wanted);
      configure();
      await isIn();
      assert.is(failures(), 0, wanted);
    }
  });

  test('so many keys in ssh_config that the server has enough', async () => {
    configure(...['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((name) => `IdentityFile ${lab.key(name).file}`));
    const { message } = await login();
    assert.match(message, /does not let \w+ in: .*[Tt]oo many authentication failures; offered/);
  });

  test('an encrypted key whose signature an agent gives; which key it is, its own file says', async () => {
    lab.lab.config.ssh.key = encrypted('locked', { inAgent: true });
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) add(lab.key(name).file);
    process.env.SSH_AUTH_SOCK = socket;
    configure();
    await isIn();
    assert.is(failures(), 0);
  });

  const without: [string, () => void, RegExp][] = [
    ['no agent', () => {}, /locked: it is encrypted, and no ssh-agent$/],
    [
      'an agent that does not have it',
      () => {
        add(lab.key('a').file);
        process.env.SSH_AUTH_SOCK = socket;
      },
      /locked: it is encrypted, and the ssh-agent does not have it$/,
    ],
    [
      'an agent that is gone',
      () => {
        process.env.SSH_AUTH_SOCK = join(lab.folder, 'gone');
      },
      /locked: it is encrypted, and the ssh-agent at .*gone does not answer/,
    ],
  ];
  for (const [what, prepare, message] of without)
    test(`an encrypted key and ${what}`, async () => {
      lab.lab.config.ssh.key = encrypted('locked', { inAgent: false });
      prepare();
      configure();
      const error = await login();
      assert.instance(error, UsageError);
      assert.match(error.message, message);
      assert.match(String(error.fix), /ssh-add .*locked/);
    });

  test('an agent that hangs up is told as such; a key in a file does without it', async () => {
    const broken = createServer((connection) => connection.destroy());
    process.env.SSH_AUTH_SOCK = join(lab.folder, 'broken');
    await new Promise<void>((done) => broken.listen(process.env.SSH_AUTH_SOCK, done));
    configure();
    await isIn();
    lab.lab.config.ssh.key = encrypted('locked', { inAgent: false });
    assert.match((await login()).message, /the ssh-agent at .*broken does not answer/);
    await new Promise((done) => broken.close(done));
  });

  test('one key of several that cannot be used is passed over, and told when none is right', async () => {
    const locked = encrypted('locked', { inAgent: false });
    configure(`IdentityFile ${locked}`);
    await isIn();
    lab.lab.config.ssh.key = lab.key('another').file;
    assert.match(
      (await login()).message,
      /offered ssh\.key: .*another; not offered IdentityFile: .*locked: it is encrypted/,
    );
  });

  test('IdentityAgent is the agent of that host', async () => {
    add(join(lab.folder, 'key'));
    process.env.SSH_AUTH_SOCK = join(lab.folder, 'gone');
    lab.lab.config.ssh.key = join(lab.folder, 'no-such-key');
    configure(`IdentityAgent ${socket}`);
    await isIn();
  });

  test('without any key file an agent offers what it has, but not where IdentitiesOnly forbids it', async () => {
    add(join(lab.folder, 'key'));
    process.env.SSH_AUTH_SOCK = socket;
    lab.lab.config.ssh.key = join(lab.folder, 'no-such-key');
    configure();
    await isIn();
    configure('IdentitiesOnly yes');
    assert.match((await login()).message, /no-such-key: there is no such file, and the ssh-agent does not have it/);
  });
});

test.run();
