import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openLab } from '../lib/lab-context.ts';
import { realEndpoints } from '../lib/ports/endpoints.ts';
import { connectSsh } from '../lib/ports/ssh.ts';
import { SudoRefused, Unreachable } from '../lib/ports/ssh-errors.ts';
import type { Ssh } from '../lib/ports/types.ts';
import { withNamespaces } from './namespaces/enter.ts';
import { type NamespaceLab, startNamespaceLab } from './namespaces/lab.ts';
import { thrown } from './sshd.ts';

/** What takes hosts of their own: sudo as Debian has it, power and cables. */
const test = suite('ssh port: real sudo, power and cables');
withNamespaces(test, import.meta.url, declare);

function declare(): void {
  let lab: NamespaceLab;
  const [ASKS, FREE] = ['k3s-cp-01', 'k3s-cp-02'];
  const PASSWORD = 'correct horse';

  test.before(async () => {
    lab = await startNamespaceLab({ hosts: { [ASKS]: { sudoPassword: PASSWORD, shell: '/bin/dash' } } });
  });
  test.after(() => lab.close());

  /** Runs over a port of a real lab. */
  const over = async <T>(
    password: string | undefined,
    work: (ssh: Ssh) => Promise<T>,
    pulseSeconds = 1,
  ): Promise<T> => {
    const { lab: opened, secrets, settings } = openLab(lab.configFile, {});
    if (password !== undefined) secrets.add('SUDO_PASSWORD', password);
    const ssh = connectSsh({ lab: opened, secrets, settings, endpoints: realEndpoints }, { pulseSeconds });
    try {
      return await work(ssh);
    } finally {
      await ssh.close();
    }
  };
  /** Its card is another one after a boot, which its neighbours notice after a while. */
  const answers = async (ssh: Ssh, host: string): Promise<void> => {
    for (let tries = 0; tries < 12; tries += 1) if ((await ssh.reachable(host)).ok) return;
    throw new Error(`${host} does not come back`);
  };
  const asRoot = (host: string, password?: string): Promise<Error & { fix?: string; likelyCause?: string }> =>
    over(password, (ssh) => thrown(ssh.run(host, ['touch', '/root/was-here'], { sudo: true })));
  const refused = async (host: string, password: string | undefined, message: RegExp): Promise<void> => {
    const error = await asRoot(host, password);
    assert.instance(error, SudoRefused);
    assert.match(error.message, message);
    assert.is(lab.host(host).readFile('/root/was-here'), undefined);
  };

  test('sudo that asks for nothing, and one that gets its password', async () => {
    for (const host of [ASKS, FREE]) {
      const { stdout } = await over(PASSWORD, (ssh) =>
        ssh.run(host, ['sh', '-c', 'id -u; cat'], { sudo: true, stdin: 'input' }),
      );
      assert.is(stdout, '0\ninput', host);
    }
  });

  test('an upload by sudo that wants a password', async () => {
    const content = 'x'.repeat(3_000_000);
    await over(PASSWORD, (ssh) =>
      ssh.upload(ASKS, '/etc/lab/deep', content, { mode: '0600', owner: 'root:root', sudo: true }),
    );
    assert.is(await lab.host(ASKS).run('stat -c "%a %U %s" /etc/lab/deep'), '600 root 3000000\n');
  });

  test('a program that is not there is 127 through sudo too, and a failed command is no refusal', async () => {
    await over(undefined, async (ssh) => {
      assert.is((await ssh.run(FREE, ['no-such-program'], { sudo: true })).code, 127);
      assert.is((await ssh.run(FREE, ['ls', '/no-such-folder'], { sudo: true })).code, 2);
    });
  });

  test('no password where one is wanted', () =>
    refused(ASKS, undefined, /sudo asks ops for a password, and there is none/));
  test('a wrong password', () => refused(ASKS, 'wrong horse', /sudo does not take SUDO_PASSWORD for ops/));

  test('a user who is in no sudoers file', async () => {
    const rule = lab.host(ASKS).readFile('/etc/sudoers.d/lab') ?? '';
    await lab.host(ASKS).run('rm /etc/sudoers.d/lab');
    await refused(ASKS, PASSWORD, /sudo does not let ops run commands as root \(ops is not in the sudoers file/);
    lab.host(ASKS).writeFile('/etc/sudoers.d/lab', rule, 0o440);
  });

  test('requiretty', async () => {
    for (const host of [ASKS, FREE]) {
      lab.host(host).writeFile('/etc/sudoers.d/tty', 'Defaults requiretty\n', 0o440);
      await refused(host, host === ASKS ? PASSWORD : undefined, /sudo wants a terminal/);
      await lab.host(host).run('rm /etc/sudoers.d/tty');
    }
  });

  test('a cable that is out for a while is no reason to give up', async () => {
    const { code } = await over(
      undefined,
      async (ssh) => {
        await ssh.run(FREE, ['true']);
        const command = ssh.run(FREE, ['sleep', '8'], { deadline: 60 });
        setTimeout(() => lab.network.pull(FREE), 500);
        setTimeout(() => lab.network.push(FREE), 4500);
        return command;
      },
      4,
    );
    assert.is(code, 0);
  });

  test('power that is cut in the middle of a command, and of an upload', async () => {
    const [file, sha256] = [join(lab.folder, 'big'), 'f'.repeat(64)];
    writeFileSync(file, '');
    truncateSync(file, 4e9);
    for (const work of [
      (ssh: Ssh) => ssh.run(FREE, ['sleep', '300'], { deadline: 280 }),
      (ssh: Ssh) => ssh.upload(FREE, '/srv/big', { file, sha256 }, { mode: '0644', sudo: true, deadline: 280 }),
    ]) {
      const error = await over(undefined, async (ssh) => {
        await ssh.run(FREE, ['true']);
        const failed = thrown(work(ssh));
        setTimeout(() => void lab.powerOff(FREE), 300);
        return failed;
      });
      assert.instance(error, Unreachable);
      assert.match(error.message, /the connection to k3s-cp-02 broke during (sleep 300|sh -c)/);
      assert.match(String(error.likelyCause), /no sign of life/);
      await lab.boot(FREE);
      await over(undefined, (ssh) => answers(ssh, FREE));
    }
    // The part of a file that it left is nobody's; a rerun puts the whole one there.
    await over(undefined, (ssh) => ssh.upload(FREE, '/srv/big', 'whole', { mode: '0644', sudo: true }));
    assert.is(lab.host(FREE).readFile('/srv/big'), 'whole');
  });
}

test.run();
