import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { withNamespaces } from './namespaces/enter.ts';
import { type NamespaceLab, startNamespaceLab } from './namespaces/lab.ts';
import { missingForClient } from './namespaces/packages.ts';

/**
 * The scripts of the chain on hosts of their own: real OpenSSH, sudo, shells, apt, mount and NFS servers, over a real network.
 * K3s, systemd and the Proxmox API are the lab's emulators, called through stand-ins on the hosts.
 */
const test = suite('the chain on real hosts');
withNamespaces(test, import.meta.url, declare, missingForClient);

function declare(): void {
  let lab: NamespaceLab;
  const NODES = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
  const SUDO = 'correct horse';

  test.before(async () => {
    lab = await startNamespaceLab({
      storage: true,
      env: [`SUDO_PASSWORD=${SUDO}`],
      // Each a login shell of its own, and one whose sudo wants a password.
      hosts: {
        'k3s-cp-01': { shell: '/bin/dash', sudoPassword: SUDO },
        'k3s-cp-02': { shell: '/bin/bash' },
        'k3s-gpu-01': { shell: '/opt/lab/ash' },
      },
    });
  });
  test.after(() => lab.close());

  for (const [name, steps] of [
    ['install-k3s', 24],
    ['install-metallb', 4],
    ['setup-nfs', 9],
    ['setup-ingress', 7],
  ] as const) {
    test(`${name} builds, proves, and has nothing to do a second time`, async () => {
      const { code, stderr } = await lab.script(name, '--yes');
      assert.is(code, 0, stderr);
      assert.match(stderr, /(\d+) of \1 proofs hold/);
      assert.match(stderr, `${name}: ${steps} changes`);
      const again = await lab.script(name, '--yes');
      assert.is(again.code, 0, again.stderr);
      assert.match(again.stderr, `${name}: nothing to do`);
    });
  }

  test('who may not mount was refused by the NFS server itself, in both directions and versions', async () => {
    const { stderr } = await lab.script('setup-nfs', '--yes');
    const refused = stderr.split('\n').filter((line) => / cannot mount .*: refused: /.test(line));
    assert.is(refused.length, 10, stderr);
    assert.match(stderr, /✓ k3s-cp-01 cannot mount unas:.*VMStorage: refused: mount.nfs: access denied by server/);
    assert.match(stderr, /✓ pve-02 cannot mount unas:.*K3sStorage: refused: mount.nfs: access denied by server/);
    assert.match(stderr, /✓ k3s-gpu-01 cannot mount synology:.*: refused: /);
    assert.match(stderr, /✓ pve-03 cannot mount synology:.*: refused: hidden from it/);
  });

  test('an export that is open to everybody is told, whatever the settings say', async () => {
    const unas = lab.nas.get('unas');
    const path = '/var/nfs/shared/VMStorage';
    const before = unas?.clients[path] ?? [];
    unas!.clients[path] = [...before, '10.20.11.0/24'];
    await unas!.serve();
    const { code, stderr } = await lab.script('setup-nfs', '--yes');
    unas!.clients[path] = before;
    await unas!.serve();
    assert.is(code, 1);
    assert.match(stderr, /✗ k3s-cp-01 cannot mount unas:.*VMStorage: it could mount: the export is open to it/);
  });

  test('nothing of the proofs is left, on no host and no NAS', async () => {
    for (const name of [...NODES, 'pve-01', 'pve-02', 'pve-03']) {
      assert.not.match(await lab.host(name).run('cat /proc/mounts'), /nfs/, name);
      assert.not.match(await lab.host(name).run('ls /run'), /homelab-proof/, name);
    }
    for (const nas of lab.nas.values())
      for (const { name } of nas.config.exports) assert.equal(readdirSync(nas.folderOf(name)), [], name);
  });

  test('config.yaml is root’s own on every node, and nothing temporary lies beside it', () => {
    for (const name of NODES) {
      const folder = join(lab.host(name).root, 'etc/rancher/k3s');
      const { mode, uid } = statSync(join(folder, 'config.yaml'));
      assert.equal({ mode: mode & 0o777, uid }, { mode: 0o600, uid: 0 }, name);
      assert.equal(
        readdirSync(folder).filter((file) => !/^(config|k3s)\.yaml$/.test(file)),
        [],
        name,
      );
      assert.ok(existsSync(join(lab.host(name).root, 'var/lib/dpkg/info/nfs-common.list')), 'apt installed it');
    }
  });
}

test.run();
