import { spawn, spawnSync } from 'node:child_process';
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
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Answer, Outcome } from '../lib/ports/types.ts';
import { type Errand, errandCommand } from '../lib/render/nfs-errand.ts';
import { judgeAllowed, judgeDenied, judgeFolder, type Trouble } from '../lib/render/nfs-judge.ts';

/** Stand-ins for what needs privileges: `mount` moves the mount point aside and puts a link to the export there. */
const MOUNT = `#!/bin/sh
[ "$1 $2 $3" = '-t nfs -o' ] || { echo "mount: bad usage: $*" >&2; exit 1; }
printf '%s %s\\n' "$4" "$5" > "$FAKE/mounted"
if [ -f "$FAKE/answer" ]; then cat "$FAKE/answer" >&2; exit 32; fi
if [ -f "$FAKE/slow" ]; then sleep 0.4; fi
if [ -f "$FAKE/phantom" ]; then exit 0; fi
rmdir "$6" && ln -s "$FAKE/export" "$6"
`;
const MOUNTPOINT = `#!/bin/sh
if [ -f "$FAKE/stale" ]; then echo "mountpoint: $1: Stale file handle" >&2; exit 1; fi
if [ -L "$1" ]; then echo "$1 is a mountpoint"; else echo "$1 is not a mountpoint"; exit 32; fi
`;
/** The real one, which gives the errand a second instead of twenty. */
const TIMEOUT = `#!/bin/sh
kill=$2
if [ "$1 $3" = '-k 20' ]; then shift 3; exec $REAL_TIMEOUT -k "$kill" 1 "$@"; fi
exec $REAL_TIMEOUT "$@"
`;
const SHOWMOUNT = `#!/bin/sh
[ "$*" = '-e --no-headers 10.20.10.20' ] || exit 1
cat "$FAKE/list" 2>/dev/null
`;
const UMOUNT = `#!/bin/sh
[ "$1" != -l ] || shift
[ -L "$1" ] || { echo "umount: $1: not mounted." >&2; exit 32; }
if [ -e "$FAKE/closing" ]; then rm "$FAKE/closing"; echo "umount: $1: target is busy." >&2; exit 32; fi
rm "$1" && mkdir "$1"
`;

const REAL_TIMEOUT = spawnSync('sh', ['-c', 'command -v timeout'], { encoding: 'utf8' }).stdout.trim();

type Context = {
  folder: string;
  run: (shell: string, errand: Errand) => Outcome;
  argv: (errand: Errand) => string[];
  env: NodeJS.ProcessEnv;
};
const Script = suite<Context>('the proof of an export, in a real shell');
Script.before.each((context) => {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-nfs-'));
  mkdirSync(join(folder, 'bin'));
  mkdirSync(join(folder, 'export'));
  writeFileSync(join(folder, 'bin', 'mount'), MOUNT, { mode: 0o755 });
  const programs = { umount: UMOUNT, timeout: TIMEOUT, mountpoint: MOUNTPOINT, showmount: SHOWMOUNT };
  for (const [name, text] of Object.entries(programs)) writeFileSync(join(folder, 'bin', name), text, { mode: 0o755 });
  context.folder = folder;
  context.env = { PATH: `${folder}/bin:${process.env.PATH}`, FAKE: folder, REAL_TIMEOUT };
  context.argv = (errand) => errandCommand(join(folder, 'proof-1'), '10.20.10.20:/var/x', '3', errand);
  context.run = (shell, errand) => {
    const [, ...args] = context.argv(errand);
    const { status, stdout, stderr } = spawnSync(shell, args, {
      encoding: 'utf8',
      env: context.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return { code: status ?? -1, stdout, stderr };
  };
});
Script.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

const points = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith('proof-'));

const shells = ['dash', 'bash'].filter((shell) => spawnSync(shell, ['-c', ':']).status === 0);
for (const shell of shells) {
  Script(`${shell}: an allowed host writes, reads, and leaves nothing`, ({ run, folder }) => {
    assert.equal(run(shell, { kind: 'write', name: 'n' }), { code: 0, stdout: '', stderr: '' });
    assert.equal(readdirSync(join(folder, 'export')), []);
    assert.equal(points(folder), []);
    assert.is(
      readFileSync(join(folder, 'mounted'), 'utf8'),
      'nfsvers=3,soft,timeo=50,retrans=2,retry=0,nolock 10.20.10.20:/var/x\n',
    );
  });
  Script(`${shell}: a refused host says so, and leaves no mount point`, ({ run, folder }) => {
    writeFileSync(join(folder, 'answer'), 'mount.nfs: access denied by server while mounting 10.20.10.20:/var/x\n');
    const outcome = run(shell, { kind: 'knock' });
    assert.is(outcome.code, 32);
    assert.is(judgeDenied({ ok: true, value: outcome }, false).ok, true);
    assert.equal(points(folder), []);
  });
  Script(`${shell}: a knock writes nothing`, ({ run, folder }) => {
    assert.is(run(shell, { kind: 'knock' }).code, 0);
    assert.equal(readdirSync(join(folder, 'export')), []);
  });
  Script(`${shell}: busy for a moment is no mount that stays`, ({ run, folder }) => {
    writeFileSync(join(folder, 'closing'), '');
    assert.equal(run(shell, { kind: 'knock' }), { code: 0, stdout: '', stderr: '' });
    assert.is(existsSync(join(folder, 'closing')), false);
    assert.equal(points(folder), []);
  });
  Script(`${shell}: an export that cannot be written`, ({ run, folder }) => {
    mkdirSync(join(folder, 'export', 'n')); // a folder in the way: root of this machine can write everywhere
    const outcome = run(shell, { kind: 'write', name: 'n' });
    assert.is(outcome.code, 73);
    assert.equal(points(folder), []);
  });
  Script(`${shell}: a folder is found, removed when empty, and kept when not`, ({ run, folder }) => {
    const look: Errand = { kind: 'look', name: 'a-b', text: 'a word' };
    assert.is(run(shell, look).code, 66);
    assert.is(run(shell, { kind: 'remove', name: 'a-b' }).code, 0);
    mkdirSync(join(folder, 'export', 'a-b'));
    assert.is(run(shell, look).code, 74);
    writeFileSync(join(folder, 'export', 'a-b', 'homelab-proof'), 'a word\n');
    assert.is(run(shell, look).code, 0);
    writeFileSync(join(folder, 'export', 'a-b', 'data'), '');
    assert.is(run(shell, { kind: 'remove', name: 'a-b' }).code, 75);
    assert.is(existsSync(join(folder, 'export', 'a-b', 'data')), true);
    rmSync(join(folder, 'export', 'a-b', 'data'));
    assert.is(run(shell, { kind: 'remove', name: 'a-b' }).code, 0);
    assert.equal(readdirSync(join(folder, 'export')), []);
  });
  Script(`${shell}: mount says yes and mounts nothing: nothing is written`, ({ run, folder }) => {
    writeFileSync(join(folder, 'phantom'), '');
    const outcome = run(shell, { kind: 'write', name: 'n' });
    assert.is(outcome.code, 77);
    assert.match(outcome.stderr, /is not a mountpoint/);
    assert.equal(points(folder), [], 'nothing kept the mount point from being removed');
    assert.is(judgeAllowed({ ok: true, value: outcome }, '/var/x', '10.0.0.1').trouble, 'unmounted');
  });
  Script(`${shell}: a stale handle is unmounted, and said`, ({ run, folder }) => {
    writeFileSync(join(folder, 'stale'), '');
    const outcome = run(shell, { kind: 'write', name: 'n' });
    assert.is(judgeAllowed({ ok: true, value: outcome }, '/var/x', '10.0.0.1').trouble, 'stale');
    assert.equal(points(folder), []);
  });
  Script(`${shell}: the NAS goes away after the mount: the errand ends, and the host is clean`, ({ run, folder }) => {
    spawnSync('mkfifo', [join(folder, 'export', 'n')]); // writing to it waits for ever, as a NAS that went away
    const outcome = run(shell, { kind: 'write', name: 'n' });
    assert.is(outcome.code, 78);
    assert.equal(points(folder), []);
    assert.is(judgeAllowed({ ok: true, value: outcome }, '/var/x', '10.0.0.1').trouble, 'silent');
  });
  Script(`${shell}: who is told no asks what there is, but for who shall not know`, ({ run, folder }) => {
    writeFileSync(join(folder, 'answer'), 'mount.nfs: access denied by server while mounting 10.20.10.20:/var/x\n');
    writeFileSync(join(folder, 'list'), '/var/y  10.0.0.1\n');
    const outcome = run(shell, { kind: 'write', name: 'n' });
    assert.equal(judgeAllowed({ ok: true, value: outcome }, '/var/x', '10.0.0.1'), {
      ...{ ok: false, trouble: 'missing' },
      detail: 'the NAS shows 10.0.0.1 no export /var/x (only /var/y)',
    });
    assert.is(run(shell, { kind: 'knock' }).stdout, '');
  });
  Script(`${shell}: interrupted while it mounts, it unmounts and leaves no mount point`, async (context) => {
    const { argv, env, folder } = context;
    writeFileSync(join(folder, 'slow'), '');
    const [, ...args] = argv({ kind: 'knock' });
    const child = spawn(shell, args, { env, stdio: 'ignore' });
    for (let i = 0; i < 100 && !existsSync(join(folder, 'mounted')); i++) await new Promise((r) => setTimeout(r, 10));
    child.kill('SIGTERM');
    assert.is(await new Promise((resolve) => child.on('close', resolve)), 129);
    assert.equal(points(folder), []);
  });
}
Script('what a killed one left goes with the next; what runs stays', ({ run, folder }) => {
  const ended = spawnSync('true').pid;
  symlinkSync(join(folder, 'export'), join(folder, `proof-2.${ended}`));
  mkdirSync(join(folder, `proof-3.${ended}`));
  mkdirSync(join(folder, `proof-4.${process.pid}`));
  assert.is(run('sh', { kind: 'write', name: 'n' }).code, 0);
  assert.equal(points(folder), [`proof-4.${process.pid}`]);
});
Script('NFSv4 needs no nolock', () => {
  assert.is(
    errandCommand('/run/x', 'a:/b', '4.1', { kind: 'knock' })[6],
    'nfsvers=4.1,soft,timeo=50,retrans=2,retry=0',
  );
});
Script.run();

const Judging = suite('what a mount proves');
const answer = (code: number, stderr = '', stdout = ''): Answer<Outcome> => ({
  ok: true,
  value: { code, stdout, stderr },
});
const denied: [what: string, answer: Answer<Outcome>, exists: boolean, ok: boolean, detail: string][] = [
  [
    'access denied',
    answer(32, 'mount.nfs: access denied by server while mounting a:/b'),
    false,
    true,
    'refused: mount.nfs: access denied by server while mounting a:/b',
  ],
  [
    'permission denied',
    answer(32, 'mount.nfs4: mounting a:/b failed, reason given by server: Permission denied'),
    false,
    true,
    'refused: mount.nfs4: mounting a:/b failed, reason given by server: Permission denied',
  ],
  [
    'hidden by NFSv4',
    answer(32, 'mount.nfs4: mounting a:/b failed, reason given by server: No such file or directory'),
    true,
    true,
    'refused: hidden from it (mount.nfs4: mounting a:/b failed, reason given by server: No such file or directory)',
  ],
  [
    'nobody could mount it: it may just not exist',
    answer(32, 'mount.nfs4: mounting a:/b failed, reason given by server: No such file or directory'),
    false,
    false,
    'not proven: mount.nfs4: mounting a:/b failed, reason given by server: No such file or directory',
  ],
  ['timeout', answer(32, 'mount: no answer within 30 s'), true, false, 'not proven: mount: no answer within 30 s'],
  [
    'connection refused',
    answer(32, 'mount.nfs: Connection refused'),
    true,
    false,
    'not proven: mount.nfs: Connection refused',
  ],
  [
    'no NFS client',
    answer(
      32,
      'mount: /run/x: bad option; for several filesystems you might need a /sbin/mount.<type> helper program.',
    ),
    true,
    false,
    'not proven: mount: /run/x: bad option; for several filesystems you might need a /sbin/mount.<type> helper program.',
  ],
  ['it could', answer(0), true, false, 'it could mount: the export is open to it'],
  [
    'it could, and was not unmounted',
    answer(76, 'umount: busy'),
    true,
    false,
    'it could mount: the export is open to it',
  ],
  ['no mount point', answer(70, 'mkdir: Permission denied'), true, false, 'not proven: mkdir: Permission denied'],
  ['no SSH', { ok: false, reason: 'no route' }, true, false, 'not proven: no route'],
];
for (const [what, outcome, exists, ok, detail] of denied)
  Judging(`denied: ${what}`, () => {
    const judged = judgeDenied(outcome, exists);
    assert.equal({ ok: judged.ok, detail: judged.detail }, { ok, detail });
  });

const DENIED = 'mount.nfs: access denied by server while mounting a:/b';
const allowed: [what: string, answer: Answer<Outcome>, ok: boolean, detail: string, trouble?: Trouble][] = [
  ['fine', answer(0), true, 'mounted, written, read back, unmounted'],
  ['refused', answer(32, `${DENIED}\n`), false, `the NAS has no export /b, or not for 10.0.0.1: ${DENIED}`, 'denied'],
  [
    'refused, by a NAS that says for whom it is',
    answer(32, DENIED, '/b   10.0.0.8,10.0.0.9\n/c *\n'),
    false,
    `the NAS does not let 10.0.0.1 in, only 10.0.0.8, 10.0.0.9: ${DENIED}`,
    'denied',
  ],
  [
    'refused, by a NAS that has no such export',
    answer(32, DENIED, '/a b   10.0.0.8\n/c *\n'),
    false,
    'the NAS shows 10.0.0.1 no export /b (only /a b, /c)',
    'missing',
  ],
  [
    'NFSv4: no such export',
    answer(32, 'mount.nfs4: mounting a:/b failed, reason given by server: No such file or directory'),
    false,
    'the NAS has no export /b, or hides it from 10.0.0.1',
    'missing',
  ],
  [
    'off',
    answer(32, 'mount.nfs: Connection timed out'),
    false,
    'the NAS does not answer: mount.nfs: Connection timed out',
    'silent',
  ],
  [
    'no way to it',
    answer(32, 'mount.nfs: No route to host'),
    false,
    'the NAS does not answer: mount.nfs: No route to host',
    'silent',
  ],
  [
    'gone while it was written to',
    answer(73, 'sh: 1: echo: echo: Input/output error'),
    false,
    'mounted, and then the NAS did not answer: sh: 1: echo: echo: Input/output error',
    'silent',
  ],
  [
    'mounted, and the folder behind it was replaced',
    answer(73, 'homelab-work: 4: cannot create /run/homelab-proof-1.2/n: Directory nonexistent'),
    false,
    'stale file handle: the NAS does not find any more what it exports (its disk or folder was replaced or remounted while its NFS server ran): homelab-work: 4: cannot create /run/homelab-proof-1.2/n: Directory nonexistent',
    'stale',
  ],
  [
    'another version of NFS',
    answer(32, 'mount.nfs: requested NFS version or transport protocol is not supported'),
    false,
    'the NAS does not speak the NFS version of nas[].nfs_version: mount.nfs: requested NFS version or transport protocol is not supported',
  ],
  [
    'no NFS client',
    answer(
      32,
      'mount: /run/x: bad option; for several filesystems you might need a /sbin/mount.<type> helper program.',
    ),
    false,
    'not proven: the NFS client (nfs-common) is not installed: mount: /run/x: bad option; for several filesystems you might need a /sbin/mount.<type> helper program.',
  ],
  [
    'stale at the mount',
    answer(32, 'mount.nfs: Stale file handle'),
    false,
    'stale file handle: the NAS does not find any more what it exports (its disk or folder was replaced or remounted while its NFS server ran): mount.nfs: Stale file handle',
    'stale',
  ],
  [
    'squashed',
    answer(73, 'sh: 1: cannot create /run/x: Permission denied'),
    false,
    'mounted, but could not write: is root squashed, or the export read-only?: sh: 1: cannot create /run/x: Permission denied',
    'readonly',
  ],
  ['the connection broke', answer(129), false, 'not proven: exit code 129'],
  ['no SSH', { ok: false, reason: 'no route' }, false, 'not proven: no route'],
];
for (const [what, outcome, ok, detail, trouble] of allowed)
  Judging(`allowed: ${what}`, () => {
    const judged = judgeAllowed(outcome, '/b', '10.0.0.1');
    assert.equal([judged.ok, judged.detail, judged.trouble], [ok, detail, trouble]);
  });
Judging('a folder', () => {
  assert.equal(judgeFolder(answer(66)), { ok: false, detail: 'the folder is not there' });
  assert.is(judgeFolder(answer(74)).detail, 'what the pod wrote is not in it');
  assert.equal(judgeFolder(answer(75, 'rmdir: not empty')), {
    ok: false,
    detail: 'the folder could not be removed: rmdir: not empty',
  });
  assert.is(judgeFolder(answer(0)).ok, true);
});
Judging.run();
