import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TOOLKIT } from '../lib/paths.ts';

/** Stand-ins for what needs privileges. A mount is a link to the export in the place of the mount point. */
const PROGRAMS: Record<string, string> = {
  mount: `[ "$1 $2 $3" = '-t nfs -o' ] || { echo "mount: bad usage: $*" >&2; exit 1; }
echo "$4 $5" >> "$FAKE/mounted"
if [ -f "$FAKE/refused" ]; then cat "$FAKE/refused" >&2; exit 32; fi
if [ -f "$FAKE/slow" ]; then sleep 0.4; fi
if [ -f "$FAKE/nothing" ]; then exit 0; fi
rmdir "$6" && ln -s "$FAKE/export" "$6"
`,
  umount: `[ "$1" != -l ] || shift
[ -L "$1" ] || { echo "umount: $1: not mounted." >&2; exit 32; }
rm "$1" && mkdir "$1"
`,
  findmnt: '[ -L "$5" ] && echo nfs4\n',
  // A snapshot of a second that a test says.
  k3s: `case "$*" in
  'etcd-snapshot save --name '*)
    if [ -f "$FAKE/down" ]; then echo 'level=fatal msg="connection refused"' >&2; exit 1; fi
    name=$4-cp-01-$(cat "$FAKE/now")
    echo "the objects of $name" > "$FAKE/var/lib/rancher/k3s/server/db/snapshots/$name"
    echo "time=x level=info msg=\\"Snapshot $name saved.\\"" >&2 ;;
  'etcd-snapshot delete '*) rm "$FAKE/var/lib/rancher/k3s/server/db/snapshots/$3" ;;
  *) exit 64 ;;
esac
`,
  logger: 'echo "$*" >> "$FAKE/syslog"\n',
};

type Ran = { code: number; stdout: string; stderr: string };
type Context = {
  folder: string;
  run: (shell: string, ...args: string[]) => Ran;
  save: (shell: string, second: number, ...more: string[]) => Ran;
};
const Script = suite<Context>('etcd-snapshots.sh, in a real shell');
const SOURCE = '192.0.2.10:/volume1/backups';
const SHARE = 'etcd/lab/cp-01';

Script.before.each((context) => {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-etcd-'));
  context.folder = folder;
  for (const name of ['bin', 'export', 'run', 'var/lib/rancher/k3s/server/db/snapshots'])
    mkdirSync(join(folder, name), { recursive: true });
  for (const [name, text] of Object.entries(PROGRAMS))
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${text}`, { mode: 0o755 });
  writeFileSync(join(folder, 'var/lib/rancher/k3s/server/token'), 'K10abc::server:s3cret\n');
  const text = readFileSync(join(TOOLKIT, 'templates/etcd-snapshots.sh'), 'utf8');
  writeFileSync(join(folder, 'script'), text.replaceAll(/(?<![\w)])\/(run|var)\//g, `${folder}/$1/`));
  context.run = (shell, ...args) => {
    const [program = '', ...applet] = shell.split(' ');
    const { status, stdout, stderr } = spawnSync(program, [...applet, join(folder, 'script'), ...args], {
      ...{ encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] },
      env: { PATH: `${folder}/bin:${process.env.PATH}`, FAKE: folder },
    });
    return { code: status ?? -1, stdout, stderr };
  };
  context.save = (shell, second, ...more) => {
    writeFileSync(join(folder, 'now'), `${second}`);
    return context.run(shell, 'save', SOURCE, 'soft', 'etcd/lab', 'cp-01', '2', ...more);
  };
});
Script.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

const there = (folder: string): string[] => {
  const place = join(folder, 'export', SHARE);
  return existsSync(place) ? readdirSync(place).sort() : [];
};
const local = (folder: string): string[] => readdirSync(join(folder, 'var/lib/rancher/k3s/server/db/snapshots')).sort();
/** Lets what was saved have arrived ten seconds after what was saved before, and long ago (or when `at` says, from now). */
function arrived({ folder }: Context, ran: Ran, at?: number): Ran {
  const name = /^snapshot=(.*)$/m.exec(state(folder))?.[1] ?? '';
  const time = Math.floor(Date.now() / 1000) + (at ?? ticks++ * 10 - 10_000);
  for (const file of [
    join(folder, 'export', SHARE, name),
    join(folder, 'var/lib/rancher/k3s/server/db/snapshots', name),
  ])
    utimesSync(file, time, time);
  return ran;
}
let ticks = 0;
const points = (folder: string): string[] => readdirSync(join(folder, 'run'));
const state = (folder: string): string => readFileSync(join(folder, 'var/lib/homelab/etcd-snapshots.state'), 'utf8');
const files = (name: string): string[] => [name, `${name}.sha256`, `${name}.token`];

const shells = ['dash', 'bash', 'busybox sh'].filter((shell) => {
  const [program = '', ...applet] = shell.split(' ');
  return spawnSync(program, [...applet, '-c', ':']).status === 0;
});
for (const shell of shells) {
  Script(`${shell}: a snapshot arrives with its hash and its token, and nothing else stays`, ({ save, folder }) => {
    assert.equal(save(shell, 100), { code: 0, stdout: '', stderr: '' });
    const name = 'homelab-cp-01-100';
    assert.equal(there(folder), files(name));
    assert.equal(points(folder), []);
    assert.is(readFileSync(join(folder, 'export', SHARE, name), 'utf8'), `the objects of ${name}\n`);
    assert.is(readFileSync(join(folder, 'export', SHARE, `${name}.token`), 'utf8'), 'K10abc::server:s3cret\n');
    assert.is(statSync(join(folder, 'export', SHARE, `${name}.token`)).mode & 0o777, 0o600);
    const { status } = spawnSync('sha256sum', ['-c', `${name}.sha256`], { cwd: join(folder, 'export', SHARE) });
    assert.is(status, 0);
    assert.is(readFileSync(join(folder, 'mounted'), 'utf8'), `soft ${SOURCE}\n`.repeat(2), 'it was read back anew');
    assert.match(state(folder), /^time=\d+\ncode=0\nsnapshot=homelab-cp-01-100\nsaid=\n$/);
    assert.match(readFileSync(join(folder, 'syslog'), 'utf8'), `-p daemon.info ${name} is at ${SOURCE}`);
  });

  Script(`${shell}: two are kept, the newest ones; what a person named, and what is another's, stays`, (context) => {
    const { save, folder } = context;
    mkdirSync(join(folder, 'export', SHARE), { recursive: true });
    for (const name of ['notes.txt', 'homelab-cp-011-50', 'homelab-cp-01-x'])
      writeFileSync(join(folder, 'export', SHARE, name), '');
    for (const second of [98, 99, 100, 101]) assert.is(save(shell, second).code, 0);
    assert.is(save(shell, 90, 'before-upgrade').code, 0);
    assert.equal(there(folder), [
      ...files('before-upgrade-cp-01-90'),
      ...files('homelab-cp-01-100'),
      ...files('homelab-cp-01-101'),
      ...['homelab-cp-01-x', 'homelab-cp-011-50', 'notes.txt'],
    ]);
    assert.equal(local(folder), [
      'before-upgrade-cp-01-90',
      ...[100, 101, 99].map((second) => `homelab-cp-01-${second}`),
    ]);
  });

  Script(
    `${shell}: what arrived last is kept, whatever the server's clock said: here it was ahead, and is mended`,
    (c) => {
      const { save, folder } = c;
      for (const second of [900, 901, 902]) assert.is(arrived(c, save(shell, second)).code, 0);
      for (const second of [100, 101]) assert.is(arrived(c, save(shell, second)).code, 0);
      assert.equal(
        there(folder),
        [100, 101].flatMap((second) => files(`homelab-cp-01-${second}`)),
      );
      assert.equal(
        local(folder),
        [100, 101, 902].map((second) => `homelab-cp-01-${second}`),
      );
    },
  );

  Script(`${shell}: the one that just came is kept, also where the clock fell back, and within one second`, (c) => {
    const { save, folder } = c;
    for (const second of [200, 201, 7]) assert.is(arrived(c, save(shell, second), 0).code, 0);
    assert.equal(there(folder), ['homelab-cp-01-201', 'homelab-cp-01-7'].flatMap(files));
  });

  Script(`${shell}: files that the NAS dated in the future are the first to go`, (c) => {
    const { save, folder } = c;
    for (const second of [98, 99]) assert.is(arrived(c, save(shell, second), 100_000).code, 0);
    for (const second of [100, 101]) assert.is(save(shell, second).code, 0);
    assert.equal(
      there(folder),
      [100, 101].flatMap((second) => files(`homelab-cp-01-${second}`)),
    );
  });

  Script(`${shell}: an export that refuses: its words, an exit code, syslog and the state say so`, (context) => {
    const { save, folder } = context;
    writeFileSync(join(folder, 'refused'), `mount.nfs: access denied by server while mounting ${SOURCE}\n`);
    const { code, stderr } = save(shell, 100);
    assert.is(code, 32);
    assert.match(stderr, `mount ${SOURCE}: mount.nfs: access denied by server`);
    assert.equal([there(folder), points(folder)], [[], []]);
    assert.match(state(folder), /\ncode=32\nsnapshot=homelab-cp-01-100\nsaid=mount .*access denied/);
    assert.match(readFileSync(join(folder, 'syslog'), 'utf8'), '-p daemon.err failed with exit code 32: mount');
  });

  Script(`${shell}: a folder that is no mount is not written to`, ({ save, folder }) => {
    writeFileSync(join(folder, 'nothing'), '');
    const { code, stderr } = save(shell, 100);
    assert.is(code, 32);
    assert.match(stderr, `is not a mount of ${SOURCE}`);
    assert.equal(points(folder), []);
  });

  Script(`${shell}: an export that cannot be written keeps what it has`, ({ save, folder }) => {
    for (const second of [98, 99]) assert.is(save(shell, second).code, 0);
    // A full NAS: root of this machine can write everywhere, so cp itself says it.
    writeFileSync(join(folder, 'bin', 'cp'), '#!/bin/sh\necho torn > "$2"; echo "cp: No space left" >&2; exit 1\n', {
      mode: 0o755,
    });
    const { code, stderr } = save(shell, 100);
    assert.is(code, 73);
    assert.match(stderr, 'could not be written: cp: No space left');
    assert.equal(there(folder), [...files('homelab-cp-01-98'), ...files('homelab-cp-01-99')]);
    assert.equal(points(folder), []);
  });

  Script(`${shell}: what does not arrive as it was sent is taken away, and nothing is pruned`, ({ save, folder }) => {
    for (const second of [98, 99]) assert.is(save(shell, second).code, 0);
    const cp = '#!/bin/sh\n/bin/cp "$@"; case $2 in *.part) echo more >> "$2" ;; esac\n';
    writeFileSync(join(folder, 'bin', 'cp'), cp, { mode: 0o755 });
    const { code, stderr } = save(shell, 100);
    assert.is(code, 74);
    assert.match(stderr, 'is not what was sent');
    assert.equal(there(folder), [...files('homelab-cp-01-98'), ...files('homelab-cp-01-99')]);
  });

  Script(`${shell}: K3s that takes none`, ({ save, folder }) => {
    writeFileSync(join(folder, 'down'), '');
    const { code, stderr } = save(shell, 100);
    assert.is(code, 70);
    assert.match(stderr, /k3s etcd-snapshot save: .*connection refused/);
    assert.not(existsSync(join(folder, 'mounted')), 'and nothing is mounted');
  });

  Script(`${shell}: ended while it mounts, it unmounts and says so`, async ({ folder }) => {
    writeFileSync(join(folder, 'slow'), '');
    writeFileSync(join(folder, 'now'), '100');
    const argv = [join(folder, 'script'), 'save', SOURCE, 'soft', 'etcd/lab', 'cp-01', '2'];
    const env = { PATH: `${folder}/bin:${process.env.PATH}`, FAKE: folder };
    const [program = '', ...applet] = shell.split(' ');
    const child = spawn(program, [...applet, ...argv], { env, stdio: 'ignore' });
    for (let i = 0; i < 500 && !existsSync(join(folder, 'mounted')); i++) await new Promise((r) => setTimeout(r, 10));
    child.kill('SIGTERM');
    assert.is(await new Promise((resolve) => child.on('close', resolve)), 129);
    assert.equal(points(folder), []);
    assert.match(state(folder), 'code=129');
    assert.match(readFileSync(join(folder, 'syslog'), 'utf8'), 'it was ended');
  });

  Script(`${shell}: ended while it writes, it takes the part away`, async ({ folder }) => {
    const cp = '#!/bin/sh\n/bin/cp "$@"; case $2 in *.part) touch "$FAKE/writing"; sleep 1 ;; esac\n';
    writeFileSync(join(folder, 'bin', 'cp'), cp, { mode: 0o755 });
    writeFileSync(join(folder, 'now'), '100');
    const argv = [join(folder, 'script'), 'save', SOURCE, 'soft', 'etcd/lab', 'cp-01', '2'];
    const env = { PATH: `${folder}/bin:${process.env.PATH}`, FAKE: folder };
    const [program = '', ...applet] = shell.split(' ');
    const child = spawn(program, [...applet, ...argv], { env, stdio: 'ignore' });
    for (let i = 0; i < 500 && !existsSync(join(folder, 'writing')); i++) await new Promise((r) => setTimeout(r, 10));
    child.kill('SIGTERM');
    assert.is(await new Promise((resolve) => child.on('close', resolve)), 129);
    assert.equal([there(folder), points(folder)], [[], []]);
  });

  Script(`${shell}: what lies there is listed; an empty export is no failure`, ({ run, save, folder }) => {
    assert.equal(run(shell, 'list', SOURCE, 'soft', 'etcd/lab'), { code: 0, stdout: '', stderr: '' });
    save(shell, 100);
    const { stdout } = run(shell, 'list', SOURCE, 'soft', 'etcd/lab');
    assert.match(stdout, /^cp-01\/homelab-cp-01-100 \d+ \d+(\.\d+)?$/m);
    assert.is(stdout.trim().split('\n').length, 3);
    assert.equal(points(folder), []);
  });

  Script(`${shell}: one is fetched, and compared`, ({ run, save, folder }) => {
    save(shell, 100);
    const to = join(folder, 'restore', 'it');
    const fetch = (name: string): Ran => run(shell, 'fetch', SOURCE, 'soft', 'etcd/lab', 'cp-01', name, to);
    assert.is(fetch('homelab-cp-01-100').code, 0);
    assert.is(readFileSync(to, 'utf8'), 'the objects of homelab-cp-01-100\n');
    assert.is(fetch('none').code, 66);
    writeFileSync(join(folder, 'export', SHARE, 'homelab-cp-01-100'), 'something else');
    rmSync(to);
    assert.is(fetch('homelab-cp-01-100').code, 74);
    assert.equal(readdirSync(join(folder, 'restore')), []);
  });

  Script(`${shell}: the token of a snapshot leaves as a hash only`, ({ run, save }) => {
    save(shell, 100);
    const { code, stdout } = run(shell, 'token', SOURCE, 'soft', 'etcd/lab', 'cp-01', 'homelab-cp-01-100');
    const hash = spawnSync('sha256sum', { input: 's3cret', encoding: 'utf8' }).stdout.slice(0, 64);
    assert.equal([code, stdout], [0, `${hash}\n`]);
    assert.is(run(shell, 'token', SOURCE, 'soft', 'etcd/lab', 'cp-01', 'none').code, 66);
  });
}

Script('parts that a killed one left a day ago go, those of today stay', ({ save, folder }) => {
  save('sh', 100);
  for (const name of ['.old.1.part', '.new.2.part']) writeFileSync(join(folder, 'export', SHARE, name), '');
  const before = new Date(Date.now() - 2 * 24 * 3600 * 1000);
  utimesSync(join(folder, 'export', SHARE, '.old.1.part'), before, before);
  assert.is(save('sh', 101).code, 0);
  assert.equal(
    there(folder).filter((name) => name.startsWith('.')),
    ['.new.2.part'],
  );
});

Script('mount points that a killed one left go with the next; what runs stays', ({ save, folder }) => {
  const ended = spawnSync('true').pid;
  mkdirSync(join(folder, 'run', `homelab-etcd-snapshots.${ended}`));
  mkdirSync(join(folder, 'run', `homelab-etcd-snapshots.${process.pid}`));
  assert.is(save('sh', 100).code, 0);
  assert.equal(points(folder), [`homelab-etcd-snapshots.${process.pid}`]);
});

if (spawnSync('shellcheck', ['--version']).status === 0)
  Script('shellcheck finds nothing', () => {
    const input = readFileSync(join(TOOLKIT, 'templates/etcd-snapshots.sh'), 'utf8');
    assert.is(spawnSync('shellcheck', ['-s', 'sh', '-'], { input, encoding: 'utf8' }).stdout, '');
  });
else Script.skip('shellcheck is not installed');

Script.run();
