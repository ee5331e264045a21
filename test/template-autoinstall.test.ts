import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { parse } from 'yaml';
import { TOOLKIT } from '../lib/paths.ts';
import { renderAutoinstall } from '../lib/render/autoinstall.ts';

/** The answers to Ubuntu's installer, as they are committed: keys and values as its autoinstall reference has them. */
const test = suite("the installer's answers");
const template = readFileSync(join(TOOLKIT, 'templates/autoinstall/user-data.yaml'), 'utf8');
const publicKey = 'ssh-ed25519 AAAA ops@lab: "x" # y';
const text = renderAutoinstall(template, {
  hostname: 'ubuntu-24-04',
  timezone: 'Europe/Berlin',
  user: 'ops',
  publicKey,
});

type Answers = {
  autoinstall: Record<string, unknown> & {
    storage: unknown;
    ssh: Record<string, unknown>;
    packages: string[];
    'user-data': { hostname: string; disable_root: boolean; users: Record<string, unknown>[] };
  };
};
const { autoinstall } = parse(text) as Answers;

test('cloud-init takes it for its own, and the installer for answers of version 1', () => {
  assert.ok(text.startsWith('#cloud-config\n'));
  assert.equal(autoinstall.version, 1);
});
test('only keys that the installer knows', () => {
  const known =
    'version locale timezone keyboard refresh-installer early-commands storage ssh packages updates user-data';
  assert.deepEqual(Object.keys(autoinstall), [...known.split(' '), 'late-commands']);
});
test('one administrator, by key only', () => {
  assert.deepEqual(autoinstall.ssh, { 'install-server': true, 'allow-pw': false });
  assert.deepEqual(autoinstall['user-data'].users, [
    {
      ...{ name: 'ops', lock_passwd: true, shell: '/bin/bash', groups: ['adm', 'sudo'] },
      ...{ sudo: 'ALL=(ALL) NOPASSWD:ALL', ssh_authorized_keys: [publicKey] },
    },
  ]);
  assert.equal(autoinstall['user-data'].disable_root, true);
  assert.ok(!/passw(or)?d:|identity/.test(text.replaceAll('lock_passwd: true', '')), 'no password, hashed or not');
});
test('LVM, of which / takes all; no swap', () => {
  assert.deepEqual(autoinstall.storage, { layout: { name: 'lvm', 'sizing-policy': 'all' }, swap: { size: 0 } });
});
test('guest agent, and what growth and NFS need', () => {
  for (const name of ['qemu-guest-agent', 'cloud-guest-utils', 'lvm2', 'nfs-common'])
    assert.ok(autoinstall.packages.includes(name), name);
  assert.deepEqual(autoinstall['late-commands'], ['curtin in-target -- systemctl enable qemu-guest-agent']);
});
test("the installer's own SSH server is not taken for the installed system's", () => {
  assert.deepEqual(autoinstall['early-commands'], ['systemctl stop ssh.service ssh.socket']);
});
test('values are filled in, and nothing stays empty', () => {
  assert.deepEqual(
    [autoinstall.timezone, autoinstall['user-data'].hostname, autoinstall['refresh-installer']],
    ['Europe/Berlin', 'ubuntu-24-04', { update: false }],
  );
  assert.ok(!/: (""|\[\])$/m.test(text));
});
test('a template without the places for them is a defect', () => {
  assert.throws(
    () => renderAutoinstall('autoinstall: {}', { hostname: 'x', timezone: 'UTC', user: 'ops', publicKey }),
    /user-data\.yaml has no autoinstall\.timezone/,
  );
});

test.run();
