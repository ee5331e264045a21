import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import type { Ssh } from '../lib/ports/types.ts';
import { freePort, ME, reasonOf, type Sshd, type SshLab, sshLab, startSshd, thrown, withSshd } from './sshd.ts';

/** Real OpenSSH servers behind each other; what ~/.ssh/config says is all that makes them so. */
const test = suite('ssh port: ssh_config and jump hosts, real OpenSSH');
const [HOST, OTHER] = ['k3s-cp-01', 'k3s-cp-02'];
withSshd(test, () => {
  let lab: SshLab;
  let target: Sshd;
  let inner: Sshd;
  let outer: Sshd;

  test.before(async () => {
    lab = sshLab();
    const authorized = [lab.publicKey];
    [target, inner, outer] = (await Promise.all(
      ['target', 'inner', 'outer'].map((name) => startSshd(join(lab.folder, name), { authorized })),
    )) as [Sshd, Sshd, Sshd];
    knows('outer', outer.port, outer.hostKey);
    knows('inner', inner.port, inner.hostKey);
    const ssh = lab.connect();
    for (const host of [HOST, OTHER]) await ssh.learnHostKey(host, target.hostKey);
  });
  test.before.each(() => {
    for (const server of [target, inner, outer]) server.log.length = 0;
  });
  test.after(async () => {
    await Promise.all([target, inner, outer].map((server) => server.stop()));
    await lab.close();
  });

  const knownHosts = (of: string): string => join(lab.folder, `known_hosts.${of}`);
  const knows = (of: string, port: number, key: string): void =>
    writeFileSync(knownHosts(of), `[127.0.0.1]:${port} ${key}\n`);
  const entry = (name: string, port: number, ...more: string[]): string[] => [
    ...[`Host ${name}`, `HostName 127.0.0.1`, `Port ${port}`, `User ${ME}`],
    ...more,
  ];
  const jumpEntry = (name: string, port: number, ...more: string[]): string[] =>
    entry(name, port, `UserKnownHostsFile ${knownHosts(name)}`, `IdentityFile ${join(lab.folder, 'key')}`, ...more);
  /** Runs with a new port, so that ssh_config is read anew. */
  const withPort = async <T>(work: (ssh: Ssh) => Promise<T>): Promise<T> => {
    const ssh = lab.connect({ connectSeconds: 20 });
    try {
      return await work(ssh);
    } finally {
      await ssh.close();
    }
  };
  const logins = ({ log }: Sshd): number => log.join('').match(/Accepted publickey/g)?.length ?? 0;

  test('a host at the address, port and user that ssh_config has', async () => {
    lab.lab.config.template.user = 'somebody-else';
    lab.configure(...entry(HOST, target.port));
    try {
      assert.is((await withPort((ssh) => ssh.run(HOST, ['echo', 'hello']))).stdout, 'hello\n');
      assert.match(lab.details.join(), `by ssh_config ${ME}@127.0.0.1:${target.port}`);
    } finally {
      lab.lab.config.template.user = ME;
    }
  });

  test('by a pattern of its address, by Include, and by UserKnownHostsFile', async () => {
    writeFileSync(join(lab.folder, 'more'), entry('10.20.11.8*', target.port).join('\n'), { mode: 0o600 });
    lab.configure(`Include ${join(lab.folder, 'more')}`, ...jumpEntry('pve-01', outer.port));
    writeFileSync(knownHosts('pve-01'), `[127.0.0.1]:${outer.port} ${outer.hostKey}\n`);
    assert.is((await withPort((ssh) => ssh.run(HOST, ['echo', 'hello']))).stdout, 'hello\n');
    const answer = await withPort((ssh) => ssh.reachable('pve-01'));
    assert.equal(answer, { ok: true, value: true }, 'our own known_hosts has nothing of pve-01');
  });

  test('through two jump hosts; all hosts behind them share one connection to each', async () => {
    const jumps = ['ProxyJump inner'];
    lab.configure(
      ...[...entry(HOST, target.port, ...jumps), ...entry(OTHER, target.port, ...jumps)],
      ...[...jumpEntry('inner', inner.port, 'ProxyJump outer'), ...jumpEntry('outer', outer.port)],
    );
    const outputs = await withPort((ssh) =>
      Promise.all(
        Array.from({ length: 24 }, async (_, i) => (await ssh.run(i % 2 ? HOST : OTHER, ['echo', String(i)])).stdout),
      ),
    );
    assert.equal(outputs.map(Number), [...outputs.keys()]);
    assert.equal([outer, inner, target].map(logins), [1, 1, 2]);
  });

  test('the same as a list in ProxyJump; a file through it; a forwarded port', async () => {
    lab.configure(
      ...entry(HOST, target.port, `ProxyJump outer,${ME}@inner:${inner.port}`),
      ...[...jumpEntry('inner', 1), ...jumpEntry('outer', outer.port)],
    );
    const path = join(lab.folder, 'uploaded');
    const content = 'x'.repeat(5_000_000);
    const echo = createServer((socket) => socket.pipe(socket))
      .listen(0, '127.0.0.1')
      .unref();
    await new Promise((done) => echo.once('listening', done));
    await withPort(async (ssh) => {
      await ssh.upload(HOST, path, content, { mode: '0640' });
      assert.ok(readFileSync(path, 'utf8') === content);
      const forward = await ssh.forward(HOST, '127.0.0.1', (echo.address() as { port: number }).port);
      const said = await new Promise<string>((done) => {
        const socket = connect(forward.port, '127.0.0.1', () => socket.end('hello'));
        socket.on('data', (data) => done(data.toString()));
      });
      assert.is(said, 'hello');
    });
    echo.close();
    assert.equal([outer, inner, target].map(logins), [1, 1, 1]);
  });

  test('a jump host that is restarted in between is connected to again', async () => {
    lab.configure(...entry(HOST, target.port, 'ProxyJump outer'), ...jumpEntry('outer', outer.port));
    await withPort(async (ssh) => {
      await ssh.run(HOST, ['true']);
      outer.drop();
      await new Promise((done) => setTimeout(done, 300));
      assert.is((await ssh.run(HOST, ['echo', 'again'])).stdout, 'again\n');
    });
    assert.is(logins(outer), 2);
  });

  test('a jump host that ends in the middle of a command is a dropped connection', async () => {
    lab.configure(...entry(HOST, target.port, 'ProxyJump outer'), ...jumpEntry('outer', outer.port));
    await withPort(async (ssh) => {
      await ssh.run(HOST, ['true']);
      const command = thrown(ssh.run(HOST, ['sleep', '30']));
      await new Promise((done) => setTimeout(done, 300));
      outer.drop();
      assert.match((await command).message, /the connection to k3s-cp-01 broke during sleep 30/);
    });
  });

  const faults: [string, () => string[] | Promise<string[]>, RegExp][] = [
    [
      'a jump host whose key nobody knows',
      () => {
        writeFileSync(knownHosts('outer'), '');
        return jumpEntry('outer', outer.port);
      },
      /^k3s-cp-01 \(127\.0\.0\.1:\d+\) is reached through outer, and outer \(127\.0\.0\.1:\d+\): its host key is not known: ssh-ed25519 SHA256:/,
    ],
    [
      'a jump host whose key has changed',
      () => {
        knows('outer', outer.port, makeSshKey('test').public);
        return jumpEntry('outer', outer.port);
      },
      /is reached through outer, and outer .*: its host key has changed/,
    ],
    [
      'a jump host that is down',
      async () => jumpEntry('outer', await freePort()),
      /is reached through outer, and outer .*: connection refused/,
    ],
    [
      'a jump host that does not let us in',
      () => jumpEntry('outer', outer.port, 'IdentitiesOnly yes').map((line) => line.replace(/\/key$/, '/wrong')),
      /is reached through outer, and outer .* does not let \w+ in: .*offered IdentityFile: .*wrong/,
    ],
    [
      'the second of two that is down',
      async () => [...jumpEntry('outer', await freePort(), 'ProxyJump inner'), ...jumpEntry('inner', inner.port)],
      /is reached through outer, and outer \(127\.0\.0\.1:\d+\) is not reached by inner .*, its jump host: Connection refused/,
    ],
    [
      'the first of two that is down',
      async () => [...jumpEntry('outer', outer.port, 'ProxyJump inner'), ...jumpEntry('inner', await freePort())],
      /is reached through outer, and outer .* is reached through inner, and inner .*: connection refused/,
    ],
  ];
  for (const [what, config, message] of faults)
    test(`${what} is named, and why`, async () => {
      lab.key('wrong');
      lab.configure(...entry(HOST, target.port, 'ProxyJump outer'), ...(await config()));
      assert.match(reasonOf(await withPort((ssh) => ssh.reachable(HOST))), message);
      assert.match((await thrown(withPort((ssh) => ssh.run(HOST, ['true'])))).message, message);
      knows('outer', outer.port, outer.hostKey);
    });

  test('a host behind that does not listen, and a jump host that forwards nothing', async () => {
    lab.configure(...entry(HOST, await freePort(), 'ProxyJump outer'), ...jumpEntry('outer', outer.port));
    const silent = await thrown(withPort((ssh) => ssh.run(HOST, ['true'])));
    assert.match(silent.message, /k3s-cp-01 .* is not reached by outer .*, its jump host: Connection refused/);
    const authorized = [lab.publicKey];
    const settings = ['AllowTcpForwarding no'];
    const closed = await startSshd(join(lab.folder, 'closed'), { authorized, settings });
    knows('closed', closed.port, closed.hostKey);
    lab.configure(...entry(HOST, target.port, 'ProxyJump closed'), ...jumpEntry('closed', closed.port));
    const error = await thrown(withPort((ssh) => ssh.run(HOST, ['true'])));
    await closed.stop();
    assert.match(error.message, /is not reached by closed .*: .*prohibited/);
    assert.match(String(error.likelyCause), /AllowTcpForwarding/);
  });

  test('a host key that has changed, behind a jump host that is trusted', async () => {
    lab.configure(...entry(HOST, target.port, 'ProxyJump outer'), ...jumpEntry('outer', outer.port));
    await withPort(async (ssh) => {
      await ssh.learnHostKey(HOST, makeSshKey('test').public);
      assert.match(reasonOf(await ssh.reachable(HOST)), /^k3s-cp-01 \(127\.0\.0\.1:\d+\): its host key has changed/);
      await ssh.learnHostKey(HOST, target.hostKey);
      assert.equal(await ssh.reachable(HOST), { ok: true, value: true });
    });
  });
});

test.run();
