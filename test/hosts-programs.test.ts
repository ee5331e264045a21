import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { RunningHost } from '../lib/lab/hosts/index.ts';
import { addressOf } from '../lib/lookup.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

const test = suite('hosts: programs');
const HOST = 'k3s-cp-01';
let lab: TestLab;
let host: RunningHost;
const started: string[] = [];
let failing = false;

test.before(async () => {
  lab = await testLab();
  lab.world.units.set('k3s', {
    start: async (on) => {
      if (!failing) started.push(on.name);
      on.log('k3s', failing ? 'FATA[0000] cannot bind' : 'k3s is up');
      return { ok: !failing };
    },
    stop: async (on) => {
      started.splice(started.indexOf(on.name), 1);
    },
  });
  host = await lab.start(HOST);
  await lab.start('k3s-cp-02');
});
test.after(() => lab.close());

const root = (...argv: string[]) => lab.ssh.run(HOST, argv, { sudo: true });
const user = (...argv: string[]) => lab.ssh.run(HOST, argv);

test('a unit without a file is not found; with one it starts, is enabled, and shows', async () => {
  assert.equal(await root('systemctl', 'start', 'k3s'), {
    ...{ code: 5, stdout: '', stderr: 'Failed to start k3s.service: Unit k3s.service not found.\n' },
  });
  assert.is((await user('systemctl', 'is-active', 'k3s')).code, 4);
  await lab.ssh.upload(HOST, '/etc/systemd/system/k3s.service', '[Service]\n', { mode: '0644', sudo: true });
  assert.equal(await user('systemctl', 'is-enabled', 'k3s'), { code: 1, stdout: 'disabled\n', stderr: '' });
  assert.is((await root('systemctl', 'daemon-reload')).code, 0);
  assert.match((await root('systemctl', 'enable', '--now', 'k3s')).stderr, /Created symlink/);
  assert.equal(await user('systemctl', 'is-active', 'k3s.service'), { code: 0, stdout: 'active\n', stderr: '' });
  assert.is((await user('systemctl', 'is-enabled', 'k3s')).stdout, 'enabled\n');
  assert.equal(started, [HOST]);
  const { stdout } = await user('systemctl', 'show', '-p', 'ActiveState,UnitFileState,LoadState', 'k3s');
  assert.is(stdout, 'ActiveState=active\nUnitFileState=enabled\nLoadState=loaded\n');
});

test('changing a unit needs root', async () => {
  const { code, stderr } = await user('systemctl', 'restart', 'k3s');
  assert.equal([code, stderr], [1, 'Failed to restart k3s.service: Interactive authentication required.\n']);
});

test('a start that fails says so, and the journal says why', async () => {
  failing = true;
  const { code, stderr } = await root('systemctl', 'restart', 'k3s');
  failing = false;
  assert.is(code, 1);
  assert.match(stderr, /Job for k3s\.service failed because the control process exited with error code/);
  assert.equal(await user('systemctl', 'is-active', 'k3s'), { code: 3, stdout: 'failed\n', stderr: '' });
  const { stdout } = await user('journalctl', '-u', 'k3s', '-n', '2', '--no-pager');
  assert.match(stdout, /k3s\[1000\]: FATA\[0000\] cannot bind\n.*Failed with result 'exit-code'/);
  assert.is(
    (await user('journalctl', '-u', 'k3s', '-n1', '-o', 'cat')).stdout,
    "k3s.service: Failed with result 'exit-code'.\n",
  );
});

test('what is enabled starts at the next boot, what is disabled does not', async () => {
  await root('systemctl', 'restart', 'k3s');
  await host.stop();
  assert.equal(started, []);
  host = await lab.start(HOST);
  await new Promise((done) => setTimeout(done, 50));
  assert.equal(started, [HOST]);
  await root('systemctl', 'disable', '--now', 'k3s');
  await host.stop();
  host = await lab.start(HOST);
  await new Promise((done) => setTimeout(done, 50));
  assert.equal(started, []);
});

test('apt-get records packages, needs root, and can fail', async () => {
  const query = ['dpkg-query', '-W', '-f', '${Package} ${db:Status-Status}\\n', 'nfs-common'];
  assert.equal(await user(...query), {
    code: 1,
    stdout: '',
    stderr: 'dpkg-query: no packages found matching nfs-common\n',
  });
  assert.match((await user('apt-get', 'install', '-y', 'nfs-common')).stderr, /are you root\?/);
  host.faults.apt = 'Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (unattended-upgr)';
  assert.equal((await root('apt-get', 'install', '-y', 'nfs-common')).code, 100);
  host.faults.apt = undefined;
  assert.is((await root('env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', 'install', '-y', 'nfs-common')).code, 0);
  assert.is((await user(...query)).stdout, 'nfs-common installed\n');
  assert.match((await user('dpkg', '-s', 'nfs-common')).stdout, /Status: install ok installed/);
});

for (const [argv, stdout] of [
  [['hostname'], 'k3s-cp-01\n'],
  [['hostname', '-I'], '10.20.11.80\n'],
  [['nproc'], '4\n'],
  [['uname', '-s'], 'Linux\n'],
  [['id', '-un'], 'ops\n'],
  [['whoami'], 'ops\n'],
  [['cloud-init', 'status', '--wait'], 'status: done\n'],
  [['timedatectl', 'show', '-p', 'NTPSynchronized', '--value'], 'yes\n'],
  [['lsblk', '-bdno', 'SIZE', '/dev/sda'], `${50 * 2 ** 30}\n`],
  [['findmnt', '-n', '-o', 'SOURCE,FSTYPE', '--target', '/var/lib'], '/dev/mapper/ubuntu--vg-ubuntu--lv ext4\n'],
  [['df', '-B1', '--output=size', '/'], `1-blocks\n${47 * 2 ** 30}\n`],
  [['cat', '/proc/meminfo'], `MemTotal:       ${4096 * 1024} kB\n`],
] as const)
  test(argv.join(' '), async () => assert.is((await user(...argv)).stdout, stdout));

test('owner and mode of files: chown is recorded, stat and a rename know it', async () => {
  await root('sh', '-c', 'echo x > /srv/f; chown ops:adm /srv/f; mv /srv/f /srv/g; chmod 640 /srv/g');
  assert.is((await user('stat', '-c', '%a %U:%G %n', '/srv/g')).stdout, '640 ops:adm /srv/g\n');
  assert.match((await user('chown', 'root', '/srv/g')).stderr, /Operation not permitted/);
  await root('install', '-D', '-m', '0600', '-o', 'root', '-g', 'root', '/srv/g', '/srv/deep/h');
  assert.is((await user('stat', '-c', '%a %U', '/srv/deep/h')).stdout, '600 root\n');
});

test('neighbours answer ARP, pings and port 22; addresses that nobody has do not', async () => {
  const other = addressOf(lab.lab, 'k3s-cp-02');
  assert.is((await root('arping', '-c', '1', '-I', 'eth0', other)).code, 0);
  assert.is((await root('arping', '-D', '-c', '1', '-I', 'eth0', '10.20.11.83')).code, 0);
  assert.is((await root('arping', '-D', '-c', '1', other)).code, 1);
  assert.is((await user('ping', '-c', '1', '-W', '1', other)).code, 0);
  assert.is((await user('ping', '-c', '1', '10.20.11.83')).code, 1);
  assert.is((await user('nc', '-z', '-w', '2', other, '22')).code, 0);
  assert.is((await user('nc', '-z', '-w', '2', '10.20.11.83', '22')).code, 1);
});

test('the journal of a host and its files are there for the lab', async () => {
  host.writeFile('/etc/x/y', 'z', 0o600);
  assert.is(host.readFile('/etc/x/y'), 'z');
  assert.is(host.readFile('/etc/none'), undefined);
});

test.run();
