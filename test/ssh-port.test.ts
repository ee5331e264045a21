import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DeadlineError } from '../lib/errors.ts';
import { startHost } from '../lib/lab/hosts/index.ts';
import { refusedDials } from '../lib/lab/report.ts';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import { addressOf } from '../lib/lookup.ts';
import { connectSsh } from '../lib/ports/ssh.ts';
import { BoundedOutput } from '../lib/ports/ssh-output.ts';
import { UPLOAD } from '../lib/ports/ssh-upload.ts';
import type { Answer } from '../lib/ports/types.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

const test = suite('ssh port');
const HOST = 'k3s-cp-01';
let lab: TestLab;

test.before(async () => {
  lab = await testLab();
  await lab.start(HOST);
});
test.after(() => lab.close());

const reason = (answer: Answer<unknown>): string => (answer.ok ? 'it answered' : answer.reason);
const message = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it succeeded',
    (error: Error) => error.message,
  );

test('a command that fails is a code with its output', async () => {
  const outcome = await lab.ssh.run(HOST, ['sh', '-c', 'echo out; echo err >&2; exit 7']);
  assert.equal(outcome, { code: 7, stdout: 'out\n', stderr: 'err\n' });
});

test('a command that a signal ends is 128 and its number', async () => {
  assert.is((await lab.ssh.run(HOST, ['sh', '-c', 'kill -TERM $$'])).code, 143);
});

test('a program that is not there is 127', async () =>
  assert.is((await lab.ssh.run(HOST, ['no-such-program'])).code, 127));

test('thirty commands at once share one connection, opened once', async () => {
  const host = await lab.start('k3s-cp-02');
  let connections = 0;
  const count = lab.context.endpoints.dial;
  lab.context.endpoints.dial = (address, port) => {
    connections += 1;
    return count(address, port);
  };
  const before = lab.ssh.roundTrips()['k3s-cp-02'] ?? 0;
  const all = await Promise.all(Array.from({ length: 30 }, (_, i) => lab.ssh.run('k3s-cp-02', ['echo', String(i)])));
  lab.context.endpoints.dial = count;
  assert.equal(
    all.map(({ stdout }) => stdout.trim()),
    Array.from({ length: 30 }, (_, i) => String(i)),
  );
  assert.is(connections, 1);
  assert.is((lab.ssh.roundTrips()['k3s-cp-02'] ?? 0) - before, 30);
  await host.stop();
});

test('a host that is down: a value for readers, an error for writers', async () => {
  lab.endpoints.set(`${addressOf(lab.lab, 'k3s-gpu-01')}:22`, null);
  assert.match(reason(await lab.ssh.read('k3s-gpu-01', ['true'])), /ECONNREFUSED/);
  assert.match(reason(await lab.ssh.reachable('k3s-gpu-01')), /ECONNREFUSED/);
  assert.match(await message(lab.ssh.run('k3s-gpu-01', ['true'])), /ECONNREFUSED/);
});

test('a port on which nothing listens is not reachable', async () => {
  lab.endpoints.set(`${addressOf(lab.lab, 'k3s-gpu-01')}:22`, '127.0.0.1:9');
  assert.match(reason(await lab.ssh.read('k3s-gpu-01', ['true'])), /k3s-gpu-01 .*connection refused/);
});

test('an address that a rehearsal does not hold is an error even for readers', async () => {
  assert.match(await message(lab.ssh.read('pve-03', ['true'])), /refused to connect to 10\.20\.11\.13:22/);
  assert.equal(refusedDials(dirname(lab.endpoints.file)), ['10.20.11.13:22']);
});

test('a server that never answers is given up after the connect deadline', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await new Promise((done) => silent.once('listening', done));
  const { port } = silent.address() as { port: number };
  lab.endpoints.set(`${addressOf(lab.lab, 'k3s-gpu-01')}:22`, `127.0.0.1:${port}`);
  const impatient = connectSsh(lab.context, { connectSeconds: 0.5 });
  assert.match(reason(await impatient.reachable('k3s-gpu-01')), /does not answer by SSH: not within 0.5 s/);
  silent.close();
});

test('an unknown host key is refused, then learned, then trusted', async () => {
  const host = await lab.start('pve-01', { user: 'root', learn: false });
  const why = reason(await lab.ssh.reachable('pve-01'));
  assert.match(why, /pve-01 \(10\.20\.11\.11\): its host key is not known: ssh-ed25519 SHA256:/);
  assert.match(await message(lab.ssh.run('pve-01', ['true'])), /not known/);
  await lab.ssh.learnHostKey('pve-01', `${host.hostKey} root@pve-01`);
  assert.equal(await lab.ssh.reachable('pve-01'), { ok: true, value: true });
});

test('a changed host key is refused with both fingerprints; only that host is rotated', async () => {
  const known = join(lab.lab.paths.state, 'known_hosts');
  const others = readFileSync(known, 'utf8')
    .split('\n')
    .filter((line) => !line.startsWith('10.20.11.12 '));
  await lab.ssh.learnHostKey('pve-02', makeSshKey('test').public);
  const host = await lab.start('pve-02', { user: 'root', learn: false });
  const why = reason(await lab.ssh.reachable('pve-02'));
  assert.match(why, /host key has changed: known is ssh-ed25519 SHA256:\S+, shown was ssh-ed25519 SHA256:/);
  await lab.ssh.learnHostKey('pve-02', host.hostKey);
  assert.equal((await lab.ssh.run('pve-02', ['id', '-un'])).stdout, 'root\n');
  const after = readFileSync(known, 'utf8')
    .split('\n')
    .filter((line) => !line.startsWith('10.20.11.12 '));
  assert.equal(after, others);
});

test("a rehearsal never asks the user's own known_hosts", async () => {
  const home = process.env.HOME;
  const host = await lab.start('k3s-gpu-01', { learn: false });
  mkdirSync(join(lab.folder, 'home', '.ssh'), { recursive: true });
  writeFileSync(join(lab.folder, 'home', '.ssh', 'known_hosts'), `${host.address} ${host.hostKey}\n`);
  process.env.HOME = join(lab.folder, 'home');
  const ports = connectSsh({ ...lab.context, endpoints: { ...lab.context.endpoints, rehearsal: false } });
  try {
    assert.match(reason(await lab.ssh.reachable('k3s-gpu-01')), /not known/);
    assert.equal(await ports.reachable('k3s-gpu-01'), { ok: true, value: true }, 'a real lab does');
  } finally {
    process.env.HOME = home;
    await ports.close();
  }
});

test('a login that is refused says for whom, and what to try', async () => {
  const host = await lab.start('k3s-gpu-01', { folder: join(lab.folder, 'hosts', 'denied') });
  host.faults.denyLogin = true;
  assert.match(reason(await lab.ssh.reachable('k3s-gpu-01')), /does not let ops in/);
});

test('a connection that breaks in the middle is told apart from a command that failed', async () => {
  const host = await lab.start('k3s-gpu-01', { folder: join(lab.folder, 'hosts', 'dropping') });
  host.faults.drop = /sleep/;
  assert.match(
    await message(lab.ssh.run('k3s-gpu-01', ['sleep', '5'])),
    /connection to k3s-gpu-01 broke during sleep 5/,
  );
  assert.equal(await lab.ssh.run('k3s-gpu-01', ['echo', 'again']), { code: 0, stdout: 'again\n', stderr: '' });
  assert.match(reason(await lab.ssh.read('k3s-gpu-01', ['sleep', '5'])), /broke/);
});

test('a command deadline ends the command, and the connection goes on', async () => {
  const began = Date.now();
  const error = await lab.ssh.run(HOST, ['sh', '-c', 'sleep 30; touch /tmp/late'], { deadline: 0.3 }).catch((e) => e);
  assert.instance(error, DeadlineError);
  assert.match(error.message, /sh -c on k3s-cp-01: not within 0.3 s/);
  assert.ok(Date.now() - began < 5000);
  assert.is((await lab.ssh.run(HOST, ['echo', 'fine'])).stdout, 'fine\n');
});

test('upload writes beside and renames, with mode and owner, and makes the folder', async () => {
  await lab.ssh.upload(HOST, '/etc/new/deep/a.yaml', 'eins\n', { mode: '0600', owner: 'root:root', sudo: true });
  const look = ['stat', '-c', '%a %U:%G %s', '/etc/new/deep/a.yaml'];
  assert.is((await lab.ssh.run(HOST, look)).stdout, '600 root:root 5\n');
  await lab.ssh.upload(HOST, '/etc/new/deep/a.yaml', 'zwei zwei\n', { mode: '0644', sudo: true });
  assert.is((await lab.ssh.run(HOST, look)).stdout.split(' ')[0], '644');
  assert.is((await lab.ssh.run(HOST, ['ls', '-A', '/etc/new/deep'])).stdout, 'a.yaml\n');
});

test('an upload that does not arrive whole leaves the old file and no other', async () => {
  const host = await lab.start('k3s-gpu-01', { folder: join(lab.folder, 'hosts', 'cut') });
  await lab.ssh.upload('k3s-gpu-01', '/etc/keep', 'old', { mode: '0644' });
  const short = ['sh', '-c', UPLOAD, 'sh', '/etc/keep', '0644', '', '999', '', 'tag'];
  const cut = await lab.ssh.run('k3s-gpu-01', short, { stdin: 'part' });
  assert.equal([cut.code, cut.stderr], [74, '4 of 999 bytes arrived\n']);
  assert.is(host.readFile('/etc/keep'), 'old');
  assert.not.match((await lab.ssh.run('k3s-gpu-01', ['ls', '-A', '/etc'])).stdout, /tmp/);
  host.faults.drop = /etc.keep/;
  const whole = 'x'.repeat(20e6);
  assert.match(await message(lab.ssh.upload('k3s-gpu-01', '/etc/keep', whole, { mode: '0644' })), /broke/);
  host.faults.drop = undefined;
  assert.ok(['old', whole].includes(host.readFile('/etc/keep') ?? ''), 'the old file or the new one, never a part');
});

test('an upload onto a folder, or to a full disk, is an error with the words of the host', async () => {
  const error = await lab.ssh.upload(HOST, '/etc', 'x', { mode: '0644' }).catch((e) => e);
  assert.match(`${error.message} ${error.output}`, /\/etc could not be written on k3s-cp-01 .*is a directory/);
  const host = await lab.start('k3s-gpu-01', { folder: join(lab.folder, 'hosts', 'full') });
  host.faults.full = /srv/;
  const full = await lab.ssh.upload('k3s-gpu-01', '/srv/x', 'x', { mode: '0644' }).catch((e) => e);
  assert.match(full.output, /No space left on device/);
});

test('a file that is not there is undefined; bytes of a megabyte arrive', async () => {
  assert.equal(await lab.ssh.readFile(HOST, '/no/such/file'), { ok: true, value: undefined });
  const big = 'zeile ü\n'.repeat(120_000);
  await lab.ssh.upload(HOST, '/srv/big', big, { mode: '0644' });
  assert.equal(await lab.ssh.readFile(HOST, '/srv/big'), { ok: true, value: big });
});

test('output is bounded: beginning and end are kept', async () => {
  const { stdout, truncated } = await lab.ssh.run(HOST, [
    'sh',
    '-c',
    'echo first; head -c 12000000 /dev/zero | tr "\\0" x; echo last',
  ]);
  assert.is(truncated, true);
  assert.ok(stdout.startsWith('first\n') && stdout.endsWith('last\n') && stdout.length < 9e6);
  assert.match(stdout, /… \d+ bytes left out …/);
});

test('bounded output counts what it leaves out', () => {
  const output = new BoundedOutput(4);
  for (const chunk of ['ab', 'cdef', 'ghijkl', 'mnopqrstuv']) output.push(Buffer.from(chunk));
  assert.is(output.text(), 'abcd\n… 14 bytes left out …\nstuv');
  const small = new BoundedOutput(4);
  small.push(Buffer.from('abcdefgh'));
  assert.equal([small.text(), small.truncated], ['abcdefgh', false]);
});

test('sudo runs as root without asking', async () => {
  assert.is((await lab.ssh.run(HOST, ['id', '-u'])).stdout, '1000\n');
  assert.is((await lab.ssh.run(HOST, ['id', '-u'], { sudo: true })).stdout, '0\n');
});

test('a sudo password goes to sudo and never into the command', async () => {
  const other = await testLab({ SUDO_PASSWORD: 'geheim-1234' });
  try {
    const asking = await other.start(HOST, { sudoPassword: 'geheim-1234' });
    await other.start('k3s-cp-02');
    const cat = ['sh', '-c', 'id -u; cat'];
    for (const host of [HOST, 'k3s-cp-02']) {
      const { stdout } = await other.ssh.run(host, cat, { sudo: true, stdin: 'input\n' });
      assert.is(stdout, '0\ninput\n', host);
    }
    assert.not.ok(asking.commands.some((command) => command.includes('geheim')));
  } finally {
    await other.close();
  }
});

test('sudo that wants a password, of which there is none: an error by name, and a value for readers', async () => {
  await lab.start('k3s-gpu-01', { folder: join(lab.folder, 'hosts', 'asks'), sudoPassword: 'other' });
  const said = /k3s-gpu-01: sudo asks ops for a password, and there is none to give/;
  assert.match(await message(lab.ssh.run('k3s-gpu-01', ['true'], { sudo: true })), said);
  assert.match(await message(lab.ssh.upload('k3s-gpu-01', '/etc/x', 'x', { mode: '0644', sudo: true })), said);
  const answer = await lab.ssh.readFile('k3s-gpu-01', '/etc/hostname', { sudo: true });
  assert.match(reason(answer), said);
  assert.match(answer.ok ? '' : String(answer.fix), /SUDO_PASSWORD/);
});

test('a sudo password that is wrong is told as such', async () => {
  const other = await testLab({ SUDO_PASSWORD: 'geheim-1234' });
  try {
    await other.start(HOST, { sudoPassword: 'another-1234' });
    assert.match(await message(other.ssh.run(HOST, ['true'], { sudo: true })), /does not take SUDO_PASSWORD for ops/);
  } finally {
    await other.close();
  }
});

test('forward leads through the host to where it can reach', async () => {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await new Promise((done) => echo.once('listening', done));
  const { port } = echo.address() as { port: number };
  lab.world.route = (_host, address, wanted) =>
    address === '10.43.0.10' && wanted === 5432 ? { host: '127.0.0.1', port } : undefined;
  const forward = await lab.ssh.forward(HOST, '10.43.0.10', 5432);
  const said = await new Promise<string>((done) => {
    const socket = connect(forward.port, '127.0.0.1', () => socket.end('hello'));
    socket.on('data', (data) => done(data.toString()));
  });
  assert.is(said, 'hello');
  await forward.close();
  const nowhere = await lab.ssh.forward(HOST, '10.43.0.11', 5432);
  const ended = await new Promise<string>((done) => {
    const socket = connect(nowhere.port, '127.0.0.1');
    socket
      .on('close', () => done('closed'))
      .on('data', () => done('data'))
      .on('error', () => {});
  });
  assert.is(ended, 'closed');
  await nowhere.close();
  echo.close();
});

test('a key that is not there and no agent: says what to do', async () => {
  const { key } = lab.lab.config.ssh;
  const agent = process.env.SSH_AUTH_SOCK;
  delete process.env.SSH_AUTH_SOCK;
  lab.lab.config.ssh.key = '/nowhere/id_ed25519';
  const other = connectSsh(lab.context);
  const error = await other.run(HOST, ['true']).catch((e) => e);
  lab.lab.config.ssh.key = key;
  if (agent) process.env.SSH_AUTH_SOCK = agent;
  assert.match(`${error.message} ${error.fix}`, /ssh\.key: \/nowhere\/id_ed25519: .* ssh-keygen -t ed25519/);
});

test('an open connection does not keep a script alive', async () => {
  const code = `
    import { openLab } from ${JSON.stringify(resolve('lib/lab-context.ts'))};
    import { endpointsFromFile } from ${JSON.stringify(resolve('lib/ports/endpoints.ts'))};
    import { connectSsh } from ${JSON.stringify(resolve('lib/ports/ssh.ts'))};
    const { lab, secrets, settings } = openLab(${JSON.stringify(lab.lab.paths.config)}, {});
    lab.config.ssh.key = ${JSON.stringify(lab.lab.config.ssh.key)};
    const endpoints = endpointsFromFile(${JSON.stringify(lab.endpoints.file)});
    const ssh = connectSsh({ lab, secrets, settings, endpoints });
    process.stdout.write((await ssh.run('${HOST}', ['hostname'])).stdout);
    await ssh.forward('${HOST}', '10.43.0.10', 5432);`;
  const script = join(lab.folder, 'ends.mts');
  writeFileSync(script, code);
  const run = promisify(execFile)(process.execPath, ['--import', 'tsx', script], {
    timeout: 20_000,
    cwd: dirname(resolve('package.json')),
  });
  assert.is((await run).stdout, 'k3s-cp-01\n');
});

test('a rebooted host keeps its key; a new disk has a new one', async () => {
  const spec = {
    ...{ name: 'x', address: '10.20.11.99', user: 'ops', sshKeys: [], cores: 1, memoryMib: 1, diskBytes: 1 },
  };
  const first = await startHost({ ...spec, folder: join(lab.folder, 'x') }, lab.world);
  await first.stop();
  const again = await startHost({ ...spec, folder: join(lab.folder, 'x') }, lab.world);
  await again.stop();
  const other = await startHost({ ...spec, folder: join(lab.folder, 'y') }, lab.world);
  await other.stop();
  assert.is(first.hostKey, again.hostKey);
  assert.is.not(first.hostKey, other.hostKey);
});

test.run();
