import type { Program, ProgramCall, ProgramResult } from '../../types.ts';
import type { RunningHost } from '../spec.ts';
import { caller, fail, ok, option, parseArgs, table } from './common.ts';
import { growthPrograms } from './growth.ts';

/** Disks and what is mounted, from the host's description. */
export const storagePrograms: [string, Program][] = [
  ['findmnt', findmnt],
  ['lsblk', lsblk],
  ['df', df],
  ...growthPrograms,
];

const ROOT = '/dev/mapper/ubuntu--vg-ubuntu--lv';

type Row = { target: string; source: string; fstype: string; options: string };

/** The root file system first, then what was mounted, oldest first. */
export function mountRows(call: Pick<ProgramCall, 'host'>): Row[] {
  const root: Row = {
    target: '/',
    source: ROOT,
    fstype: 'ext4',
    options: 'rw,relatime',
  };
  const mounted = caller(call).mounts.map(({ point, source, type, options }) => ({
    ...{ target: point, source, fstype: type, options },
  }));
  return [root, ...mounted];
}

/** The mount that holds a path. */
function holding(rows: readonly Row[], path: string): Row | undefined {
  return rows
    .filter(({ target }) => target === '/' || path === target || path.startsWith(`${target}/`))
    .sort((a, b) => b.target.length - a.target.length)[0];
}

function findmnt(call: ProgramCall): ProgramResult {
  const valued = ['-o', '--output', '-T', '--target', '-t', '--types', '-S', '--source', '-M', '--mountpoint'];
  const { options, operands } = parseArgs(call.argv.slice(1), valued);
  const target = option(options, '-T', '--target');
  const point = option(options, '-M', '--mountpoint') ?? operands.find((word) => word.startsWith('/'));
  const source = option(options, '-S', '--source') ?? operands.find((word) => word.includes(':'));
  const types = option(options, '-t', '--types')?.split(',');
  let rows = mountRows(call);
  if (target !== undefined) rows = [holding(rows, target)].filter((row) => row !== undefined);
  if (point !== undefined) rows = rows.filter((row) => row.target === point || row.source === point);
  if (source !== undefined) rows = rows.filter((row) => row.source === source);
  if (types)
    rows = rows.filter((row) => types.some((type) => row.fstype === type || (type === 'nfs' && row.fstype === 'nfs4')));
  if (rows.length === 0) return { code: 1 };
  const columns = (option(options, '-o', '--output') ?? 'TARGET,SOURCE,FSTYPE,OPTIONS').split(',');
  const cell = (row: Row, column: string): string => row[column.toLowerCase() as keyof Row] ?? '';
  if (options.has('-J') || options.has('--json')) {
    const filesystems = rows.map((row) => Object.fromEntries(columns.map((c) => [c.toLowerCase(), cell(row, c)])));
    return ok(`${JSON.stringify({ filesystems })}\n`);
  }
  const bare = options.has('-n') || options.has('--noheadings');
  return ok(
    table(
      columns,
      rows.map((row) => columns.map((c) => cell(row, c))),
      bare,
    ),
  );
}

type Device = { NAME: string; KNAME: string; SIZE: string; TYPE: string; MOUNTPOINT: string; FSTYPE: string };

/** From the disk up to what is mounted: each lies on the one before. */
function devices({ disk, spec }: RunningHost): (Device & { path: string; parent: string })[] {
  const device = (path: string, parent: string, bytes: number, TYPE: string, MOUNTPOINT = '', FSTYPE = '') => {
    const NAME = path.split('/').at(-1) ?? '';
    return { NAME, KNAME: NAME, SIZE: String(bytes), TYPE, MOUNTPOINT, FSTYPE, path, parent };
  };
  return [
    device('/dev/sda', '', spec.diskBytes, 'disk'),
    device('/dev/sda3', '/dev/sda', disk.partition, 'part', '', 'LVM2_member'),
    device(ROOT, '/dev/sda3', disk.logicalVolume, 'lvm', '/', 'ext4'),
  ];
}

function lsblk(call: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1), ['-o', '--output']);
  const given = (short: string, long: string): boolean => options.has(short) || options.has(long);
  const all = devices(caller(call));
  const from = operands[0] === undefined ? 0 : all.findIndex(({ path }) => path === operands[0]);
  if (from < 0) return fail(32, `lsblk: ${operands[0]}: not a block device`);
  const shown = given('-d', '--nodeps')
    ? all.slice(from, from + 1)
    : given('-s', '--inverse')
      ? all.slice(0, operands[0] === undefined ? all.length : from + 1).reverse()
      : all.slice(from);
  const columns = (option(options, '-o', '--output') ?? 'NAME,SIZE,TYPE,MOUNTPOINT').split(',');
  const named = (path: string): string => (given('-p', '--paths') ? path : (path.split('/').at(-1) ?? ''));
  const cell = (device: (typeof all)[number], column: string): string => {
    if (column === 'NAME') return named(device.path);
    if (column === 'PKNAME') return named(device.parent);
    if (column === 'SIZE' && !given('-b', '--bytes')) return `${Number(device.SIZE) / 2 ** 30}G`;
    return device[column as keyof Device] ?? '';
  };
  if (given('-J', '--json')) {
    const blockdevices = shown.map((d) => Object.fromEntries(columns.map((c) => [c.toLowerCase(), cell(d, c)])));
    return ok(`${JSON.stringify({ blockdevices })}\n`);
  }
  return ok(
    table(
      columns,
      shown.map((d) => columns.map((c) => cell(d, c))),
      given('-n', '--noheadings'),
    ),
  );
}

/** The root file system has the size to which it was grown; an export has 10 TiB. */
function df(call: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1), ['-B', '--block-size', '-t', '--type']);
  const rows = mountRows(call);
  const shown = operands.length > 0 ? operands.map((path) => holding(rows, path)) : rows;
  const block = options.has('-B') || options.has('--block-size') ? option(options, '-B', '--block-size') : '1K';
  const unit = { '1': 1, '1K': 1024, '1M': 2 ** 20, '1G': 2 ** 30, M: 2 ** 20, G: 2 ** 30, K: 1024 }[block ?? '1K'];
  if (unit === undefined) return fail(1, `df: invalid -B argument '${block}'`);
  const number = (bytes: number): string =>
    options.has('-h') ? `${Math.round(bytes / 2 ** 30)}G` : String(Math.floor(bytes / unit));
  const cells = shown.flatMap((row) => {
    if (!row) return [];
    const size = row.target === '/' ? caller(call).disk.fileSystem : 10 * 2 ** 40;
    const used = Math.floor(size / 20);
    const percent = `${Math.ceil((100 * used) / size)}%`;
    return [
      {
        source: row.source,
        fstype: row.fstype,
        size: number(size),
        used: number(used),
        avail: number(size - used),
        pcent: percent,
        target: row.target,
      },
    ];
  });
  const output = options.get('--output')?.split(',') ?? ['source', 'size', 'used', 'avail', 'pcent', 'target'];
  const titles: Record<string, string> = {
    ...{ source: 'Filesystem', fstype: 'Type', size: block === '1K' ? '1K-blocks' : `${block}-blocks`, used: 'Used' },
    ...{ avail: 'Avail', pcent: 'Use%', target: 'Mounted on' },
  };
  return ok(
    table(
      output.map((column) => titles[column] ?? column),
      cells.map((row) => output.map((column) => row[column as keyof typeof row] ?? '')),
      false,
    ),
  );
}
