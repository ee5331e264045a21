import { strict as assert } from 'node:assert';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { GROW_ROOT } from '../lib/observe/template.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { gate } from './pve-fixture.ts';

/** templates/grow-root.sh with stand-ins on PATH that write down what they were asked, under every shell that is here. */
const test = suite('grow-root.sh');
const script = readFileSync(GROW_ROOT, 'utf8');

type Layout = {
  source: string;
  type: string;
  /** What lsblk -s says, nearest first. */
  layers: [string, string][];
  /** Partition → its disk. */
  parents?: Record<string, string>;
};

const mapper = '/dev/mapper/ubuntu--vg-ubuntu--lv';
const lvm = (part: string, disk: string, type = 'ext4'): Layout => ({
  ...{ source: mapper, type, parents: { [part]: disk } },
  layers: [
    [mapper, 'lvm'],
    [part, 'part'],
    [disk, 'disk'],
  ],
});
const plain = (part: string, disk: string, type = 'ext4'): Layout => ({
  ...{ source: part, type, parents: { [part]: disk } },
  layers: [
    [part, 'part'],
    [disk, 'disk'],
  ],
});
const extend = `lvextend -l +100%FREE ${mapper}`;

const layouts: [string, Layout, string[]][] = [
  [
    'LVM, sda',
    lvm('/dev/sda3', '/dev/sda'),
    ['growpart /dev/sda 3', 'pvresize /dev/sda3', extend, `resize2fs ${mapper}`],
  ],
  [
    'LVM, vda, xfs',
    lvm('/dev/vda3', '/dev/vda', 'xfs'),
    ['growpart /dev/vda 3', 'pvresize /dev/vda3', extend, 'xfs_growfs /'],
  ],
  [
    'LVM, nvme',
    lvm('/dev/nvme0n1p3', '/dev/nvme0n1'),
    ['growpart /dev/nvme0n1 3', 'pvresize /dev/nvme0n1p3', extend, `resize2fs ${mapper}`],
  ],
  [
    'LVM on two disks',
    {
      ...lvm('/dev/sda3', '/dev/sda'),
      parents: { '/dev/sda3': '/dev/sda', '/dev/sdb1': '/dev/sdb' },
      layers: [
        [mapper, 'lvm'],
        ['/dev/sda3', 'part'],
        ['/dev/sda', 'disk'],
        ['/dev/sdb1', 'part'],
        ['/dev/sdb', 'disk'],
      ],
    },
    [
      ...['growpart /dev/sda 3', 'growpart /dev/sdb 1', 'pvresize /dev/sda3', 'pvresize /dev/sdb1', extend],
      `resize2fs ${mapper}`,
    ],
  ],
  [
    'LVM on a disk without partitions',
    {
      ...{ source: mapper, type: 'ext4' },
      layers: [
        [mapper, 'lvm'],
        ['/dev/sdb', 'disk'],
      ],
    },
    ['pvresize /dev/sdb', extend, `resize2fs ${mapper}`],
  ],
  ['partition, sda', plain('/dev/sda2', '/dev/sda'), ['growpart /dev/sda 2', 'resize2fs /dev/sda2']],
  ['partition, vda12, xfs', plain('/dev/vda12', '/dev/vda', 'xfs'), ['growpart /dev/vda 12', 'xfs_growfs /']],
  ['partition, nvme', plain('/dev/nvme1n1p2', '/dev/nvme1n1'), ['growpart /dev/nvme1n1 2', 'resize2fs /dev/nvme1n1p2']],
];

/** A program's exit code and output, instead of success. */
type Answers = Record<string, [code: number, output: string]>;

const NOTHING_TO_GROW: Answers = {
  growpart: [1, 'NOCHANGE: partition 3 is size 39841792. it cannot be grown'],
  pvresize: [0, '1 physical volume(s) resized or updated / 0 physical volume(s) not resized'],
  lvextend: [5, '  New size (4863 extents) matches existing size (4863 extents).'],
  resize2fs: [0, 'The filesystem is already 4979712 (4k) blocks long.  Nothing to do!'],
  xfs_growfs: [0, 'data size unchanged, skipping'],
};

function run(shell: readonly string[], layout: Partial<Layout>, answers: Answers = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-grow-'));
  try {
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    for (const tool of ['sh', 'grep', 'cat'])
      symlinkSync(execFileSync('/bin/sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).trim(), join(bin, tool));
    const program = (name: string, text: string): void => {
      writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
      chmodSync(join(bin, name), 0o755);
    };
    const { source = '', type = '', layers = [], parents = {} } = layout;
    program('findmnt', `case "$*" in *SOURCE*) echo '${source}' ;; *FSTYPE*) echo '${type}' ;; esac`);
    const cases = Object.entries(parents).map(([part, disk]) => `*PKNAME*${part}) echo ${disk} ;;`);
    const all = layers.map((layer) => `echo '${layer.join(' ')}'`).join('; ');
    program('lsblk', `case "$*" in ${cases.join(' ')} *) ${all || ':'} ;; esac`);
    for (const name of ['growpart', 'pvresize', 'lvextend', 'resize2fs', 'xfs_growfs']) {
      const [code, output] = answers[name] ?? [0, 'CHANGED'];
      program(name, `echo "${name} $*" >>'${folder}/calls'\necho '${output}'\nexit ${code}`);
    }
    const [file = '', ...argv] = shell;
    const { status, stdout, stderr } = spawnSync(file, [...argv, '-s'], {
      ...{ input: script, encoding: 'utf8', env: { PATH: bin } },
    });
    const calls = existsSync(join(folder, 'calls'))
      ? readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n')
      : [];
    return { status, stdout, stderr, calls };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const shells = [['/bin/sh'], ['/bin/dash'], ['/bin/busybox', 'sh']].filter(([file = '']) => existsSync(file));
for (const shell of shells) {
  const under = shell.join(' ');
  for (const [name, layout, expected] of layouts) {
    test(`${under}: ${name}`, () => {
      const { status, stderr, calls } = run(shell, layout);
      assert.deepEqual([status, stderr, calls], [0, '', expected]);
    });
    test(`${under}: ${name}, with nothing to grow, tries every stage`, () => {
      const { status, stderr, calls } = run(shell, layout, NOTHING_TO_GROW);
      assert.deepEqual([status, stderr, calls], [0, '', expected]);
    });
  }

  const layout = lvm('/dev/sda3', '/dev/sda');
  const failures: [string, Answers, RegExp][] = [
    [
      'growpart',
      { growpart: [2, 'FAILED: unable to take the lock'] },
      /growpart \/dev\/sda 3 ended with exit code 2: FAILED/,
    ],
    ['growpart that is not there', { growpart: [127, 'growpart: not found'] }, /exit code 127: growpart: not found/],
    ['pvresize without a word', { pvresize: [5, ''] }, /pvresize \/dev\/sda3 ended with exit code 5/],
    ['lvextend', { lvextend: [5, '  Insufficient free space'] }, /lvextend .* 5: {3}Insufficient free space/],
    ['resize2fs', { resize2fs: [1, 'Permission denied to resize filesystem'] }, /resize2fs .*Permission denied/],
  ];
  for (const [name, answers, message] of failures)
    test(`${under}: ${name} fails: said, and the stages after it are tried`, () => {
      const { status, stderr, calls } = run(shell, layout, answers);
      assert.equal(status, 1);
      assert.match(stderr, message);
      assert.equal(calls.length, 4);
    });
  test(`${under}: what is not known is said`, () => {
    const btrfs = run(shell, plain('/dev/sda2', '/dev/sda', 'btrfs'));
    assert.deepEqual([btrfs.status, btrfs.calls], [1, ['growpart /dev/sda 2']]);
    assert.match(btrfs.stderr, /\/dev\/sda2 has a file system that is not known here: btrfs/);
    assert.match(run(shell, {}).stderr, /findmnt does not say/);
    assert.match(
      run(shell, { source: '/dev/sda2', type: 'ext4' }).stderr,
      /lsblk does not say what \/dev\/sda2 lies on/,
    );
  });
}

const shellcheck = realExec().which('shellcheck');
gate(
  test,
  'shellcheck',
  shellcheck ? undefined : 'shellcheck is not on PATH',
)('shellcheck finds nothing', () => {
  const { status, stdout } = spawnSync('shellcheck', [GROW_ROOT, join(TOOLKIT, 'packer/clean.sh')], {
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout], [0, '']);
});

test.run();
