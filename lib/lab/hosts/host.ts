import { createHash, randomUUID } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { clearMounts } from '../nas/mounts.ts';
import { leaveFolder, plainFolder } from '../plain-folder.ts';
import { makeSshKey } from '../ssh-key.ts';
import type { World } from '../types.ts';
import { neighbours } from './neighbours.ts';
import { mapPath, rootOf, unmapper } from './paths.ts';
import { grownDisk } from './programs/growth.ts';
import { bootUnits, stopUnits } from './programs/systemd.ts';
import { listen } from './server.ts';
import type { HostFaults, HostMount, HostSpec, RunningHost } from './spec.ts';
import { StandIns } from './standins.ts';

const FOLDERS = [
  ...[
    'etc/systemd/system',
    'usr/local/bin',
    'usr/local/sbin',
    'var/log',
    'var/lib/cloud',
    'root',
    'home',
    'mnt',
    'opt',
  ],
  ...['run', 'srv', 'media', 'proc/sys/kernel/random', 'dev', 'tmp'],
];

/**
 * Starts a machine: its folder as a first boot would leave it (what is there already is kept), its SSH server on
 * a loopback port, and the units that are enabled.
 */
export async function startHost(wanted: HostSpec, world: World): Promise<RunningHost> {
  const spec = { ...wanted, folder: plainFolder(wanted.folder) };
  const { folder } = spec;
  const home = spec.user === 'root' ? '/root' : `/home/${spec.user}`;
  const mounts: HostMount[] = [];
  const map = { folder, mounts };
  const root = rootOf(map);
  prepare(spec, home, root);
  const faults: HostFaults = {};
  const commands: string[] = [];
  const standIns = new StandIns(folder);
  standIns.sync(world.programs);

  const files = {
    readFile(path: string): string | undefined {
      const file = mapPath(path, map);
      return existsSync(file) ? unmapper(map)(readFileSync(file, 'utf8')) : undefined;
    },
    writeFile(path: string, content: string, mode = 0o644): void {
      const file = mapPath(path, map);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content, { mode });
    },
    log(unit: string, line: string): void {
      appendFileSync(join(folder, 'journal', unit.replace(/\.service$/, '')), `${Date.now()} ${line}\n`);
    },
  };
  const authorized = (): string[] =>
    (files.readFile(`${home}/.ssh/authorized_keys`) ?? '').split('\n').filter((line) => line.trim() !== '');
  const privateKey = readFileSync(join(root, 'etc/ssh/ssh_host_ed25519_key'), 'utf8');
  const context = { standIns, world, host: () => running };
  const server = await listen(context, spec, privateKey, authorized);
  const running: RunningHost = {
    ...files,
    ...{ spec, folder, root, faults, mounts, commands, logins: 0, disk: grownDisk(spec.diskBytes) },
    name: spec.name,
    address: spec.address,
    cores: spec.cores,
    memoryMib: spec.memoryMib,
    gpus: spec.gpus ?? [],
    port: server.port,
    hostKey: server.hostKey,
    stop: async () => {
      if (neighbours(world).get(spec.address) === running) neighbours(world).delete(spec.address);
      await server.close();
      await stopUnits(running, world);
      leaveFolder(folder);
    },
  };
  neighbours(world).set(spec.address, running);
  void boot(running, world);
  return running;
}

/** Mounts what fstab says, then starts what is enabled. */
async function boot(host: RunningHost, world: World): Promise<void> {
  clearMounts(host);
  await world.programs.get('mount')?.({ host, argv: ['mount', '-a'], env: {}, cwd: '/', stdin: '', root: true });
  await bootUnits(host, world);
}

/** What the installer and cloud-init leave behind. What is there already is kept: a reboot changes nothing but the boot id. */
function prepare(spec: HostSpec, home: string, root: string): void {
  for (const path of FOLDERS) mkdirSync(join(root, path), { recursive: true });
  mkdirSync(join(spec.folder, 'journal'), { recursive: true });
  const once = (path: string, content: string, mode = 0o644): void => {
    const file = join(root, path);
    mkdirSync(dirname(file), { recursive: true });
    if (!existsSync(file)) writeFileSync(file, content, { mode });
  };
  const key = join(root, 'etc/ssh/ssh_host_ed25519_key');
  if (!existsSync(key)) {
    const pair = makeSshKey(`root@${spec.name}`);
    once('etc/ssh/ssh_host_ed25519_key', pair.private, 0o600);
    once('etc/ssh/ssh_host_ed25519_key.pub', `${pair.public}\n`);
  }
  mkdirSync(join(root, home, '.ssh'), { recursive: true, mode: 0o700 });
  once(`${home}/.ssh/authorized_keys`, `${spec.sshKeys.join('\n')}\n`, 0o600);
  once('etc/hostname', `${spec.name}\n`);
  once('etc/hosts', `127.0.0.1 localhost\n127.0.1.1 ${spec.name}\n`);
  once('etc/machine-id', `${createHash('sha256').update(`${spec.name}${randomUUID()}`).digest('hex').slice(0, 32)}\n`);
  once('etc/os-release', 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nID=ubuntu\nVERSION_ID="24.04"\n');
  once('etc/fstab', '');
  if (spec.cloudInit ?? true) once('var/lib/cloud/instance/boot-finished', '0\n');
  writeFileSync(join(root, 'proc/sys/kernel/random/boot_id'), `${randomUUID()}\n`);
  writeFileSync(join(root, 'proc/meminfo'), `MemTotal:       ${spec.memoryMib * 1024} kB\n`);
  const password = join(spec.folder, 'sudo-password');
  rmSync(password, { force: true });
  if (spec.sudoPassword) writeFileSync(password, `${spec.sudoPassword}\n`, { mode: 0o600 });
}
