import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LEFTOVERS, UNINSTALL } from '../lib/render/k3s-uninstall.ts';

type Context = {
  folder: string;
  put: (path: string, text?: string) => void;
  run: (text: string) => { code: number; stdout: string; stderr: string };
};
const Script = suite<Context>('uninstalling K3s, in a real shell');

Script.before.each((context) => {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-uninstall-'));
  context.folder = folder;
  context.put = (path, text = '') => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text, { mode: 0o755 });
  };
  context.put(
    'bin/systemctl',
    '#!/bin/sh\necho "$*" >> "$FAKE/systemctl"; if [ "$1" = is-active ]; then cat "$FAKE/state"; fi\n',
  );
  context.put('state', 'inactive\n');
  context.put('bin/findmnt', '#!/bin/sh\ncat "$FAKE/mounted"\n');
  context.put('mounted', '/\n');
  context.run = (text) => {
    // Every absolute path of theirs is one of the test's folder.
    const moved = text.replaceAll(/(?<![\w}*"/])\/(var|etc|usr|run|proc)\//g, `${folder}/$1/`);
    const moving = moved.replaceAll(/"\/(etc|usr)\//g, `"${folder}/$1/`);
    assert.not.match(moving, /(^|[\s=]|(?<!\*)["'])\/(var|etc|usr|run|proc)\//m, 'nothing of this machine is touched');
    const { status, stdout, stderr } = spawnSync('sh', ['-s'], {
      ...{ input: moving, encoding: 'utf8' },
      env: { PATH: `${folder}/bin:${process.env.PATH}`, FAKE: folder },
    });
    return { code: status ?? -1, stdout, stderr };
  };
});
Script.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

const K3S = [
  ...['var/lib/rancher/k3s/server/token', 'etc/rancher/k3s/config.yaml', 'etc/rancher/node/password'],
  ...['var/lib/kubelet/config.yaml', 'run/k3s/containerd.sock', 'usr/local/bin/k3s', 'usr/local/bin/k3s-killall.sh'],
  ...['etc/systemd/system/k3s.service', 'etc/systemd/system/k3s.service.env', 'etc/cron.d/homelab-etcd-snapshots'],
  ...['var/lib/homelab/k3s-install.sh', 'var/lib/homelab/etcd-snapshots.state'],
];
const OTHERS = ['etc/cron.d/other', 'usr/local/bin/helm', 'var/lib/homelab/x', 'var/lib/rancher/rke2/y', 'run/other'];

Script('all of K3s and of ours goes; what others put there stays', ({ folder, put, run }) => {
  for (const path of [...K3S, ...OTHERS]) put(path);
  symlinkSync('k3s', join(folder, 'usr/local/bin/kubectl'));
  symlinkSync('helm', join(folder, 'usr/local/bin/crictl'));
  const { code, stderr } = run(UNINSTALL);
  assert.equal([code, stderr], [0, '']);
  for (const path of [...K3S, 'etc/rancher', 'usr/local/bin/kubectl', 'var/lib/kubelet'])
    assert.not(existsSync(join(folder, path)), path);
  for (const path of [...OTHERS, 'usr/local/bin/crictl']) assert.ok(existsSync(join(folder, path)), path);
  assert.match(
    readFileSync(join(folder, 'systemctl'), 'utf8'),
    /^stop k3s\ndisable k3s\nstop k3s-agent\ndaemon-reload\n$/,
  );
  assert.is(run(LEFTOVERS).stdout, 'end\n');
});

Script('K3s’s own script is called first', ({ folder, put, run }) => {
  put(
    'usr/local/bin/k3s-agent-uninstall.sh',
    '#!/bin/sh\n[ -f "$FAKE/var/lib/rancher/k3s/x" ] && touch "$FAKE/called"\n',
  );
  put('var/lib/rancher/k3s/x');
  assert.is(run(UNINSTALL).code, 0);
  assert.ok(existsSync(join(folder, 'called')));
});

Script(
  'where something is mounted nothing at all is removed, and K3s’s own script, which would empty it, is not run',
  ({ folder, put, run }) => {
    put('var/lib/kubelet/pods/1/volumes/nfs/precious');
    put('var/lib/rancher/k3s/x');
    put('mounted', `/\n${folder}/var/lib/kubelet/pods/1/volumes/nfs\n`);
    const { code, stderr } = run(UNINSTALL);
    assert.is(code, 1);
    assert.match(stderr, 'var/lib/kubelet stays: something is still mounted in it');
    assert.ok(existsSync(join(folder, 'var/lib/kubelet/pods/1/volumes/nfs/precious')));
    assert.ok(existsSync(join(folder, 'var/lib/rancher/k3s/x')), 'nothing is half-done');
  },
);

Script('what is left is named', ({ folder, put, run }) => {
  for (const path of ['etc/systemd/system/k3s-agent.service', 'var/lib/homelab/k3s-config.sha256']) put(path);
  put('proc/77/cmdline', '/usr/local/bin/k3s\0server\0');
  put('proc/78/cmdline', '/usr/bin/k3s-like\0');
  put('proc/79/cmdline', 'containerd-shim-runc-v2\0-address\0/run/k3s/containerd/containerd.sock\0');
  assert.equal(run(LEFTOVERS).stdout.trim().split('\n').sort(), [
    `${folder}/var/lib/homelab/k3s-config.sha256`,
    'end',
    'the process 77 (/usr/local/bin/k3s server )',
    'the process 79 (containerd-shim-runc-v2 -address /run/k3s/containerd/containerd.sock )',
    'the unit k3s-agent',
  ]);
});

Script('what a server has of etcd, and volumes, are named one by one; and whether it runs', ({ folder, put, run }) => {
  const db = 'var/lib/rancher/k3s/server/db';
  put('etc/systemd/system/k3s.service');
  put('state', 'active\n');
  for (const path of [`${db}/etcd/member/x`, `${db}/snapshots/a-1`, `${db}/snapshots/b-2`, `${db}.before-restore-1/x`])
    put(path);
  for (const path of ['var/lib/homelab/etcd-before-reset-1/x', 'var/lib/rancher/k3s/storage/pvc-1/x']) put(path);
  assert.equal(run(LEFTOVERS).stdout.replaceAll(`${folder}/`, '/').trim().split('\n').sort(), [
    '/var/lib/homelab/etcd-before-reset-1',
    '/var/lib/rancher/k3s',
    ...[`/${db}.before-restore-1`, `/${db}/etcd`, `/${db}/snapshots/a-1`, `/${db}/snapshots/b-2`],
    '/var/lib/rancher/k3s/storage/pvc-1',
    'end',
    'the unit k3s, which runs',
  ]);
});

for (const [name, text] of Object.entries({ LEFTOVERS, UNINSTALL }))
  if (spawnSync('shellcheck', ['--version']).status === 0)
    Script(`shellcheck finds nothing in ${name}`, () => {
      assert.is(spawnSync('shellcheck', ['-s', 'sh', '-'], { input: text, encoding: 'utf8' }).stdout, '');
    });
  else Script.skip(`shellcheck is not installed: ${name}`);

Script.run();
