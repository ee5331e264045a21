import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ME, type Sshd, type SshLab, sshLab, startSshd, withSshd } from './sshd.ts';

/** Whole scripts of a real lab, in processes of their own, over a real OpenSSH server and through a jump host. */
const test = suite('ssh port: scripts');

withSshd(test, () => {
  let lab: SshLab;
  let server: Sshd;

  test.before(async () => {
    lab = sshLab();
    server = await startSshd(join(lab.folder, 'sshd'), { authorized: [lab.publicKey] });
    await lab.connect().learnHostKey('k3s-cp-01', server.hostKey);
    writeFileSync(join(lab.folder, 'known_hosts'), `[127.0.0.1]:${server.port} ${server.hostKey}\n`);
    const [to, key] = [`HostName 127.0.0.1\nPort ${server.port}\nUser ${ME}`, join(lab.folder, 'key')];
    lab.configure(
      `Host k3s-cp-01\n${to}\nIdentityFile ${key}\nProxyJump bastion`,
      `Host bastion\n${to}\nIdentityFile ${key}\nUserKnownHostsFile ${join(lab.folder, 'known_hosts')}`,
    );
  });
  test.after(async () => {
    await server.stop();
    await lab.close();
  });

  const run = (name: string, code: string, ...args: string[]): Promise<{ stdout: string; stderr: string }> => {
    const script = join(lab.folder, name);
    writeFileSync(script, code);
    return promisify(execFile)(process.execPath, ['--import', 'tsx', script, ...args], {
      timeout: 60_000,
      cwd: dirname(resolve('package.json')),
    });
  };
  const path = (file: string): string => JSON.stringify(resolve(file));
  const config = (): string => lab.lab.paths.config;

  const LOOK = `
    import { defineScript } from ${path('lib/main.ts')};
    export default defineScript(import.meta.url, {
      name: 'look', summary: 'look', lock: 'none',
      async observe(_lab, { ssh }) {
        await ssh.read('k3s-cp-01', ['true']);
        return (await ssh.read('k3s-cp-01', ['echo', 'through'])).value.stdout;
      },
      plan: () => ({ steps: [], notes: [] }),
      report: (_lab, seen) => ({ text: seen.trim(), data: seen.trim() }),
    });`;

  test('--verbose counts round trips, and says how a host is reached', async () => {
    const { stdout, stderr } = await run('look.mts', LOOK, '--config', config(), '--verbose');
    assert.is(stdout, 'through\n');
    assert.match(
      stderr,
      `k3s-cp-01: by ssh_config ${ME}@127.0.0.1:${server.port}, key ${join(lab.folder, 'key')}, through bastion`,
    );
    assert.match(stderr, /^SSH round trips: k3s-cp-01 2$/m);
    const quiet = await run('look.mts', LOOK, '--config', config());
    assert.not.match(quiet.stderr, /round trips|ssh_config/);
  });

  test('--json has them in its document', async () => {
    const { stdout } = await run('look.mts', LOOK, '--config', config(), '--json');
    assert.equal((JSON.parse(stdout) as { roundTrips: unknown }).roundTrips, { 'k3s-cp-01': 2 });
  });

  test('a process ends although its connections and a forwarded port are open', async () => {
    const { stdout } = await run(
      'ends.mts',
      `import { openLab } from ${path('lib/lab-context.ts')};
       import { buildPorts } from ${path('lib/ports/index.ts')};
       const { lab, secrets, settings } = openLab(${JSON.stringify(config())}, {});
       const { ssh } = buildPorts(lab, secrets, settings);
       console.log((await ssh.run('k3s-cp-01', ['echo', 'through'])).stdout.trim());
       await ssh.forward('k3s-cp-01', '127.0.0.1', 9);`,
    );
    assert.is(stdout, 'through\n');
  });
});

test.run();
