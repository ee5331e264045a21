import { machine } from 'node:os';
import type { Program, ProgramCall, ProgramResult } from '../../types.ts';
import { caller, fail, ok, option, parseArgs, stored } from './common.ts';

/** Who and what the host is. */
export const identityPrograms: [string, Program][] = [
  ['hostname', hostname],
  ['hostnamectl', hostnamectl],
  ['timedatectl', timedatectl],
  ['id', id],
  ['whoami', ({ host, root }) => ok(`${root ? 'root' : caller({ host }).spec.user}\n`)],
  ['uname', uname],
  ['nproc', ({ host }) => ok(`${host.cores}\n`)],
  ['cloud-init', cloudInit],
  [
    'lspci',
    ({ host }) =>
      ok(host.gpus.map((_, i) => `0${i + 1}:00.0 VGA compatible controller: NVIDIA Corporation\n`).join('')),
  ],
];

/** They succeed and do nothing: what they would change does not exist here. */
export const QUIET = [
  ...['modprobe', 'swapoff', 'udevadm', 'update-ca-certificates', 'locale-gen', 'partprobe'],
  ...['usermod', 'groupadd', 'update-initramfs', 'update-grub', 'ldconfig'],
];

function hostname({ host, argv, root }: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(argv.slice(1));
  if (options.has('-I') || options.has('--all-ip-addresses')) return ok(`${host.address}\n`);
  const [name] = operands;
  if (name === undefined) return ok(host.readFile('/etc/hostname'));
  return root ? rename(host, name) : fail(1, 'hostname: you must be root to change the host name');
}

function hostnamectl({ host, argv, root }: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(argv.slice(1));
  const [verb = 'status', name] = operands;
  if (verb === 'set-hostname' || (verb === 'hostname' && name !== undefined))
    return root
      ? rename(host, name ?? '')
      : fail(1, 'Could not set static hostname: Interactive authentication required.');
  const now = host.readFile('/etc/hostname')?.trim();
  if (verb === 'hostname' || options.has('--static')) return ok(`${now}\n`);
  return ok(` Static hostname: ${now}\n  Virtualization: kvm\nOperating System: Ubuntu 24.04.3 LTS\n`);
}

function rename(host: ProgramCall['host'], name: string): ProgramResult {
  host.writeFile('/etc/hostname', `${name}\n`);
  return ok();
}

function timedatectl({ host, argv, root }: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(argv.slice(1), ['-p', '--property']);
  const [verb = 'status', zone] = operands;
  const clock = stored(host, 'clock', { Timezone: 'UTC' });
  if (verb === 'set-timezone') {
    if (!root) return fail(1, 'Failed to set time zone: Interactive authentication required.');
    clock.value.Timezone = zone ?? 'UTC';
    clock.save();
    return ok();
  }
  if (verb === 'set-ntp') return ok();
  const all: Record<string, string> = {
    Timezone: clock.value.Timezone,
    NTP: 'yes',
    NTPSynchronized: 'yes',
    CanNTP: 'yes',
  };
  if (verb === 'status')
    return ok(
      `                Time zone: ${all.Timezone}\nSystem clock synchronized: yes\n              NTP service: active\n`,
    );
  const keys = option(options, '-p', '--property')?.split(',') ?? Object.keys(all);
  return ok(keys.map((key) => `${options.has('--value') ? all[key] : `${key}=${all[key]}`}\n`).join(''));
}

function id({ host, argv, root }: ProgramCall): ProgramResult {
  const { options } = parseArgs(argv.slice(1));
  const name = root ? 'root' : caller({ host }).spec.user;
  const number = root || name === 'root' ? 0 : 1000;
  if (options.has('-u') || options.has('-g') || options.has('-G')) return ok(`${options.has('-n') ? name : number}\n`);
  return ok(`uid=${number}(${name}) gid=${number}(${name}) groups=${number}(${name})\n`);
}

function uname({ host, argv }: ProgramCall): ProgramResult {
  const { options } = parseArgs(argv.slice(1));
  const parts: [string, string][] = [
    ['-s', 'Linux'],
    ['-n', host.readFile('/etc/hostname')?.trim() ?? host.name],
    ['-r', '6.8.0-79-generic'],
    ['-m', machine() === 'arm64' ? 'aarch64' : machine()],
  ];
  const wanted = options.has('-a') ? parts : parts.filter(([flag]) => options.has(flag));
  return ok(`${(wanted.length > 0 ? wanted : parts.slice(0, 1)).map(([, value]) => value).join(' ')}\n`);
}

function cloudInit({ host, argv }: ProgramCall): ProgramResult {
  if (argv[1] === 'clean') return ok();
  const done = host.readFile('/var/lib/cloud/instance/boot-finished') !== undefined;
  return { code: 0, stdout: `status: ${done ? 'done' : 'disabled'}\n` };
}
