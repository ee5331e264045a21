import type { Nas } from '../config/schema.ts';
import type { Allowed } from './exports.ts';

/**
 * What to enter at NAS whose exports no script can set, field by field, as their own pages name them. Of UniFi Drive
 * only what its documentation and its users agree on: its pages change from version to version.
 */
export function settingsText(nas: readonly { nas: Nas; allowed: readonly Allowed[] }[]): string {
  return nas
    .map((each) => [...(each.nas.kind === 'synology' ? synology : unifi)(each.nas, each.allowed)].join('\n'))
    .join('\n\n');
}

function* synology({ name, address, nfs_version }: Nas, allowed: readonly Allowed[]): Generator<string> {
  yield `${name} (${address}), DSM 7: Control Panel → File Services → NFS`;
  yield field('Enable NFS service', 'on');
  yield field('Maximum NFS protocol', `NFSv${nfs_version === '4.0' ? '4' : nfs_version} or newer`);
  for (const { export: wanted, addresses } of allowed) {
    yield '';
    yield `${name}: Control Panel → Shared Folder → ${wanted.path.split('/').at(-1)} → Edit → NFS Permissions → Create`;
    yield `  a rule for each of these, and no other; the mount path that is shown below them is ${wanted.path}`;
    for (const each of addresses) yield field('Hostname or IP', each);
    yield field('Privilege', 'Read/Write');
    yield field('Squash', 'No mapping');
    yield field('Security', 'sys');
    yield field('Enable asynchronous', 'off');
  }
}

function* unifi({ name, address, nfs_version }: Nas, allowed: readonly Allowed[]): Generator<string> {
  yield `${name} (${address}), UniFi Drive: Settings → Services`;
  yield field('NFS', 'on');
  yield field('(NFS version)', `homelab.yaml says ${nfs_version}; a UNAS serves 3`);
  for (const { export: wanted, addresses } of allowed) {
    yield '';
    yield `${name}: the NFS settings of the shared drive ${wanted.path.split('/').at(-1)}`;
    yield `  its clients are these, and no other; they mount ${address}:${wanted.path}`;
    for (const each of addresses) yield field('client', each);
    yield field('squash mode', 'Collaborative (All Squash) lets all of them write, as one user;');
    yield field('', 'Isolated (No Root Squash) where programs must own their files. That cannot be');
    yield field('', 'taken back, and takes the drive out of the UI, out of SMB and of quotas.');
  }
}

function field(name: string, value: string): string {
  return `  ${name.padEnd(22)} ${value}`;
}
