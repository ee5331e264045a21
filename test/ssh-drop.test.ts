import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Unreachable } from '../lib/ports/ssh-errors.ts';
import type { Ssh } from '../lib/ports/types.ts';
import {
  eventually,
  ME,
  reasonOf,
  relayTo,
  type Sshd,
  type SshLab,
  sshLab,
  startSshd,
  thrown,
  withSshd,
} from './sshd.ts';

/** Connections that end, go silent or are slow, over a real OpenSSH server. */
const test = suite('ssh port: drops and silence, real OpenSSH');
const HOST = 'k3s-cp-01';

withSshd(test, () => {
  let lab: SshLab;
  let server: Sshd;

  test.before(async () => {
    lab = sshLab();
    server = await startSshd(join(lab.folder, 'sshd'), { authorized: [lab.publicKey] });
    await lab.connect().learnHostKey(HOST, server.hostKey);
  });
  test.after(async () => {
    await server.stop();
    await lab.close();
  });

  const entry = (name: string, port: number, ...more: string[]): string[] => [
    ...[`Host ${name}`, 'HostName 127.0.0.1', `Port ${port}`, `User ${ME}`, ...more],
  ];
  const at = (port: number, pulseSeconds = 15, connectSeconds = 20): Ssh & { close(): Promise<void> } => {
    lab.configure(...entry(HOST, port));
    return lab.connect({ pulseSeconds, connectSeconds });
  };

  test('the server’s process ends in the middle of a command: dropped, not failed, and connected to again', async () => {
    const ssh = at(server.port);
    const started = join(lab.folder, 'started');
    const command = thrown(ssh.run(HOST, ['sh', '-c', `touch ${started}; sleep 20`]));
    await eventually('the command runs', () => readdirSync(lab.folder).includes('started'));
    server.drop();
    const error = await command;
    assert.instance(error, Unreachable);
    assert.match(error.message, /the connection to k3s-cp-01 broke during sh -c; whether it ended is not known/);
    assert.is((await ssh.run(HOST, ['echo', 'again'])).stdout, 'again\n');
    await ssh.close();
  });

  test('in the middle of an upload: the old file is whole, nothing is beside it, and a rerun converges', async () => {
    const ssh = at(server.port);
    const folder = join(lab.folder, 'images');
    mkdirSync(folder);
    const [path, big] = [join(folder, 'k3s.tar'), join(lab.folder, 'big')];
    writeFileSync(path, 'old');
    writeFileSync(big, Buffer.alloc(64 * 2 ** 20, 'b'));
    const upload = thrown(ssh.upload(HOST, path, { file: big }, { mode: '0644' }));
    const others = (): string[] => readdirSync(folder).filter((name) => name !== 'k3s.tar');
    await eventually('a part has arrived', () => others().some((name) => statSync(join(folder, name)).size > 0));
    server.drop();
    assert.match((await upload).message, /the connection to k3s-cp-01 broke during sh -c/);
    await eventually('what was written is gone', () => others().length === 0);
    assert.is(readFileSync(path, 'utf8'), 'old');
    await ssh.upload(HOST, path, { file: big }, { mode: '0600' });
    assert.equal([statSync(path).size, statSync(path).mode & 0o777, others()], [64 * 2 ** 20, 0o600, []]);
    await ssh.close();
  });

  test('a host that loses power in the middle of a command is given up long before the command’s deadline', async () => {
    const relay = await relayTo(server.port);
    const ssh = at(relay.port, 0.3);
    await ssh.run(HOST, ['true']);
    const command = thrown(ssh.run(HOST, ['sleep', '120'], { deadline: 100 }));
    setTimeout(() => relay.freeze(), 300);
    const error = await command;
    assert.instance(error, Unreachable);
    assert.match(error.message, /the connection to k3s-cp-01 broke during sleep 120/);
    assert.match(String(error.likelyCause), /no sign of life/);
    assert.is((await ssh.run(HOST, ['echo', 'again'])).stdout, 'again\n');
    await ssh.close();
    relay.close();
  });

  test('a host that is busy, or a link that is full, is not', async () => {
    const relay = await relayTo(server.port, 2e6);
    const ssh = at(relay.port, 0.1);
    // Thirty pulses without a word of the command: the server answers, and that counts.
    assert.is((await ssh.run(HOST, ['sleep', '3'])).code, 0);
    // What the server answers waits behind two megabytes of output, which are a second.
    const { code, stdout } = await ssh.run(HOST, ['sh', '-c', 'head -c 6000000 /dev/zero | tr "\\0" x']);
    assert.equal([code, stdout.length], [0, 6_000_000]);
    await ssh.close();
    relay.close();
  });

  test('an idle connection that went silent: not reachable, and then connected to anew', async () => {
    const relay = await relayTo(server.port);
    const ssh = at(relay.port, 15, 3);
    assert.equal(await ssh.reachable(HOST), { ok: true, value: true });
    relay.freeze();
    assert.match(reasonOf(await ssh.reachable(HOST)), /true on k3s-cp-01: not within 3 s/);
    assert.equal(await ssh.reachable(HOST), { ok: true, value: true });
    await ssh.close();
    relay.close();
  });
});

test.run();
