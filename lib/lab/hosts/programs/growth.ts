import type { Program, ProgramCall, ProgramResult } from '../../types.ts';
import type { RootDisk } from '../spec.ts';
import { caller, fail, ok, parseArgs } from './common.ts';

/** What the EFI partition and /boot take of a disk. */
export const BOOT_BYTES = 3 * 2 ** 30;
const EXTENT = 4 * 2 ** 20;

/** A disk whose layers all reach to its end, as the template's own service leaves it at each boot. */
export function grownDisk(diskBytes: number): RootDisk {
  const bytes = diskBytes - BOOT_BYTES;
  return { partition: bytes, physicalVolume: bytes, logicalVolume: bytes, fileSystem: bytes };
}

/** What grows the layers under `/`, one by one: each reaches as far as the one below it. */
export const growthPrograms: [string, Program][] = [
  ['growpart', asRoot(growpart)],
  ['pvresize', asRoot(pvresize)],
  ['lvextend', asRoot(lvextend)],
  ['resize2fs', asRoot(resize2fs)],
];

function asRoot(program: (call: ProgramCall) => ProgramResult): Program {
  return (call) => (call.root ? program(call) : fail(1, `${call.argv[0]}: Permission denied`));
}

function growpart(call: ProgramCall): ProgramResult {
  const { disk, spec } = caller(call);
  const [device, number] = call.argv.slice(1);
  if (device !== '/dev/sda' || number !== '3') return fail(2, `FAILED: ${device}: does not exist`);
  const bytes = spec.diskBytes - BOOT_BYTES;
  if (disk.partition === bytes)
    return { code: 1, stdout: `NOCHANGE: partition 3 is size ${bytes / 512}. it cannot be grown\n` };
  const before = disk.partition;
  disk.partition = bytes;
  return ok(`CHANGED: partition=3 start=6293504 old: size=${before / 512} new: size=${bytes / 512}\n`);
}

function pvresize(call: ProgramCall): ProgramResult {
  const { disk } = caller(call);
  const [device] = call.argv.slice(1);
  if (device !== '/dev/sda3') return fail(5, `  Failed to find physical volume "${device}".`);
  disk.physicalVolume = disk.partition;
  return ok(`  Physical volume "${device}" changed\n  1 physical volume(s) resized or updated / 0 not resized\n`);
}

function lvextend(call: ProgramCall): ProgramResult {
  const { disk } = caller(call);
  const { options } = parseArgs(call.argv.slice(1), ['-l', '--extents']);
  if (options.get('-l') !== '+100%FREE') return fail(3, '  Please specify either size or extents.');
  const extents = Math.floor(disk.physicalVolume / EXTENT);
  if (disk.logicalVolume === disk.physicalVolume)
    return fail(5, `  New size (${extents} extents) matches existing size (${extents} extents).`);
  disk.logicalVolume = disk.physicalVolume;
  return ok('  Logical volume ubuntu-vg/ubuntu-lv successfully resized.\n');
}

function resize2fs(call: ProgramCall): ProgramResult {
  const { disk } = caller(call);
  const blocks = disk.logicalVolume / 4096;
  if (disk.fileSystem === disk.logicalVolume)
    return { code: 0, stderr: `The filesystem is already ${blocks} (4k) blocks long.  Nothing to do!\n` };
  disk.fileSystem = disk.logicalVolume;
  return ok(`The filesystem on ${call.argv.at(-1)} is now ${blocks} (4k) blocks long.\n`);
}
