import { join, resolve } from 'node:path';
import { CLIENT_GROUPS, isGroup } from './config/clients.ts';
import type { Backup, Config, K3sNode, Nas, NasExport } from './config/schema.ts';
import { UsageError } from './errors.ts';
import type { Lab } from './lab-context.ts';

// What a checked configuration says, by name. Pure, so that planners and renderers may use it.

/** The address of anything that homelab.yaml names. @throws Error for a name that it does not hold */
export function addressOf(lab: Pick<Lab, 'config' | 'ledger'>, name: string): string {
  const address = findAddress(lab, name);
  if (address === undefined) throw new Error(`no address for ${name}`);
  return address;
}

/** Database servers by their addresses, where homelab.yaml knows their hosts; other names are left to DNS. */
export function withDatabaseAddresses(lab: Pick<Lab, 'config' | 'ledger'>): Config {
  const { backup, ...rest } = lab.config;
  if (!backup) return lab.config;
  const postgresql = backup.postgresql.map((server) => {
    const address = server.host === undefined ? undefined : findAddress(lab, server.host);
    return address === undefined ? server : { ...server, host: address };
  });
  return { ...rest, backup: { ...backup, postgresql } };
}

function findAddress(lab: Pick<Lab, 'config' | 'ledger'>, name: string): string | undefined {
  const { proxmox, nas, network } = lab.config;
  const found =
    lab.ledger.leases.find((lease) => lease.name === name) ??
    proxmox.nodes.find((node) => node.name === name) ??
    nas.find((n) => n.name === name) ??
    network.hosts.find((host) => host.name === name);
  return found?.address;
}

/** The K3s nodes that form the control plane, in the order of homelab.yaml. */
export function servers(config: Config): K3sNode[] {
  return config.k3s.nodes.filter((node) => node.role === 'server');
}

/** The NAS and export that `unas/K3sStorage` names, which rules.ts has checked. */
export function findExport({ nas: all }: Pick<Config, 'nas'>, reference: string): { nas: Nas; export: NasExport } {
  const [nasName, exportName] = reference.split('/');
  const nas = all.find((n) => n.name === nasName);
  const found = nas?.exports.find((e) => e.name === exportName);
  if (!nas || !found) throw new Error(`no export ${reference}`);
  return { nas, export: found };
}

/** Names of the hosts that may mount an export, with groups spelled out. */
export function clientsOf(config: Pick<Config, 'proxmox' | 'k3s'>, clients: readonly string[]): string[] {
  return [...new Set(clients.flatMap((client) => (isGroup(client) ? CLIENT_GROUPS[client].of(config) : [client])))];
}

/** @throws UsageError when homelab.yaml has no `backup` */
export function backupOf({ backup }: Pick<Config, 'backup'>): Backup {
  if (backup) return backup;
  throw new UsageError('homelab.yaml has no `backup`: there is nothing to back up', {
    fix: 'add it; the homelab.yaml of the toolkit shows its keys',
  });
}

/** The PEM file with the CA of the Proxmox cluster; undefined where certificates are pinned by their fingerprints. */
export function caFile({ config, paths }: Pick<Lab, 'config' | 'paths'>): string | undefined {
  const { ca_file } = config.proxmox;
  return ca_file === undefined ? undefined : resolve(paths.root, ca_file);
}

/**
 * The PEM file by which Terraform and Packer recognise Proxmox: ca_file, or, where a node is pinned by its
 * fingerprint, what the scripts make of those (lib/observe/trust.ts).
 */
export function trustFile(lab: Pick<Lab, 'config' | 'paths'>): string | undefined {
  const isPinned = lab.config.proxmox.nodes.some(({ fingerprint }) => fingerprint !== undefined);
  return isPinned ? join(trustFolder(lab), 'proxmox.pem') : caFile(lab);
}

/**
 * What makes a Go program trust Proxmox, and nobody else: without the second it would trust the public CAs of this
 * machine too. Not for what fetches from the internet (`init`).
 */
export function goTrust(lab: Pick<Lab, 'config' | 'paths'>): Record<string, string> {
  return { SSL_CERT_FILE: trustFile(lab) ?? '', SSL_CERT_DIR: trustFolder(lab) };
}

function trustFolder({ paths }: Pick<Lab, 'paths'>): string {
  return join(paths.state, 'trust');
}
