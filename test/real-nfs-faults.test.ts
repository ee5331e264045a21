import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Ran } from './lab-scripts.ts';
import { withNamespaces } from './namespaces/enter.ts';
import { type NamespaceLab, startNamespaceLab } from './namespaces/lab.ts';
import type { NasServer } from './namespaces/nas.ts';
import { missingForClient } from './namespaces/packages.ts';

/**
 * What goes wrong with NFS, with real NFS servers and real mounts: a plain Linux server, which the scripts set, and one that is
 * set by hand. Each fault is named, leaves nothing half-done, and once it is mended the next run proves everything.
 */
const test = suite('NFS faults on real hosts');
withNamespaces(test, import.meta.url, declare, missingForClient);

const EXPORTS = '/etc/exports.d/homelab.exports';
const VMS = '/var/nfs/shared/VMStorage';

function declare(): void {
  let lab: NamespaceLab;
  let unas: NasServer;

  test.before(async () => {
    lab = await startNamespaceLab({ storage: true, edit: (text) => text.replace('kind: unifi ', 'kind: linux ') });
    unas = lab.nas.get('unas')!;
    const { code, stderr } = await lab.script('install-k3s', '--yes');
    assert.is(code, 0, stderr);
  });
  test.after(() => lab.close());

  const run = (): Promise<Ran> => lab.script('setup-nfs', '--yes');
  /** The lab as it should be, and nothing left on it. */
  const converges = async (): Promise<void> => {
    const { code, stderr } = await run();
    assert.is(code, 0, stderr);
    assert.match(stderr, /(\d+) of \1 proofs hold/);
    assert.equal(await lab.plannedBy('setup-nfs'), []);
    for (const host of lab.hosts.values()) {
      assert.not.match(await host.run('cat /proc/mounts'), /fuse\.nfs/, host.name);
      assert.not.match(await host.run('ls /run'), /homelab-proof/, host.name);
    }
    for (const nas of lab.nas.values())
      for (const { name } of nas.config.exports) assert.equal(readdirSync(nas.folderOf(name)), [], name);
  };

  test('a Linux NAS is set over SSH, and its clients are who homelab.yaml says', async () => {
    await converges();
    assert.match(unas.host.readFile(EXPORTS) ?? '', `${VMS} 10.20.11.11(rw`);
    assert.equal(unas.clients[VMS], ['10.20.11.11', '10.20.11.12', '10.20.11.13']);
  });

  test('the NAS is off: said once, before anything is changed', async () => {
    await lab.powerOff('unas');
    const { code, stderr } = await run();
    assert.is(code, 1);
    assert.match(stderr, /blocker: unas .*does not answer/);
    assert.not.match(stderr, '✓ ');
    await lab.boot('unas');
    await converges();
  });

  test('its NFS server is down, the machine is not', async () => {
    await unas.stop();
    const { code, stderr } = await run();
    assert.is(code, 1);
    assert.match(stderr, /blocker: unas \(10\.20\.10\.20\): NFS \(port 2049\) does not answer/);
    await unas.serve();
    await converges();
  });

  test('an export is missing', async () => {
    const synology = lab.nas.get('synology')!;
    const before = synology.clients;
    synology.clients = {};
    await synology.serve();
    const { code, stderr } = await run();
    assert.is(code, 1);
    assert.match(
      stderr,
      /✗ synology has the export \/volume1\/k3s-backups: the NAS has no export .*, or hides it from 10\.20\.11\.80; so say k3s-cp-01, k3s-cp-02/,
    );
    synology.clients = before;
    await synology.serve();
    await converges();
  });

  test('somebody else’s line opens an export to everybody', async () => {
    unas.host.writeFile('/etc/exports', `${VMS} 10.20.11.0/24(rw)\n`);
    await unas.host.run('exportfs -ra');
    const { code, stderr } = await run();
    assert.is(code, 1);
    assert.match(stderr, /unas exports .*VMStorage to 10\.20\.11\.0\/24 too, which homelab\.yaml does not allow/);
    assert.match(stderr, /✗ k3s-cp-02 cannot mount unas:.*VMStorage: it could mount: the export is open to it/);
    unas.host.writeFile('/etc/exports', '');
    await unas.host.run('exportfs -ra');
    await converges();
  });

  test('a stale handle: the disk behind an export was replaced while the server ran', async () => {
    const folder = unas.folderOf('VMStorage');
    rmSync(folder, { recursive: true });
    mkdirSync(folder);
    const { code, stderr } = await run();
    assert.is(code, 1);
    assert.match(
      stderr,
      /✗ unas has the export .*VMStorage: stale file handle: .*; so say pve-01, pve-02, pve-03; to fix: `exportfs -ra`/,
    );
    await lab.powerOff('unas');
    await lab.boot('unas');
    await converges();
  });

  test('mount says yes, and nothing is mounted: no proof holds, and nothing is written to the local disk', async () => {
    const node = lab.host('k3s-cp-01');
    const real = '/usr/sbin/mount.nfs';
    await node.run(`mv ${real} ${real}.real; printf '#!/bin/sh\\nexit 0\\n' > ${real}; chmod 755 ${real}`);
    const { code, stderr } = await run();
    assert.is(code, 1);
    assert.match(stderr, /✗ k3s-cp-01 can use unas:.*K3sStorage: mount said yes, and nothing is mounted/);
    assert.match(stderr, /✓ k3s-cp-02 can use unas:.*K3sStorage/);
    await node.run(`mv ${real}.real ${real}`);
    await converges();
  });

  test('the NAS dies after it is mounted, before anything is written: the proof ends, and nothing stays', async () => {
    const node = lab.host('k3s-cp-01');
    const real = '/usr/bin/mountpoint';
    // What looks at the mount stops once, with unas just mounted, until the NAS is gone.
    node.writeFile(
      '/opt/lab/mountpoint',
      `#!/bin/sh
if grep -q "^$UNAS:.*[ ]$1 fuse" /proc/mounts && mkdir /opt/lab/mounted 2>/dev/null; then
  for i in 1 2 3 4 5 6 7 8; do if [ ! -e /opt/lab/gone ]; then sleep 1; fi; done
  exit 0
fi
exec ${real}.real "$@"
`.replace('$UNAS', unas.host.address.replaceAll('.', '\\.')),
      0o755,
    );
    await node.run(`mv ${real} ${real}.real; cp /opt/lab/mountpoint ${real}`);
    const ended = run();
    while (!existsSync(join(node.root, 'opt/lab/mounted'))) await new Promise((resolve) => setTimeout(resolve, 50));
    await unas.stop();
    node.writeFile('/opt/lab/gone', '');
    const { code, stderr } = await ended;
    assert.is(code, 1);
    assert.match(stderr, /✗ k3s-cp-01 can use unas:.*K3sStorage: /, stderr);
    assert.not.match(await node.run('cat /proc/mounts'), /homelab-proof/);
    assert.not.match(await node.run('ls /run'), /homelab-proof/);
    await node.run(`mv ${real}.real ${real}`);
    await unas.serve();
    // Other hosts may have been a step further: what they had written they could not remove any more.
    for (const { name } of unas.config.exports)
      for (const left of readdirSync(unas.folderOf(name))) {
        assert.match(left, /^homelab-proof-/);
        rmSync(join(unas.folderOf(name), left), { recursive: true });
      }
    await converges();
  });

  test('a firewall between one node and the NAS', async () => {
    lab.network.block('unas', 2049, { from: '10.20.11.81' });
    const { code, stderr } = await run();
    assert.is(code, 1);
    assert.match(
      stderr,
      /blocker: unas \(10\.20\.10\.20\): NFS \(port 2049\) does not answer k3s-cp-02, though it answers others/,
    );
    lab.network.unblock('unas');
    await converges();
  });
}

test.run();
