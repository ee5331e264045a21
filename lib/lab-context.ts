import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadEnv, type Settings } from './config/env.ts';
import { loadConfig } from './config/load.ts';
import type { Config, K3sNode } from './config/schema.ts';
import { UsageError } from './errors.ts';
import { allocateAll, type Ledger, openLedger } from './ledger/ledger.ts';
import { emptyLockFile, type Lease, type LockFile, parseLockFile } from './ledger/lockfile.ts';
import { type LabPaths, labPaths } from './paths.ts';
import type { Secrets } from './secret.ts';

/** What a script knows before it looks at anything: the checked configuration, the leases, the paths. */
export type Lab = {
  config: Config;
  paths: LabPaths;
  /** homelab.lock.yaml as it is. */
  lock: LockFile;
  /** The ledger with a lease for every node; those in `newLeases` are proposals until homelab.lock.yaml has them. */
  ledger: Ledger;
  newLeases: Lease[];
  /** Today, UTC, YYYY-MM-DD. */
  today: string;
};

export type Opened = { lab: Lab; secrets: Secrets; settings: Settings; warnings: string[] };

/**
 * Reads homelab.yaml, homelab.lock.yaml and .env.
 * @param secretNames names of secrets that may come from the environment instead of .env
 * @throws UsageError with all problems
 */
export function openLab(
  configFile: string,
  environment: NodeJS.ProcessEnv,
  secretNames: (config: Config) => readonly string[] = () => [],
): Opened {
  const { config, warnings } = loadConfig(configFile);
  const paths = labPaths(configFile, config.name);
  const { secrets, settings } = loadEnv(paths.env, environment, secretNames(config));
  loadStateSecrets(paths.state, secrets);
  const today = new Date().toISOString().slice(0, 10);
  const lock = existsSync(paths.lock)
    ? parseLockFile(readFileSync(paths.lock, 'utf8'), paths.lock, config.name)
    : emptyLockFile(config.name);
  const opened = openLedger(config, lock.leases);
  const { ledger, given, problems } = allocateAll(opened, config.k3s.nodes, today);
  const all = [...opened.problems, ...problems];
  if (all.length > 0) throw new UsageError(all.map(({ message, fix }) => `${message}; ${fix}`).join('\n'));
  return { lab: { config, paths, lock, ledger, newLeases: given, today }, secrets, settings, warnings };
}

/** The address of anything that homelab.yaml names. @throws Error for a name that it does not hold */
export function addressOf(lab: Lab, name: string): string {
  const { proxmox, nas, network } = lab.config;
  const found =
    lab.ledger.leases.find((lease) => lease.name === name) ??
    proxmox.nodes.find((node) => node.name === name) ??
    nas.find((n) => n.name === name) ??
    network.hosts.find((host) => host.name === name);
  if (!found) throw new Error(`no address for ${name}`);
  return found.address;
}

export function servers(config: Config): K3sNode[] {
  return config.k3s.nodes.filter((node) => node.role === 'server');
}

export function agents(config: Config): K3sNode[] {
  return config.k3s.nodes.filter((node) => node.role === 'agent');
}

/** The NAS and export that `unas/K3sStorage` names, which rules.ts has checked. */
export function findExport(config: Config, reference: string) {
  const [nasName, exportName] = reference.split('/');
  const nas = config.nas.find((n) => n.name === nasName);
  const found = nas?.exports.find((e) => e.name === exportName);
  if (!nas || !found) throw new Error(`no export ${reference}`);
  return { nas, export: found };
}

/** Names of the hosts that may mount an export, with `proxmox` and `k3s` spelled out. */
export function clientsOf(config: Config, clients: readonly string[]): string[] {
  return clients.flatMap((client) => {
    if (client === 'proxmox') return config.proxmox.nodes.map((node) => node.name);
    if (client === 'k3s') return config.k3s.nodes.map((node) => node.name);
    return [client];
  });
}

/** Secrets that `secret` steps made in earlier runs. */
function loadStateSecrets(state: string, secrets: Secrets): void {
  const folder = join(state, 'secrets');
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder))
    if (!name.startsWith('.')) secrets.add(name, readFileSync(join(folder, name), 'utf8').trim());
}
