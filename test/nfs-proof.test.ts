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
import { type Errand, errandCommand, judgeAllowed, judgeDenied, judgeFolder } from '../lib/render/nfs-proof.ts';

/** Stand-ins for what needs privileges: `mount` moves the mount point aside and puts a link to the export there. */
const MOUNT = `#!/bin/sh
[ "$1 $2 $3" = '-t nfs -o' ] || { echo "mount: bad usage: $*" >&2; exit 1; }
printf '%s %s\\n' "$4" "$5" > "$FAKE/mounted"
if [ -f "$FAKE/answer" ]; then cat "$FAKE/answer" >&2; exit 32; fi
if [ -f "$FAKE/slow" ]; then sleep 0.4; fi
rmdir "$6" && ln -s "$FAKE/export" "$6"
`;
const UMOUNT = `#!/bin/sh
[ "$1" != -l ] || shift
[ -L "$1" ] || { echo "umount: $1: not mounted." >&2; exit 32; }
rm "$1" && mkdir "$1"
`;

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
  writeFileSync(join(folder, 'bin', 'umount'), UMOUNT, { mode: 0o755 });
  context.folder = folder;
  context.env = { PATH: `${folder}/bin:${process.env.PATH}`, FAKE: folder };
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
  Script(`${shell}: an export that cannot be written`, ({ run, folder }) => {
    mkdirSync(join(folder, 'export', 'n')); // a folder in the way: root of this machine can write everywhere
    const outcome = run(shell, { kind: 'write', name: 'n' });
    assert.is(outcome.code, 73);
    assert.equal(points(folder), []);
  });
  Script(`${shell}: a folder is found, removed when empty, and kept when not`, ({ run, folder }) => {
    assert.is(run(shell, { kind: 'look', name: 'a-b' }).code, 66);
    assert.is(run(shell, { kind: 'remove', name: 'a-b' }).code, 0);
    mkdirSync(join(folder, 'export', 'a-b'));
    assert.is(run(shell, { kind: 'look', name: 'a-b' }).code, 0);
    writeFileSync(join(folder, 'export', 'a-b', 'data'), '');
    assert.is(run(shell, { kind: 'remove', name: 'a-b' }).code, 75);
    assert.is(existsSync(join(folder, 'export', 'a-b', 'data')), true);
    rmSync(join(folder, 'export', 'a-b', 'data'));
    assert.is(run(shell, { kind: 'remove', name: 'a-b' }).code, 0);
    assert.equal(readdirSync(join(folder, 'export')), []);
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
const answer = (code: number, stderr = ''): Answer<Outcome> => ({ ok: true, value: { code, stdout: '', stderr } });
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
  Judging(`denied: ${what}`, () => assert.equal(judgeDenied(outcome, exists), { ok, detail }));

const allowed: [what: string, answer: Answer<Outcome>, ok: boolean, detail: string][] = [
  ['fine', answer(0), true, 'mounted, written, read back, unmounted'],
  [
    'refused',
    answer(32, 'mount.nfs: access denied by server\n'),
    false,
    'could not mount: mount.nfs: access denied by server',
  ],
  [
    'squashed',
    answer(73, 'sh: 1: cannot create /run/x: Permission denied'),
    false,
    'mounted, but could not write: is root squashed, or the export read-only?: sh: 1: cannot create /run/x: Permission denied',
  ],
  ['the connection broke', answer(129), false, 'not proven: exit code 129'],
  ['no SSH', { ok: false, reason: 'no route' }, false, 'not proven: no route'],
];
for (const [what, outcome, ok, detail] of allowed)
  Judging(`allowed: ${what}`, () => assert.equal(judgeAllowed(outcome), { ok, detail }));
Judging('a folder', () => {
  assert.equal(judgeFolder(answer(66)), { ok: false, detail: 'the folder is not there' });
  assert.equal(judgeFolder(answer(75, 'rmdir: not empty')), {
    ok: false,
    detail: 'the folder could not be removed: rmdir: not empty',
  });
  assert.is(judgeFolder(answer(0)).ok, true);
});
Judging.run();
