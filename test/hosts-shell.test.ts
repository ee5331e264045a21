import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { RunningHost } from '../lib/lab/hosts/index.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

const test = suite('hosts: shell');
const HOST = 'k3s-cp-01';
let lab: TestLab;
let host: RunningHost;

test.before(async () => {
  // A folder with a blank and quotes in its name, as a person's may be.
  lab = await testLab({}, "a lab's folder");
  host = await lab.start(HOST, { folder: join(lab.folder, "it's a folder", HOST) });
});
test.after(() => lab.close());

const sh = async (text: string, stdin?: string): Promise<{ code: number; stdout: string; stderr: string }> =>
  lab.ssh.run(HOST, ['sh', '-c', text], stdin === undefined ? {} : { stdin });

test('absolute paths are the host’s own, whatever the command does with them', async () => {
  const before = readFileSync('/etc/hostname', 'utf8');
  const { stdout, code } = await sh(
    'echo mine > /etc/hostname && cat /etc/hostname && cd /etc && pwd && ls -d /etc/hostname',
  );
  assert.equal([code, stdout], [0, 'mine\n/etc\n/etc/hostname\n']);
  assert.is(readFileSync('/etc/hostname', 'utf8'), before);
  assert.is(host.readFile('/etc/hostname'), 'mine\n');
});

for (const [name, argv] of [
  ['an argument', ['cp', '/dev/null', '../../../../../../../../tmp/escaped-1']],
  ['a redirection', ['sh', '-c', 'echo x > ../../../../../../../../tmp/escaped-1']],
  ['a variable', ['sh', '-c', 'd=..; echo x > $HOME/$d/../../../../../tmp/escaped-1']],
  ['an escape', ['sh', '-c', 'echo x > "$(printf \'\\057tmp\')/escaped-1"']],
  ['a script on stdin', ['sh', '-s']],
] as const)
  test(`${name} that leads outside is refused with 126, and nothing is written`, async () => {
    const stdin = 'echo x > ../../../../../../../../tmp/escaped-1\n';
    const { code, stderr } = await lab.ssh.run(HOST, argv, { stdin });
    assert.is(code, 126, stderr);
    assert.match(stderr, /lab: refused/);
    assert.not.ok(existsSync('/tmp/escaped-1'));
  });

test('a script file, a script on stdin and nested shells are rewritten too', async () => {
  host.writeFile(
    '/opt/outer.sh',
    '#!/bin/sh\necho "$0 $1" > /srv/outer\nsh /opt/inner.sh\nsh -c "echo c > /srv/c"\n',
    0o755,
  );
  host.writeFile(
    '/opt/inner.sh',
    '#!/bin/sh\n# it is "inner"\necho inner > /srv/inner\nprintf "echo piped > /srv/piped" | sh\n',
    0o755,
  );
  assert.equal(await lab.ssh.run(HOST, ['sh', '/opt/outer.sh', 'one']), { code: 0, stdout: '', stderr: '' });
  assert.is(host.readFile('/srv/inner'), 'inner\n');
  assert.is(host.readFile('/srv/c'), 'c\n');
  assert.is(host.readFile('/srv/piped'), 'piped\n');
  await lab.ssh.run(HOST, ['sh', '-s', '-', 'arg'], {
    stdin: 'echo "$1" > /srv/stdin\nhostname\necho after >> /srv/stdin\n',
  });
  assert.is(host.readFile('/srv/stdin'), 'arg\nafter\n');
  assert.is((await lab.ssh.run(HOST, ['/opt/outer.sh'])).code, 0, 'by its path');
  assert.is((await sh('/opt/outer.sh && sudo -n /opt/outer.sh')).code, 0, 'by its path in a text');
  host.writeFile('/opt/late.sh', '#!/bin/sh\nhostname > /srv/waited\n', 0o755);
  assert.is((await sh('timeout 60 /opt/late.sh')).code, 0, 'behind timeout');
  assert.is(host.readFile('/srv/waited'), 'mine\n');
});

test('a script that writes scripts: what it leaves runs, and reads as the host would have it', async () => {
  const text = `set -eu
file=/usr/local/bin/remove.sh
{
  echo '#!/bin/sh'
  cat <<'END'
rm -f /srv/made /usr/local/bin/remove.sh
END
} > "$file"
chmod 755 "$file"
cat > /srv/made <<END
ExecStart=/usr/local/bin/tool $file
END
`;
  await lab.ssh.upload(HOST, '/srv/setup.sh', text, { mode: '0755', sudo: true });
  assert.equal(await lab.ssh.run(HOST, ['sh', '/srv/setup.sh'], { sudo: true }), { code: 0, stdout: '', stderr: '' });
  assert.is(host.readFile('/srv/made'), 'ExecStart=/usr/local/bin/tool /usr/local/bin/remove.sh\n');
  assert.is((await lab.ssh.run(HOST, ['/usr/local/bin/remove.sh'], { sudo: true })).code, 0);
  assert.equal([host.readFile('/srv/made'), host.readFile('/usr/local/bin/remove.sh')], [undefined, undefined]);
});

test('a file by scp, and a script as Packer runs it', async () => {
  if (!existsSync('/usr/bin/scp')) return;
  const target = `ops@127.0.0.1:/tmp/script.sh`;
  writeFileSync(join(lab.folder, 'script.sh'), 'echo "$A" > /srv/by-packer\n');
  const options = ['-O', '-q', '-F', '/dev/null', '-i', join(lab.folder, 'key'), '-P', String(host.port)];
  const trust = ['-o', 'StrictHostKeyChecking=yes', '-o', `UserKnownHostsFile=${join(lab.folder, 'scp_hosts')}`];
  writeFileSync(join(lab.folder, 'scp_hosts'), `[127.0.0.1]:${host.port} ${host.hostKey}\n`);
  await promisify(execFile)('scp', [...options, ...trust, join(lab.folder, 'script.sh'), target], { timeout: 20_000 });
  const { code } = await sh("chmod +x /tmp/script.sh; A='b c' sudo -n sh /tmp/script.sh; rm -f /tmp/script.sh");
  assert.equal([code, host.readFile('/srv/by-packer'), host.readFile('/tmp/script.sh')], [0, 'b c\n', undefined]);
});

test('what is installed in /usr/local/bin is found; before that it is not', async () => {
  assert.is((await lab.ssh.run(HOST, ['tool'])).code, 127);
  assert.is((await sh('command -v tool')).code, 127);
  host.writeFile('/usr/local/bin/tool', '#!/bin/sh\necho "tool $*" > /srv/tool\n', 0o755);
  assert.is((await sh('command -v tool')).stdout, '/usr/local/bin/tool\n');
  assert.is((await lab.ssh.run(HOST, ['tool', '/x', 'y'])).code, 0);
  assert.is(host.readFile('/srv/tool'), 'tool /x y\n');
});

test('a program that the world names by its path exists where the host has the file', async () => {
  lab.world.programs.set('/usr/local/bin/agent', ({ argv }) => ({ code: 3, stdout: `${argv.join(' ')}\n` }));
  assert.is((await lab.ssh.run(HOST, ['agent'])).code, 127);
  host.writeFile('/usr/local/bin/agent', 'a binary \u0000', 0o755);
  assert.equal(await lab.ssh.run(HOST, ['agent', 'x']), { code: 3, stdout: 'agent x\n', stderr: '' });
  assert.is((await lab.ssh.run(HOST, ['/usr/local/bin/agent'])).code, 3);
  await sh('ln -s agent /usr/local/bin/agentctl');
  assert.is((await lab.ssh.run(HOST, ['agentctl', 'y'])).stdout, 'agentctl y\n');
});

test('a stand-in sees the host: argv, folder, variables, root', async () => {
  let seen: Record<string, unknown> = {};
  lab.world.programs.set('look', ({ argv, cwd, env, root, host: { name } }) => {
    seen = { argv, cwd, a: env.A, home: env.HOME, path: env.PATH, root, name };
    return { code: 0 };
  });
  await sh('cd /srv && A=/etc/x look /etc/y');
  const common = { home: '/home/ops', path: undefined, name: HOST };
  assert.equal(seen, { argv: ['look', '/etc/y'], cwd: '/srv', a: '/etc/x', root: false, ...common });
  await sh('sudo -n B=1 look');
  assert.is(seen.root, true);
});

test('stand-ins in a pipeline and in the background do not get each other’s answers', async () => {
  lab.world.programs.set('say', async ({ argv, stdin }) => {
    await new Promise((done) => setTimeout(done, 20));
    return { code: 0, stdout: `${argv[1]}${stdin}` };
  });
  const { stdout } = await sh(
    'for i in 1 2 3 4; do say "$i" > /srv/say-$i & done; wait; cat /srv/say-*; say a | say b - | say c -',
  );
  assert.is(stdout, '1234cba');
});

test('a stand-in takes stdin only where it asks for it: a loop keeps its own', async () => {
  const { stdout } = await sh('while read -r line; do hostname > /dev/null; echo "$line"; done', 'one\ntwo\nthree\n');
  assert.is(stdout, 'one\ntwo\nthree\n');
});

test('programs that could change this machine are not there', async () => {
  for (const program of ['useradd', 'iptables', 'shutdown', 'kill-all', 'mkfs', 'crontab', 'npm', 'node', 'ssh'])
    assert.is((await lab.ssh.run(HOST, [program, '--help'], { sudo: true })).code, 127, program);
});

test('temporary files are the host’s', async () => {
  const { stdout } = await sh('f=$(mktemp) && echo "$f" && test -f "$f"');
  assert.match(stdout, /^\/tmp\/tmp\./);
  assert.is(readdirSync(join(host.root, 'tmp')).length, 1);
});

test('a command that was cut off takes what it started with it', async () => {
  await lab.ssh.run(HOST, ['sh', '-c', 'sleep 20 & sleep 20; touch /srv/late'], { deadline: 0.2 }).catch(() => {});
  await new Promise((done) => setTimeout(done, 200));
  const left = (await sh('ls /srv')).stdout;
  assert.not.ok(left.includes('late'));
  assert.equal(readdirSync(join(host.folder, 'stand-ins', 'calls')), []);
});

test('the host key and the passwords are private', () =>
  assert.is(statSync(join(host.root, 'etc/ssh/ssh_host_ed25519_key')).mode & 0o777, 0o600));

test.run();
