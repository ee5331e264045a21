import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import type { Server } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { makeSshKey } from '../../lib/lab/ssh-key.ts';
import type { LabHost, Program } from '../../lib/lab/types.ts';
import type { Cable, Network } from './network.ts';
import { ASK, serveStandIns } from './standins.ts';

const execute = promisify(execFile);
const FOLDER = '/run/lab/hosts';

export type HostSpec = {
  name: string;
  address: string;
  gateway: string;
  user: string;
  /** Keys that may log in as `user`. */
  sshKeys: string[];
  /** Login shell of `user`. Default: /bin/bash. */
  shell?: string;
  /** What sudo asks `user` for; none: sudo asks for nothing. `null`: `user` may not use sudo. */
  sudoPassword?: string | null;
  /** Programs that are stand-ins here, by the path at which they are called. */
  standIns?: string[];
  /** Folders of this machine that are mounted into the host, by their path there. */
  binds?: Record<string, string>;
  /** Further lines of sshd_config. */
  sshd?: string[];
  gpus?: string[];
  /** What lies between it and everybody else. Default: nothing. */
  cable?: Cable;
};

/** A program that a test started on a host. */
export type Resident = { end(): Promise<void> };

/** Inside the host's namespaces: its file systems, its name, then its first process. */
const BOOT = `set -e
root=$1 name=$2 base=$3; shift 3
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/sshd" "$root/run/lab"
mount --bind "$base/ask" "$root/run/lab"
while [ $# -gt 0 ]; do mkdir -p "$root$1"; mount --bind "$2" "$root$1"; shift 2; done
hostname "$name"
exec chroot "$root" /bin/sh /opt/lab/init
`;
/** The first process: OpenSSH's server, and whoever else stays behind. */
const INIT = `mkdir -p /var/log
/usr/sbin/sshd -f /opt/lab/sshd_config -D -E /run/sshd.log &
while :; do wait; sleep 0.2; done
`;

/**
 * A machine of the lab: namespaces of its own (network, mounts, processes, name), over this machine's own Debian; what it
 * writes stays in a layer of its own, as a disk does. Its OpenSSH server, shells, sudo, mount, apt and file systems are the real
 * ones; what its spec lists as stand-ins is answered by the tests.
 */
export class NamespaceHost implements LabHost {
  readonly spec: HostSpec;
  readonly name: string;
  readonly address: string;
  readonly root: string;
  readonly cores = 4;
  readonly memoryMib = 4096;
  readonly gpus: string[];
  /** Public half of its host key, as OpenSSH writes it. */
  readonly hostKey: string;
  readonly #folder: string;
  readonly #network: Network;
  readonly #programs: ReadonlyMap<string, Program>;
  #process?: ChildProcess;
  #init = 0;
  #standIns?: Server;
  #residents = 0;

  constructor(spec: HostSpec, network: Network, programs: ReadonlyMap<string, Program>) {
    this.spec = spec;
    this.name = spec.name;
    this.address = spec.address;
    this.gpus = spec.gpus ?? [];
    this.#network = network;
    this.#programs = programs;
    this.#folder = join(FOLDER, spec.name);
    this.root = join(this.#folder, 'root');
    this.#layer();
    this.hostKey = this.#install();
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  /** Starts it, and waits until its SSH server listens. */
  async boot(): Promise<void> {
    const { name, address, gateway, cable, binds = {} } = this.spec;
    await this.#network.plug(name, address, gateway, cable);
    this.#standIns = serveStandIns(join(this.#folder, 'ask', 'ask'), this, this.#programs);
    chmodSync(join(this.#folder, 'ask'), 0o755);
    const inside = [
      'unshare',
      '--mount',
      '--pid',
      '--uts',
      '--ipc',
      '--fork',
      '--kill-child',
      'sh',
      '-c',
      BOOT,
      'boot',
    ];
    const mounts = Object.entries(binds).flat();
    const argv = ['netns', 'exec', name, ...inside, this.root, name, this.#folder, ...mounts];
    const child = spawn('ip', argv, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    this.#process = child;
    for (let tries = 0; ; tries += 1) {
      if (child.exitCode !== null || tries > 600) throw new Error(`${name} did not start: ${said}`);
      chmodAll(join(this.#folder, 'ask', 'ask'));
      this.#init = Number(readOr(`/proc/${child.pid}/task/${child.pid}/children`).trim());
      // Port 22 in the listening state, as /proc/net/tcp has it.
      if (this.#init && /:0016 \S+ 0A /.test(readOr(`/proc/${this.#init}/net/tcp`))) return;
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  /** A command in the host, as root. @returns its stdout @throws Error when it fails */
  async run(script: string): Promise<string> {
    const { stdout } = await execute('nsenter', [...this.#enter(), 'sh', '-c', script]);
    return stdout;
  }

  /** A program that stays until it is ended, or the host is. It is known by its number in the host: nsenter only waits for it. */
  start(argv: readonly string[]): Resident {
    this.#residents += 1;
    const file = `/run/lab-${this.#residents}.pid`;
    const kept = ['sh', '-c', `echo $$ > ${file}; exec "$@"`, 'sh', ...argv];
    const child = spawn('nsenter', [...this.#enter(), ...kept], { stdio: 'ignore' });
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    return {
      end: async () => {
        if (this.running && child.exitCode === null) await this.run(`kill -9 $(cat ${file}) 2>/dev/null || true`);
        await ended;
      },
    };
  }

  /** Its power is cut: connections do not end, they fall silent. Its disk stays. */
  async powerOff(): Promise<void> {
    const child = this.#process;
    if (!child) return;
    this.#process = undefined;
    this.#network.pull(this.name);
    const ended = new Promise((done) => child.once('exit', done));
    child.kill('SIGKILL');
    await ended;
    this.#network.unplug(this.name);
    await new Promise((done) => this.#standIns?.close(done));
    rmSync(join(this.#folder, 'ask'), { recursive: true, force: true });
  }

  /** The machine and its disk are gone; the next host of that name is another one. */
  async destroy(): Promise<void> {
    await this.powerOff();
    execFileSync('umount', [this.root]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  readFile(path: string): string | undefined {
    const file = join(this.root, path);
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  }

  writeFile(path: string, content: string, mode = 0o644): void {
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content, { mode });
    chmodSync(file, mode);
  }

  log(unit: string, line: string): void {
    const folder = join(this.#folder, 'journal');
    mkdirSync(folder, { recursive: true });
    appendFileSync(join(folder, unit.replace(/\.service$/, '')), `${Date.now()} ${line}\n`);
  }

  #enter(): string[] {
    if (!this.#process) throw new Error(`${this.name} does not run`);
    return ['--target', String(this.#init), '--mount', '--pid', '--net', '--uts', '--ipc', '--root', '--wd=/'];
  }

  /** The host's disk: a layer over this machine's own file system. */
  #layer(): void {
    for (const name of ['upper', 'work', 'root', 'journal', 'ask'])
      mkdirSync(join(this.#folder, name), { recursive: true });
    const layers = `lowerdir=/,upperdir=${join(this.#folder, 'upper')},workdir=${join(this.#folder, 'work')}`;
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, this.root]);
  }

  /** What cloud-init leaves: name, user, keys, sudo, SSH server; and the stand-ins. */
  #install(): string {
    const { name, user, sshKeys, shell = '/bin/bash', sudoPassword, standIns = [], sshd = [] } = this.spec;
    const home = user === 'root' ? '/root' : `/home/${user}`;
    const key = makeSshKey(`root@${name}`);
    this.writeFile('/etc/hostname', `${name}\n`);
    this.writeFile('/etc/hosts', `127.0.0.1 localhost\n127.0.1.1 ${name}\n`);
    this.writeFile('/opt/lab/host_key', key.private, 0o600);
    this.writeFile('/opt/lab/init', INIT, 0o755);
    this.writeFile('/opt/lab/ask', ASK, 0o755);
    // busybox is a shell by the name under which it is called.
    symlinkSync('/bin/busybox', join(this.root, 'opt/lab/ash'));
    this.writeFile('/opt/lab/sshd_config', `${[...SSHD, ...sshd].join('\n')}\n`);
    if (user !== 'root') {
      this.#append('/etc/passwd', `${user}:x:4000:4000::${home}:${shell}\n`);
      this.#append('/etc/group', `${user}:x:4000:\n`);
      this.#append('/etc/shadow', `${user}:${sudoPassword ? hashed(sudoPassword) : '*'}:19000:0:99999:7:::\n`);
      const rule = sudoPassword === undefined ? 'NOPASSWD: ALL' : 'ALL';
      this.writeFile(
        '/etc/sudoers',
        'Defaults env_reset\nDefaults !lecture\nroot ALL=(ALL) ALL\n@includedir /etc/sudoers.d\n',
        0o440,
      );
      if (sudoPassword !== null) this.writeFile('/etc/sudoers.d/lab', `${user} ALL=(ALL) ${rule}\n`, 0o440);
    }
    // What this machine's root has in its start-up files is not the host's.
    for (const file of ['.bashrc', '.profile', '.bash_profile']) rmSync(join(this.root, home, file), { force: true });
    this.writeFile(`${home}/.ssh/authorized_keys`, `${sshKeys.join('\n')}\n`, 0o600);
    if (user !== 'root') execFileSync('chown', ['-R', '4000:4000', join(this.root, home)]);
    for (const path of standIns) {
      rmSync(join(this.root, path), { force: true });
      mkdirSync(dirname(join(this.root, path)), { recursive: true });
      symlinkSync('/opt/lab/ask', join(this.root, path));
    }
    return key.public;
  }

  #append(path: string, line: string): void {
    appendFileSync(join(this.root, path), line);
  }
}

const SSHD = [
  'ListenAddress 0.0.0.0',
  'HostKey /opt/lab/host_key',
  'PidFile none',
  'UsePAM no',
  'PasswordAuthentication no',
  'KbdInteractiveAuthentication no',
  'PermitRootLogin prohibit-password',
  'AllowTcpForwarding yes',
  'Subsystem sftp internal-sftp',
];

function hashed(password: string): string {
  return execFileSync('openssl', ['passwd', '-6', '-stdin'], { input: password, encoding: 'utf8' }).trim();
}

function readOr(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Whoever runs a stand-in, root or not, may ask. */
function chmodAll(file: string): void {
  if (existsSync(file)) chmodSync(file, 0o777);
}
