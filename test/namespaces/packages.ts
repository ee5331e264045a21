import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NamespaceHost } from './host.ts';

const FOLDER = '/run/lab/apt';
const CLIENT = fileURLToPath(new URL('./mount-nfs.c', import.meta.url));

/** What the NFS client is built from; undefined: all of it is there. */
export function missingForClient(): string | undefined {
  try {
    execFileSync('sh', ['-c', 'command -v cc dpkg-deb && pkg-config --exists fuse3 libnfs'], { stdio: 'ignore' });
    return existsSync('/dev/fuse') ? undefined : '/dev/fuse';
  } catch {
    return 'cc, pkg-config, libfuse3-dev, libnfs-dev';
  }
}

/**
 * A package source for the hosts, in a folder: the real apt and dpkg install from it. Its nfs-common is not Debian's (the
 * kernel here has no NFS): it has mount.nfs of this folder, a real NFS client in user space.
 * @returns the folder, to be mounted at /opt/lab/apt
 */
export function packageSource(): string {
  const tree = join(FOLDER, 'tree');
  mkdirSync(join(tree, 'sbin'), { recursive: true });
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  const helper = join(tree, 'sbin', 'mount.nfs');
  execFileSync('sh', ['-c', 'cc -O1 -o "$1" "$2" $(pkg-config --cflags --libs fuse3 libnfs)', 'cc', helper, CLIENT]);
  chmodSync(helper, 0o755);
  cpSync(helper, join(tree, 'sbin', 'mount.nfs4'));
  const control = [
    ...['Package: nfs-common', 'Version: 1:99', 'Architecture: all', 'Maintainer: the tests <root@localhost>'],
    ...['Description: a user-space NFS client under the name of the real package'],
  ];
  writeFileSync(join(tree, 'DEBIAN', 'control'), `${control.join('\n')}\n`);
  const file = 'nfs-common.deb';
  execFileSync('dpkg-deb', ['--build', '--root-owner-group', '-Znone', tree, join(FOLDER, file)], { stdio: 'ignore' });
  const bytes = readFileSync(join(FOLDER, file));
  const index = [
    ...[`Filename: ./${file}`, `Size: ${statSync(join(FOLDER, file)).size}`],
    `SHA256: ${createHash('sha256').update(bytes).digest('hex')}`,
  ];
  writeFileSync(join(FOLDER, 'Packages'), `${[...control, ...index].join('\n')}\n`);
  return FOLDER;
}

/**
 * Makes the source a host's only one, and takes away what this machine has of the real nfs-common: the host is to install it.
 * The host does not run yet.
 */
export function useSource(host: NamespaceHost): void {
  rmSync(join(host.root, 'etc/apt/sources.list.d'), { recursive: true, force: true });
  host.writeFile('/etc/apt/sources.list', 'deb [trusted=yes] file:/opt/lab/apt ./\n');
  const status = host.readFile('/var/lib/dpkg/status') ?? '';
  const others = status.split(/\n\n/).filter((stanza) => !/^Package: nfs-common$/m.test(stanza));
  host.writeFile('/var/lib/dpkg/status', others.join('\n\n'));
  for (const name of ['mount.nfs', 'mount.nfs4']) rmSync(join(host.root, 'sbin', name), { force: true });
}

/** What a Proxmox node has from the start. */
export function installClient(host: NamespaceHost): void {
  for (const name of ['mount.nfs', 'mount.nfs4'])
    cpSync(join(FOLDER, 'tree/sbin', name), join(host.root, 'sbin', name));
}
