import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { installations } from '../backup/clients.ts';
import { NEEDED, readTool } from '../observe/tools.ts';
import { TOOLKIT } from '../paths.ts';
import { CD_PROGRAMS } from '../plan/template-problems.ts';
import type { Exec } from '../ports/types.ts';
import { atLeast } from '../version.ts';

/** How a component took part in a rehearsal. `why` says what made it so. */
export type Component = { state: 'real' | 'stand-in' | 'skipped'; why: string };
export type Components = Record<string, Component>;

/** What the installed programs allow; the emulated rest is always the same. */
export type Found = {
  terraform: Component;
  /** Folder of a filesystem mirror that holds the pinned provider. */
  providerMirror?: string;
  packer: Component;
  /** Folder with HCL for this Packer, where ours is too new for it. */
  packerTemplate?: string;
  postgresql: Component;
};

const PROVIDER = '0.111.1';
const PLATFORM = `${process.platform}_${process.arch === 'x64' ? 'amd64' : process.arch}`;

/** Programs that a rehearsal takes from this machine where they are installed. */
export type ToolName = 'terraform' | 'packer' | 'postgresql';

/**
 * Looks which real programs this machine has. Only looks.
 * @param without programs that count as not installed
 */
export async function findComponents(exec: Exec, without: readonly ToolName[] = []): Promise<Found> {
  const hidden = (why: string): Component => ({
    state: why === 'postgresql' ? 'skipped' : 'stand-in',
    why: `left out (--without ${why})`,
  });
  const [terraform, packer, postgresql] = await Promise.all([
    without.includes('terraform') ? { terraform: hidden('terraform') } : findTerraform(exec),
    without.includes('packer') ? { packer: hidden('packer') } : findPacker(exec),
    without.includes('postgresql') ? hidden('postgresql') : findPostgres(exec),
  ]);
  return { ...terraform, ...packer, postgresql };
}

/** A backup that cannot be restored proves nothing, so there is no stand-in: server and client, or the leg is left out. */
async function findPostgres(exec: Exec): Promise<Component> {
  const found = (await installations(exec)).find(({ server }) => server);
  return found
    ? { state: 'real', why: `PostgreSQL ${found.version}` }
    : { state: 'skipped', why: 'PostgreSQL (server and client) is not installed' };
}

async function findTerraform(exec: Exec): Promise<Pick<Found, 'terraform' | 'providerMirror'>> {
  const { version, problem } = await readTool('terraform', exec);
  if (!version) return { terraform: { state: 'stand-in', why: problem ?? 'terraform is not installed' } };
  if (!atLeast(version, NEEDED.terraform))
    return {
      terraform: { state: 'stand-in', why: `terraform ${version} is older than ${NEEDED.terraform.join('.')}` },
    };
  const mirrors = [
    process.env.TF_PLUGIN_CACHE_DIR,
    join(homedir(), '.terraform.d/plugins'),
    '/usr/local/share/terraform/plugins',
  ];
  const providerMirror = mirrors.find(
    (folder) => folder && existsSync(join(folder, `registry.terraform.io/bpg/proxmox/${PROVIDER}/${PLATFORM}`)),
  );
  if (!providerMirror)
    return {
      terraform: { state: 'stand-in', why: `provider bpg/proxmox ${PROVIDER} is not in ~/.terraform.d/plugins` },
    };
  return { terraform: { state: 'real', why: `Terraform ${version}, bpg/proxmox ${PROVIDER}` }, providerMirror };
}

async function findPacker(exec: Exec): Promise<Pick<Found, 'packer' | 'packerTemplate'>> {
  const { version, problem } = await readTool('packer', exec);
  if (!version) return { packer: { state: 'stand-in', why: problem ?? 'packer is not installed' } };
  if (!atLeast(version, NEEDED.packer)) {
    // Debian's: the Proxmox builder is built in, and it reads another HCL.
    if (atLeast(version, NEEDED.packerWithOwnHcl))
      return {
        packer: { state: 'real', why: `Packer ${version}, with HCL for that version` },
        packerTemplate: join(TOOLKIT, 'lib/lab/packer-1.6'),
      };
    return { packer: { state: 'stand-in', why: `packer ${version} is too old` } };
  }
  const plugins = await exec.run(['packer', 'plugins', 'installed'], { deadline: 30 });
  if (!plugins.stdout.includes('packer-plugin-proxmox'))
    return { packer: { state: 'stand-in', why: `packer ${version} without the proxmox plugin` } };
  if (!CD_PROGRAMS.some((program) => exec.which(program)))
    return { packer: { state: 'stand-in', why: `packer ${version} without ${CD_PROGRAMS.join(', ')}` } };
  return { packer: { state: 'real', why: `Packer ${version} with the proxmox plugin` } };
}

/** Every component of the lab, by name, as the final table and the report list them. */
export function allComponents({ terraform, packer, postgresql }: Found): Components {
  const emulator = (why: string): Component => ({ state: 'stand-in', why });
  return {
    terraform,
    packer,
    postgresql,
    shell: { state: 'real', why: 'what the scripts send runs in /bin/sh' },
    ssh: { state: 'real', why: 'SSH protocol by the ssh2 package, client and server' },
    proxmox: emulator('emulator of the Proxmox VE API'),
    'virtual machines': emulator('folders, each with an SSH server'),
    'systemd, apt, mount': emulator('small programs with state'),
    k3s: emulator('emulator of its install script, its units and its API'),
    'metallb, cert-manager, csi-driver-nfs': emulator('emulated outcome of their charts'),
    'pods of the backup':
      postgresql.state === 'real'
        ? emulator('child processes, without isolation: the real bundle, Node and PostgreSQL')
        : postgresql,
    traefik: emulator('a real HTTP and TLS listener that routes by the Ingress objects'),
    "let's encrypt": emulator('certificates of the rehearsal’s own CA'),
    nas: emulator('folders, and who may mount them'),
  };
}
