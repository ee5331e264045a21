import type { LabHost, Program, ProgramCall, ProgramResult } from '../../types.ts';
import { caller, fail, ok, option, parseArgs, stored } from './common.ts';

/** Of the image; the Proxmox nodes' has an NFS client too. */
const OF_THE_IMAGE = ['openssh-server', 'qemu-guest-agent', 'cloud-init', 'sudo', 'curl', 'lvm2'];
const VERSION = '1.0-1ubuntu1';
const NOT_ROOT =
  'E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?';

/** apt-get and dpkg, which record what is installed and install nothing. */
export const packagePrograms: [string, Program][] = [
  ['apt-get', apt],
  ['apt', apt],
  [
    'dpkg',
    (call) => (option(parseArgs(call.argv.slice(1)).options, '-s', '--status') === undefined ? ok() : status(call)),
  ],
  ['dpkg-query', query],
];

/** Whether a package is installed on a host. */
export function installed(host: LabHost, name: string): boolean {
  return name in packagesOf(host).value;
}

function packagesOf(host: LabHost) {
  const { user } = caller({ host }).spec;
  const image = user === 'root' ? [...OF_THE_IMAGE, 'nfs-common', 'pve-manager'] : OF_THE_IMAGE;
  return stored<Record<string, string>>(host, 'packages', Object.fromEntries(image.map((name) => [name, VERSION])));
}

function apt({ host, argv, root }: ProgramCall): ProgramResult {
  const { operands } = parseArgs(argv.slice(1), ['-o', '-t', '-c']);
  const [verb = '', ...names] = operands;
  if (!root) return fail(100, NOT_ROOT);
  const fault = caller({ host }).faults.apt;
  if (fault) return fail(100, `E: ${fault}`);
  const packages = packagesOf(host);
  if (verb === 'install')
    for (const name of names) packages.value[name.replace(/[=/].*$/, '')] = /=(.+)$/.exec(name)?.[1] ?? VERSION;
  else if (verb === 'remove' || verb === 'purge') for (const name of names) delete packages.value[name];
  else if (!['update', 'upgrade', 'dist-upgrade', 'full-upgrade', 'autoremove', 'clean'].includes(verb))
    return fail(100, `E: Invalid operation ${verb}`);
  packages.save();
  return ok(`Reading package lists... Done\n${names.map((name) => `Setting up ${name} (${VERSION}) ...\n`).join('')}`);
}

function query({ host, argv }: ProgramCall): ProgramResult {
  const { options, operands } = parseArgs(argv.slice(1), ['-f', '--showformat']);
  const { value } = packagesOf(host);
  const format = option(options, '-f', '--showformat') ?? '${Package}\\t${Version}\\n';
  const found = operands.filter((name) => name in value);
  const missing = operands.filter((name) => !(name in value));
  const shown = (operands.length === 0 ? Object.keys(value) : found).map((name) =>
    format
      .replaceAll('${Package}', name)
      .replaceAll('${binary:Package}', name)
      .replaceAll('${Version}', value[name] ?? '')
      .replaceAll('${Status}', 'install ok installed')
      .replaceAll('${db:Status-Status}', 'installed')
      .replaceAll('${db:Status-Abbrev}', 'ii ')
      .replaceAll('\\n', '\n')
      .replaceAll('\\t', '\t'),
  );
  const stderr = missing.map((name) => `dpkg-query: no packages found matching ${name}\n`).join('');
  return { code: missing.length > 0 ? 1 : 0, stdout: shown.join(''), stderr };
}

function status({ host, argv }: ProgramCall): ProgramResult {
  const { value } = packagesOf(host);
  const names = argv.slice(1).filter((word) => !word.startsWith('-'));
  const missing = names.filter((name) => !(name in value));
  if (missing.length > 0)
    return fail(
      1,
      missing
        .map((name) => `dpkg-query: package '${name}' is not installed and no information is available`)
        .join('\n'),
    );
  return ok(
    names.map((name) => `Package: ${name}\nStatus: install ok installed\nVersion: ${value[name]}\n`).join('\n'),
  );
}
