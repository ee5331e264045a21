import { existsSync, readdirSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { caller, fail, ok, option, parseArgs } from '../hosts/programs/common.ts';
import { installed } from '../hosts/programs/packages.ts';
import { mountRows } from '../hosts/programs/storage.ts';
import type { Program, ProgramCall, ProgramResult } from '../types.ts';
import type { LabNas } from './index.ts';
import { mountFolder, unmountFolder } from './mounts.ts';

/** mount, umount, mountpoint, showmount and exportfs, which ask the lab's NAS. */
export function mountPrograms(nas: LabNas | undefined): [string, Program][] {
  return [
    ['mount', (call) => mount(call, nas)],
    ['umount', umount],
    ['mountpoint', (call) => mountpoint(call, nas)],
    ['showmount', (call) => showmount(call, nas)],
    ['exportfs', (call) => exportfs(call, nas)],
  ];
}

type Wanted = { source: string; point: string; type: string; options: string };

function mount(call: ProgramCall, nas: LabNas | undefined): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1), ['-t', '--types', '-o', '--options']);
  if (operands.length === 0 && !options.has('-a')) {
    const rows = mountRows(call);
    return ok(rows.map((row) => `${row.source} on ${row.target} type ${row.fstype} (${row.options})\n`).join(''));
  }
  const [first = '', second] = operands;
  if (!call.root) return fail(1, `mount: ${second ?? first}: must be superuser to use mount.`);
  const table = fstab(call);
  if (options.has('-a')) {
    const missing = table.filter(({ point }) => !caller(call).mounts.some((mounted) => mounted.point === point));
    const results = missing.map((wanted) => mountOne(call, wanted, nas));
    return results.find(({ code }) => code !== 0) ?? ok();
  }
  if (second !== undefined) {
    const type = option(options, '-t', '--types') ?? (/^[^/]+:\//.test(first) ? 'nfs' : 'ext4');
    const given = option(options, '-o', '--options') ?? '';
    return mountOne(call, { source: first, point: posix.resolve(call.cwd, second), type, options: given }, nas);
  }
  const entry = table.find(({ point, source }) => point === first || source === first);
  return entry ? mountOne(call, entry, nas) : fail(32, `mount: ${first}: can't find in /etc/fstab.`);
}

function mountOne(call: ProgramCall, wanted: Wanted, nas: LabNas | undefined): ProgramResult {
  const host = caller(call);
  const { source, type, options } = wanted;
  const point = wanted.point.replace(/(?<=.)\/+$/, '');
  if (!type.startsWith('nfs')) return fail(32, `mount: ${point}: the rehearsal mounts NFS exports only.`);
  if (!installed(host, 'nfs-common'))
    return fail(
      32,
      `mount: ${point}: bad option; for several filesystems (e.g. nfs, cifs) you might need a /sbin/mount.<type> helper program.`,
    );
  const folder = join(host.root, point);
  if (!existsSync(folder)) return fail(32, `mount.nfs: mount point ${point} does not exist`);
  if (!statSync(folder).isDirectory()) return fail(32, `mount.nfs: mount point ${point} is not a directory`);
  if (host.mounts.some((mounted) => mounted.point === point))
    return fail(32, `mount.nfs: ${point} is busy or already mounted or sharecache fail`);
  const [, server = '', path = ''] = /^([^:]+):(.*)$/.exec(source) ?? [];
  const version = /(?:^|,)(?:nfsvers|vers)=([\d.]+)/.exec(options)?.[1] ?? (type === 'nfs4' ? '4' : undefined);
  const answer = nas?.mount(server, path, host.address, version) ?? {
    ...{ ok: false as const, code: 32, message: 'mount.nfs: Connection timed out' },
  };
  if (!answer.ok) return fail(answer.code, answer.message);
  if (nas?.faults.phantom.has(host.name)) return ok();
  const shown = version?.startsWith('4') ? 'nfs4' : 'nfs';
  mountFolder(host, { point, source, type: shown, options: options || 'rw,relatime', folder: answer.folder });
  return ok();
}

function umount(call: ProgramCall): ProgramResult {
  const { operands } = parseArgs(call.argv.slice(1), ['-t']);
  const host = caller(call);
  if (!call.root) return fail(32, `umount: ${operands[0]}: must be superuser to unmount.`);
  for (const word of operands) {
    const point = posix.resolve(call.cwd, word);
    const found = host.mounts.findLast((mount) => mount.point === point || mount.source === word);
    if (!found) return fail(32, `umount: ${word}: not mounted.`);
    unmountFolder(host, found);
  }
  return ok();
}

/** Whether something is mounted there. Like the real one it looks at it, and so meets a handle that is stale. */
function mountpoint(call: ProgramCall, nas: LabNas | undefined): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1));
  const [word = ''] = operands;
  const point = posix.resolve(call.cwd, word);
  const said = (text: string): string => (options.has('-q') ? '' : text);
  const found = caller(call).mounts.findLast((mount) => mount.point === point);
  if (found && nas?.isStale(found.source)) return { code: 1, stderr: said(`mountpoint: ${word}: Stale file handle\n`) };
  if (found) return ok(said(`${word} is a mountpoint\n`));
  const there = existsSync(join(caller(call).root, point));
  return there
    ? { code: 32, stdout: said(`${word} is not a mountpoint\n`) }
    : { code: 1, stderr: said(`mountpoint: ${word}: No such file or directory\n`) };
}

function showmount(call: ProgramCall, nas: LabNas | undefined): ProgramResult {
  const { options, operands } = parseArgs(call.argv.slice(1));
  const [server = ''] = operands;
  const exported = nas?.exports(server);
  if (!exported) return fail(1, 'clnt_create: RPC: Timed out');
  const head = options.has('--no-headers') ? '' : `Export list for ${server}:\n`;
  return ok(head + exported.map(({ path, clients }) => `${path} ${clients.join(',') || '(everyone)'}\n`).join(''));
}

/** On a NAS that is a plain Linux server: /etc/exports and /etc/exports.d decide who may mount. */
function exportfs(call: ProgramCall, nas: LabNas | undefined): ProgramResult {
  const { options } = parseArgs(call.argv.slice(1));
  const { host } = call;
  if (!call.root) return fail(1, 'exportfs: could not open /var/lib/nfs/.etab.lock for locking: errno 13');
  const exported = nas?.exports(host.address) ?? [];
  if (!options.has('-r') && !options.has('-a'))
    return ok(exported.flatMap(({ path, clients }) => clients.map((client) => `${path}\t${client}\n`)).join(''));
  const folder = join(host.root, 'etc/exports.d');
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.exports')) : [];
  const text = ['/etc/exports', ...files.map((name) => `/etc/exports.d/${name}`)]
    .map((p) => host.readFile(p) ?? '')
    .join('\n');
  for (const { path } of exported) {
    const lines = text.split('\n').filter((line) => line.trim().split(/\s+/)[0] === path);
    const clients = lines.flatMap((line) => line.trim().split(/\s+/).slice(1));
    nas?.setClients(
      host.address,
      path,
      clients.map((client) => client.replace(/\(.*$/, '')),
    );
  }
  return ok();
}

function fstab({ host }: ProgramCall): Wanted[] {
  const lines = (host.readFile('/etc/fstab') ?? '').split('\n').filter((line) => /^\s*[^#\s]/.test(line));
  return lines.map((line) => {
    const [source = '', point = '', type = '', options = ''] = line.trim().split(/\s+/);
    return { source, point, type, options };
  });
}
