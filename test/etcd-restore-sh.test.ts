import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { asideCommand, resetCommand } from '../lib/render/etcd-restore.ts';
import { KEEP, RESET_ALONE } from '../lib/render/k3s-files.ts';

/** What moves and resets etcd's data, in real shells: absolute paths lie in a folder, K3s and systemd are stand-ins. */
type Ran = { code: number; stderr: string };
type Context = {
  folder: string;
  put: (path: string, text: string) => void;
  text: (path: string) => string | undefined;
  /** Runs a script for `sh -s`. */
  run: (shell: string, command: { argv: string[]; stdin: string }) => Ran;
  /** Runs a script for `sh -c`. */
  call: (shell: string, script: string, ...args: string[]) => Ran;
  start: (shell: string, command: { argv: string[]; stdin: string }) => ChildProcess;
};
const Script = suite<Context>('scripts that move and reset etcd, in real shells');

const TOOLS = 'sh cat date mkdir mv cp rm sed tail grep tr timeout sleep touch flock'.split(' ');
const PROGRAMS: Record<string, string> = {
  systemctl: 'cat "$FAKE/unit"; grep -q "^active" "$FAKE/unit"\n',
  // Shows what it was given, and ends when a test lets it.
  k3s: `touch "$FAKE/started"
case $* in
  'server --config '*) cp -R "$(dirname "$3")" "$FAKE/seen" ;;
esac
while [ -e "$FAKE/hold" ]; do sleep 0.05; done
if [ -e "$FAKE/broken" ]; then echo 'level=fatal msg="snapshot path does not exist"'; exit 1; fi
mkdir -p "$FAKE/var/lib/rancher/k3s/server/db/etcd"
echo 'Managed etcd cluster membership has been reset, restart without --cluster-reset flag now'
`,
};

const ID = { id: '20270115T070000Z', snapshot: 'snap', target: 'cp-01' };
const SERVER = 'var/lib/rancher/k3s/server';
const KEPT = `${SERVER}/db.before-restore-${ID.id}`;
const STATE = 'var/lib/homelab/etcd-restore/state';
const CONFIG = 'etc/rancher/k3s/config.yaml';

Script.before.each((context) => {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-restore-'));
  const inside = (text: string): string => text.replaceAll(/(?<![\w)*}])\/(run|var|proc|etc)\//g, `${folder}/$1/`);
  const options = { env: { PATH: join(folder, 'bin'), FAKE: folder, HOME: folder } };
  const argvOf = (shell: string, argv: string[]): string[] => {
    const [name = '', ...applet] = shell.split(' ');
    const found = spawnSync('which', [name], { encoding: 'utf8' }).stdout.trim();
    return [found, ...applet, ...argv.map(inside)];
  };
  Object.assign(context, {
    folder,
    put: (path, text) => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    },
    text: (path) => (existsSync(join(folder, path)) ? readFileSync(join(folder, path), 'utf8') : undefined),
    run: (shell, { argv, stdin }) => {
      const [program = '', ...args] = argvOf(shell, argv.slice(1));
      const { status, stderr } = spawnSync(program, args, { ...options, input: inside(stdin), encoding: 'utf8' });
      return { code: status ?? -1, stderr };
    },
    call: (shell, script, ...words) => {
      const [program = '', ...args] = argvOf(shell, ['-c', script, 'sh', ...words]);
      const { status, stderr } = spawnSync(program, args, { ...options, encoding: 'utf8' });
      return { code: status ?? -1, stderr };
    },
    start: (shell, { argv, stdin }) => {
      const [program = '', ...args] = argvOf(shell, argv.slice(1));
      const child = spawn(program, args, { ...options, stdio: ['pipe', 'ignore', 'ignore'] });
      child.stdin.end(inside(stdin));
      return child;
    },
  } satisfies Context);
  for (const name of ['bin', 'run', 'proc', 'var/lib/homelab']) mkdirSync(join(folder, name), { recursive: true });
  for (const tool of [...TOOLS, 'dirname'])
    symlinkSync(spawnSync('which', [tool], { encoding: 'utf8' }).stdout.trim(), join(folder, 'bin', tool));
  for (const [name, text] of Object.entries(PROGRAMS))
    writeFileSync(join(folder, 'bin', name), `#!/bin/sh\n${text}`, { mode: 0o755 });
  context.put('unit', 'inactive\n');
  context.put(`${SERVER}/db/etcd/member/wal/0.wal`, 'the data of now');
  context.put(`${SERVER}/db/snapshots/snap`, 'a snapshot');
  context.put('var/lib/homelab/etcd-restore/snap', 'a snapshot');
  context.put(CONFIG, 'node-name: cp-01\nserver: https://10.20.11.81:6443\n');
});
Script.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

const ASIDE = asideCommand(ID, 'is reset');
const JOINS = asideCommand(ID, 'joins');
const RESET = resetCommand(ID);
const until = async (done: () => boolean): Promise<void> => {
  for (let i = 0; i < 1500 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(done());
};
const untouched = ({ text, folder }: Context): void => {
  assert.is(text(`${SERVER}/db/etcd/member/wal/0.wal`), 'the data of now');
  assert.not(existsSync(join(folder, KEPT)));
  assert.is(text(STATE), undefined);
  assert.is(text('started'), undefined);
};

const shells = ['dash', 'bash', 'busybox sh'].filter((shell) => {
  const [name = '', ...applet] = shell.split(' ');
  return spawnSync(name, [...applet, '-c', ':']).status === 0;
});
for (const shell of shells) {
  Script(`${shell}: the data is moved whole, snapshots stay where K3s looks for them; again it moves nothing`, (c) => {
    const { run, text, put } = c;
    assert.equal(run(shell, ASIDE), { code: 0, stderr: '' });
    assert.is(text(`${KEPT}/etcd/member/wal/0.wal`), 'the data of now');
    assert.is(text(`${SERVER}/db/snapshots/snap`), 'a snapshot');
    assert.is(text(STATE), `id=${ID.id}\nsnapshot=snap\ntarget=cp-01\nstage=aside\n`);
    put(`${SERVER}/db/etcd/member/wal/0.wal`, 'the restored');
    assert.is(run(shell, ASIDE).code, 0);
    assert.is(text(`${KEPT}/etcd/member/wal/0.wal`), 'the data of now');
    assert.is(text(`${SERVER}/db/etcd/member/wal/0.wal`), 'the restored');
  });

  Script(`${shell}: where there is no data, that is remembered, and what comes later is not moved`, (c) => {
    const { run, text, put, folder } = c;
    rmSync(join(folder, SERVER), { recursive: true });
    assert.is(run(shell, ASIDE).code, 0);
    put(`${SERVER}/db/etcd/member/wal/0.wal`, 'the restored');
    assert.is(run(shell, ASIDE).code, 0);
    assert.is(text(`${SERVER}/db/etcd/member/wal/0.wal`), 'the restored');
    assert.equal(readdirSync(join(folder, KEPT)), []);
  });

  Script(
    `${shell}: a server that joins gives up its certificates too, and takes none of those that come later`,
    (c) => {
      const { run, text, put, folder } = c;
      put(`${SERVER}/tls/server-ca.crt`, 'the CA of now');
      put(`${SERVER}/cred/passwd`, 'of now');
      const mv = '#!/bin/sh\ncase $2 in *before-restore*) exit 1 ;; esac\nexec /bin/mv "$@"\n';
      rmSync(join(folder, 'bin/mv'));
      writeFileSync(join(folder, 'bin/mv'), mv, { mode: 0o755 });
      assert.is(run(shell, JOINS).code, 1, 'killed in the middle');
      rmSync(join(folder, 'bin/mv'));
      symlinkSync('/bin/mv', join(folder, 'bin/mv'));
      assert.equal(run(shell, JOINS), { code: 0, stderr: '' });
      assert.is(text(`${KEPT}/tls/server-ca.crt`), 'the CA of now');
      assert.is(text(`${KEPT}/cred/passwd`), 'of now');
      assert.is(text(`${KEPT}/etcd/member/wal/0.wal`), 'the data of now');
      assert.equal(readdirSync(join(folder, SERVER)).sort(), ['db', `db.before-restore-${ID.id}`]);
      put(`${SERVER}/tls/server-ca.crt`, 'the CA of the restored');
      assert.is(run(shell, JOINS).code, 0);
      assert.is(text(`${SERVER}/tls/server-ca.crt`), 'the CA of the restored');
    },
  );

  Script(`${shell}: the one that is reset keeps its certificates: K3s puts them aside itself`, ({ run, text, put }) => {
    put(`${SERVER}/tls/server-ca.crt`, 'the CA of now');
    assert.is(run(shell, ASIDE).code, 0);
    assert.is(text(`${SERVER}/tls/server-ca.crt`), 'the CA of now');
  });

  Script(`${shell}: that data is being moved is noted before it is`, ({ run, text, folder }) => {
    const mv = '#!/bin/sh\ncase $2 in *before-restore*) exit 1 ;; esac\nexec /bin/mv "$@"\n';
    rmSync(join(folder, 'bin/mv'));
    writeFileSync(join(folder, 'bin/mv'), mv, { mode: 0o755 });
    assert.is(run(shell, ASIDE).code, 1);
    assert.match(text(STATE) ?? '', 'stage=aside');
    assert.is(text(`${SERVER}/db/etcd/member/wal/0.wal`), 'the data of now');
  });

  Script(`${shell}: a reset is given the configuration without the server to join, config.yaml.d too`, (c) => {
    const { run, text, put, folder } = c;
    put(`${CONFIG}.d/10-own.yaml`, '"server": https://x:6443\nkubelet-arg+:\n  - max-pods=50\n');
    put(`${CONFIG}.d/20.yml`, 'server : https://y:6443\ncluster-cidr: 10.52.0.0/16\n');
    put(`${CONFIG}.d/homelab-restore.yaml`, 'cluster-init: false\n');
    put(`${CONFIG}.d/notes.txt`, 'x');
    assert.equal(run(shell, RESET), { code: 0, stderr: '' });
    assert.is(text('seen/config.yaml'), 'node-name: cp-01\n');
    assert.equal(readdirSync(join(folder, 'seen/config.yaml.d')).sort(), ['10-own.yaml', '20.yml']);
    assert.is(text('seen/config.yaml.d/10-own.yaml'), 'kubelet-arg+:\n  - max-pods=50\n');
    assert.is(text('seen/config.yaml.d/20.yml'), 'cluster-cidr: 10.52.0.0/16\n');
    assert.match(text(STATE) ?? '', 'stage=reset');
    assert.is(text(`${SERVER}/db/etcd/homelab-restore`), `${ID.id}\n`);
    // They hold the token.
    assert.equal(readdirSync(join(folder, 'var/lib/homelab/etcd-restore')).sort(), ['reset.log', 'snap', 'state']);
  });

  Script(`${shell}: a reset that fails says so, and is none`, ({ run, text, put }) => {
    put('broken', '');
    const { code, stderr } = run(shell, RESET);
    assert.is(code, 1);
    assert.match(stderr, /ended with exit code 1; \S+reset.log has all that it said\nlevel=fatal/);
    assert.is(text(STATE), undefined);
    assert.is(text(`${SERVER}/db/etcd/homelab-restore`), undefined);
  });

  /** Every script that touches the data. */
  const all = (c: Context): Record<string, () => Ran> => ({
    aside: () => c.run(shell, ASIDE),
    reset: () => c.run(shell, RESET),
    keep: () => c.call(shell, KEEP, join(c.folder, 'var/lib/homelab')),
    'a reset of what lies there': () => c.call(shell, RESET_ALONE, 'k3s', 'server', '--cluster-reset'),
  });

  Script(
    `${shell}: a run is killed, and its reset goes on: nobody else touches the data before it has ended`,
    async (c) => {
      const { put, text, start, folder } = c;
      put('hold', '');
      const killed = start(shell, RESET);
      await until(() => existsSync(join(folder, 'started')));
      rmSync(join(folder, 'started'));
      killed.kill('SIGKILL');
      for (const [what, run] of Object.entries(all(c))) {
        const { code, stderr } = run();
        assert.is(code, 75, `${what}: ${stderr}`);
        assert.match(
          stderr,
          /^etcd is being reset here, or its data moved, by a run that goes on, or was killed/,
          what,
        );
      }
      untouched(c);
      rmSync(join(folder, 'hold'));
      await until(() => c.run(shell, ASIDE).code === 0);
      assert.match(text(STATE) ?? '', 'stage=aside');
    },
  );

  Script(`${shell}: K3s runs, as a unit or not: its data is not touched`, (c) => {
    const { put, folder } = c;
    for (const state of ['active', 'activating', 'deactivating']) {
      put('unit', `${state}\n`);
      for (const [what, run] of Object.entries(all(c)))
        assert.equal(run(), { code: 75, stderr: `k3s is ${state}\n` }, what);
    }
    put('unit', 'failed\n');
    const processes: [comm: string, cmdline: string][] = [
      ['k3s-server', '/usr/local/bin/k3s server'],
      ['k3s', 'k3s\0server\0--cluster-reset\0'],
    ];
    for (const [comm, cmdline] of processes) {
      put('proc/4711/comm', `${comm}\n`);
      put('proc/4711/cmdline', cmdline);
      for (const [what, run] of Object.entries(all(c))) {
        const { code, stderr } = run();
        assert.is(code, 75, what);
        assert.match(stderr, 'k3s server runs, not as the unit k3s: process 4711', what);
      }
    }
    untouched(c);
    // Others are no reason: a look by kubectl, our own command line.
    put('proc/4711/comm', 'k3s\n');
    put('proc/4711/cmdline', 'k3s\0kubectl\0get\0node\0');
    put('proc/4712/comm', 'timeout\n');
    put('proc/4712/cmdline', 'timeout\x009\0k3s\0server\0');
    assert.is(c.run(shell, ASIDE).code, 0);
    assert.ok(existsSync(join(folder, KEPT)));
  });

  Script(`${shell}: without flock it says so, and does nothing`, (c) => {
    rmSync(join(c.folder, 'bin/flock'));
    for (const [what, run] of Object.entries(all(c))) {
      const { code, stderr } = run();
      assert.is(code, 69, what);
      assert.match(stderr, /^flock is missing: .*util-linux/, what);
    }
    untouched(c);
  });
}

for (const [name, input] of Object.entries({ KEEP, RESET_ALONE, aside: ASIDE.stdin, reset: RESET.stdin }))
  if (spawnSync('shellcheck', ['--version']).status === 0)
    Script(`shellcheck finds nothing in ${name}`, () => {
      assert.is(spawnSync('shellcheck', ['-s', 'sh', '-'], { input, encoding: 'utf8' }).stdout, '');
    });
  else Script.skip(`shellcheck is not installed: ${name}`);

Script.run();
