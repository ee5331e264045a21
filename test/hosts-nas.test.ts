import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { RunningHost } from '../lib/lab/hosts/index.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

const test = suite('hosts: nas');
const NODE = 'k3s-cp-01';
const PVE = 'pve-01';
const UNAS = '10.20.10.20';
const K3S = '/var/nfs/shared/K3sStorage';
const VM = '/var/nfs/shared/VMStorage';
let lab: TestLab;
let node: RunningHost;

test.before(async () => {
  lab = await testLab();
  node = await lab.start(NODE);
  await lab.start(PVE, { user: 'root' });
  await lab.ssh.run(NODE, ['apt-get', 'install', '-y', 'nfs-common'], { sudo: true });
  await lab.ssh.run(NODE, ['mkdir', '-p', '/mnt/a', '/mnt/b'], { sudo: true });
  await lab.ssh.run(PVE, ['mkdir', '-p', '/mnt/a']);
});
test.after(() => lab.close());

const root = (host: string, ...argv: string[]) => lab.ssh.run(host, argv, { sudo: true });
const mount = (host: string, source: string, point = '/mnt/a', options = 'nfsvers=3') =>
  root(host, 'mount', '-t', 'nfs', '-o', options, source, point);

for (const [host, path, code] of [
  [NODE, K3S, 0],
  [NODE, VM, 32],
  [PVE, VM, 0],
  [PVE, K3S, 32],
] as const)
  test(`${host} ${code === 0 ? 'may' : 'may not'} mount ${path}`, async () => {
    const answer = await mount(host, `${UNAS}:${path}`);
    const denied = `mount.nfs: access denied by server while mounting ${UNAS}:${path}\n`;
    assert.equal([answer.code, answer.stderr], [code, code === 0 ? '' : denied]);
    if (code === 0) assert.is((await root(host, 'umount', '/mnt/a')).code, 0);
  });

for (const [name, source, options, said] of [
  ['an export that is not there', `${UNAS}:/nope`, 'nfsvers=3', /reason given by server: No such file or directory/],
  ['a server that is not there', '10.20.10.99:/x', 'nfsvers=3', /mount\.nfs: Connection timed out/],
  ['a version that the NAS has not', `${UNAS}:${K3S}`, 'nfsvers=4.1', /mount\.nfs: Protocol not supported/],
] as const)
  test(`${name}: exit code 32 and mount's words`, async () => {
    const { code, stderr } = await mount(NODE, source, '/mnt/a', options);
    assert.is(code, 32);
    assert.match(stderr, said);
  });

test('what is written in the mount point is on the NAS, and the other way round', async () => {
  const folder = lab.nas.folderOf('unas', K3S) ?? '';
  await mount(NODE, `${UNAS}:${K3S}`);
  await root(NODE, 'sh', '-c', 'mkdir -p /mnt/a/sub && echo from-node > /mnt/a/sub/f');
  assert.is(readFileSync(join(folder, 'sub/f'), 'utf8'), 'from-node\n');
  writeFileSync(join(folder, 'g'), 'from-nas\n');
  assert.is((await root(NODE, 'cat', '/mnt/a/g')).stdout, 'from-nas\n');
  assert.is((await root(NODE, 'sh', '-c', 'cd /mnt/a/sub && pwd -P')).stdout, '/mnt/a/sub\n');
  assert.is((await root(NODE, 'find', '/mnt/a', '-type', 'f', '-name', 'g')).stdout, '/mnt/a/g\n');
  assert.is(
    (await root(NODE, 'findmnt', '-n', '-o', 'SOURCE,FSTYPE', '--target', '/mnt/a/sub')).stdout,
    `${UNAS}:${K3S} nfs\n`,
  );
  const json = JSON.parse(
    (await root(NODE, 'findmnt', '--json', '--mountpoint', '/mnt/a', '-o', 'TARGET,SOURCE,FSTYPE')).stdout,
  );
  assert.equal(json, { filesystems: [{ target: '/mnt/a', source: `${UNAS}:${K3S}`, fstype: 'nfs' }] });
  assert.is((await root(NODE, 'umount', '/mnt/a')).code, 0);
  assert.is((await root(NODE, 'ls', '-A', '/mnt/a')).stdout, '');
  assert.is((await root(NODE, 'findmnt', '--mountpoint', '/mnt/a')).code, 1);
  assert.is((await root(NODE, 'umount', '/mnt/a')).stderr, 'umount: /mnt/a: not mounted.\n');
});

test('two mount points of one export are told apart', async () => {
  await mount(NODE, `${UNAS}:${K3S}`, '/mnt/a');
  await mount(NODE, `${UNAS}:${K3S}`, '/mnt/b');
  assert.is((await root(NODE, 'umount', '/mnt/b')).code, 0);
  assert.is((await root(NODE, 'findmnt', '--mountpoint', '/mnt/a')).code, 0);
  assert.is((await root(NODE, 'findmnt', '--mountpoint', '/mnt/b')).code, 1);
  await root(NODE, 'umount', '/mnt/a');
});

test('what lay in a mount point is covered, not lost', async () => {
  await root(NODE, 'sh', '-c', 'echo local > /mnt/b/local');
  await mount(NODE, `${UNAS}:${K3S}`, '/mnt/b');
  assert.is((await root(NODE, 'cat', '/mnt/b/local')).code, 1);
  await root(NODE, 'umount', '/mnt/b');
  assert.is((await root(NODE, 'cat', '/mnt/b/local')).stdout, 'local\n');
});

test('mounting needs a mount point, root and the client package', async () => {
  assert.match((await mount(NODE, `${UNAS}:${K3S}`, '/mnt/none')).stderr, /mount point \/mnt\/none does not exist/);
  assert.match((await lab.ssh.run(NODE, ['mount', `${UNAS}:${K3S}`, '/mnt/a'])).stderr, /must be superuser/);
  await root(NODE, 'apt-get', 'remove', '-y', 'nfs-common');
  assert.match((await mount(NODE, `${UNAS}:${K3S}`)).stderr, /bad option; for several filesystems/);
  await root(NODE, 'apt-get', 'install', '-y', 'nfs-common');
});

test('a NAS that is down times out, and its port is closed', async () => {
  lab.nas.setDown('unas', true);
  assert.match((await mount(NODE, `${UNAS}:${K3S}`)).stderr, /Connection timed out/);
  assert.match((await root(NODE, 'showmount', '-e', UNAS)).stderr, /RPC: Timed out/);
  assert.throws(() => lab.context.endpoints.dial(UNAS, 2049), /ECONNREFUSED/);
  lab.nas.setDown('unas', false);
  assert.is(lab.context.endpoints.dial(UNAS, 2049).host, '127.0.0.1');
  assert.match(
    (await root(NODE, 'showmount', '-e', UNAS)).stdout,
    /K3sStorage 10\.20\.11\.80,10\.20\.11\.81,10\.20\.11\.85/,
  );
});

test('fstab is mounted by mount -a and at a boot; a boot forgets other mounts', async () => {
  const line = `${UNAS}:${K3S} /mnt/a nfs nfsvers=3,hard 0 0\n`;
  await lab.ssh.upload(NODE, '/etc/fstab', line, { mode: '0644', sudo: true });
  await root(NODE, 'sh', '-c', 'rm -f /mnt/b/local');
  await mount(NODE, `${UNAS}:${K3S}`, '/mnt/b');
  assert.is((await root(NODE, 'mount', '-a')).code, 0);
  assert.is((await root(NODE, 'findmnt', '--mountpoint', '/mnt/a')).code, 0);
  await node.stop();
  node = await lab.start(NODE);
  assert.is((await root(NODE, 'findmnt', '--mountpoint', '/mnt/a')).code, 0);
  assert.is((await root(NODE, 'findmnt', '--mountpoint', '/mnt/b')).code, 1);
  assert.is((await root(NODE, 'ls', '-A', '/mnt/b')).stdout, '');
});

test('csi-driver-nfs gets a directory for an allowed node only', () => {
  assert.equal(lab.nas.provision(UNAS, K3S, 'ns-claim', '10.20.11.85').ok, true);
  assert.equal(lab.nas.provision(UNAS, K3S, 'ns-claim', '10.20.11.11').ok, false);
  assert.equal(lab.nas.provision(UNAS, K3S, '../x', '10.20.11.85').ok, false);
});

test('the operator finds an export as a folder', () => {
  assert.is(
    lab.context.endpoints.mount(`10.20.11.10:/volume1/k3s-backups`),
    lab.nas.folderOf('synology', '/volume1/k3s-backups'),
  );
});

test('an export that lets everybody in can be had', () => {
  assert.not.ok(lab.nas.allowed('unas', VM, '10.20.11.80'));
  lab.nas.faults.open.add('unas');
  assert.ok(lab.nas.allowed('unas', VM, '10.20.11.80'));
  lab.nas.faults.open.delete('unas');
});

test.run();
