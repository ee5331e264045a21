import { chmodSync, copyFileSync, existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { basename, dirname, posix } from 'node:path';
import type { Program, ProgramCall, ProgramResult } from '../../types.ts';
import { mapPath } from '../paths.ts';
import { caller, fail, ok, option, parseArgs, stored } from './common.ts';

/** Owners are recorded, not set: that needs privileges. stat knows them. */
export const filePrograms: [string, Program][] = [
  ['chown', (call) => chown(call, (spec) => spec)],
  ['chgrp', (call) => chown(call, (group) => `:${group}`)],
  ['stat', stat],
  ['install', install],
];

type Owners = Record<string, string>;

function chown(call: ProgramCall, toSpec: (word: string) => string): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1), ['--reference', '--from']);
  const [wanted = '', ...files] = operands;
  if (!call.root) {
    const [first = ''] = files;
    return fail(1, `${call.argv[0]}: changing ownership of '${first}': Operation not permitted`);
  }
  const missing = files.find((file) => !existsSync(fileOf(call, file)));
  if (missing !== undefined) return fail(1, `${call.argv[0]}: cannot access '${missing}': No such file or directory`);
  for (const file of files) setOwner(call, file, toSpec(wanted));
  return ok(options.has('-v') ? files.map((file) => `ownership of '${file}' retained\n`).join('') : '');
}

function setOwner(call: ProgramCall, path: string, wanted: string): void {
  const owners = stored<Owners>(call.host, 'owners', {});
  const [oldUser = 'root', oldGroup = 'root'] = ownerOf(call, path).split(':');
  const [user = '', group] = wanted.split(':');
  owners.value[identity(call, path)] =
    `${user || oldUser}:${group === undefined ? oldGroup : group || user || oldGroup}`;
  owners.save();
}

function ownerOf(call: ProgramCall, path: string): string {
  const { user } = caller(call).spec;
  const own = /^\/(home|tmp)\//.test(absolute(call, path)) ? `${user}:${user}` : 'root:root';
  return stored<Owners>(call.host, 'owners', {}).value[identity(call, path)] ?? own;
}

/** What a rename keeps and a new file in its place has not. */
function identity(call: ProgramCall, path: string): string {
  const { ino, birthtimeMs } = statSync(fileOf(call, path));
  return `${ino}:${birthtimeMs}`;
}

function stat(call: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1), ['-c', '--format', '--printf']);
  const printf = option(options, '--printf');
  const format =
    printf ?? option(options, '-c', '--format') ?? '  File: %n\n  Size: %s\nAccess: (0%a)  Uid: %U   Gid: %G';
  let stdout = '';
  let stderr = '';
  for (const name of operands) {
    const file = fileOf(call, name);
    if (!existsSync(file)) {
      stderr += `stat: cannot statx '${name}': No such file or directory\n`;
      continue;
    }
    const { mode, size, mtimeMs } = statSync(file);
    const [user = '', group = ''] = ownerOf(call, name).split(':');
    const values: Record<string, string> = {
      n: name,
      a: (mode & 0o7777).toString(8),
      s: String(size),
      Y: String(Math.floor(mtimeMs / 1000)),
      U: user,
      G: group,
      u: user === 'root' ? '0' : '1000',
      g: group === 'root' ? '0' : '1000',
      F: statSync(file).isDirectory() ? 'directory' : size === 0 ? 'regular empty file' : 'regular file',
    };
    stdout += format.replaceAll(/%([naSsYUGugF])/g, (all, key: string) => values[key] ?? all);
    stdout = printf === undefined ? `${stdout}\n` : stdout.replaceAll('\\n', '\n');
  }
  return { code: stderr ? 1 : 0, stdout, stderr };
}

/** install(1): `-d FOLDER…`, `[-D] SOURCE… DESTINATION`, with -m, -o and -g. */
function install(call: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1), ['-m', '--mode', '-o', '--owner', '-g', '--group', '-t']);
  const mode = Number.parseInt(option(options, '-m', '--mode') ?? '0755', 8);
  const owner = option(options, '-o', '--owner');
  const group = option(options, '-g', '--group');
  if ((owner ?? group) !== undefined && !call.root)
    return fail(1, `install: cannot change ownership of '${operands.at(-1)}': Operation not permitted`);
  const finish = (path: string): void => {
    chmodSync(fileOf(call, path), mode);
    if ((owner ?? group) !== undefined)
      setOwner(call, path, group === undefined ? (owner ?? '') : `${owner ?? ''}:${group}`);
  };
  if (options.has('-d')) {
    for (const folder of operands) mkdirSync(fileOf(call, folder), { recursive: true });
    operands.forEach(finish);
    return ok();
  }
  const target = options.get('-t') ?? operands.pop() ?? '';
  const targetFile = fileOf(call, target);
  const intoFolder = existsSync(targetFile) && statSync(targetFile).isDirectory();
  for (const source of operands) {
    if (!existsSync(fileOf(call, source)))
      return fail(1, `install: cannot stat '${source}': No such file or directory`);
    const path = intoFolder ? `${target}/${basename(source)}` : target;
    if (options.has('-D')) mkdirSync(dirname(fileOf(call, path)), { recursive: true });
    if (!existsSync(dirname(fileOf(call, path))))
      return fail(1, `install: cannot create regular file '${path}': No such file or directory`);
    copyFileSync(fileOf(call, source), `${fileOf(call, path)}.install`);
    renameSync(`${fileOf(call, path)}.install`, fileOf(call, path));
    finish(path);
  }
  return ok();
}

function absolute({ cwd }: ProgramCall, path: string): string {
  return posix.resolve(cwd, path);
}

/** Where a host's path lies on this machine. */
function fileOf(call: ProgramCall, path: string): string {
  const { folder, mounts } = caller(call);
  return mapPath(absolute(call, path), { folder, mounts });
}
