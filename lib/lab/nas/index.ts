import { existsSync, mkdirSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { Config } from '../../config/schema.ts';
import type { EndpointFile } from '../endpoint-file.ts';
import { leaveFolder, plainFolder } from '../plain-folder.ts';
import { clientsIn } from './clients.ts';

export type NasFaults = {
  /** Names of NAS that do not answer. Set with `setDown`, so that its port closes too. */
  down: Set<string>;
  /** Names of NAS whose exports let everybody in, as a UI that was not filled in does. */
  open: Set<string>;
  /** Exports ("unas/K3sStorage") that the NAS does not have. */
  missing: Set<string>;
  /** Exports whose handles the NAS does not know any more. */
  stale: Set<string>;
  /** Names of hosts on which mount says yes, and mounts nothing. */
  phantom: Set<string>;
};

/** What a mount attempt gets. `code` and `message` are those of mount.nfs. */
export type MountAnswer = { ok: true; folder: string } | { ok: false; code: number; message: string };

/** The network storages of a lab: a folder for each export, and who may mount it. */
export interface LabNas {
  readonly faults: NasFaults;
  /** The folder behind `server:path` (the NAS's name or address), also for a path below an export. */
  folderOf(server: string, path: string): string | undefined;
  allowed(server: string, path: string, clientAddress: string): boolean;
  /** What `mount -t nfs` of a client gets; `version` is its nfsvers, where it asks for one. */
  mount(server: string, path: string, clientAddress: string, version?: string): MountAnswer;
  /** Whether what was mounted of it is stale. */
  isStale(source: string): boolean;
  /** Exports with their clients' addresses; undefined for an unknown or silent server. */
  exports(server: string): { path: string; clients: string[] }[] | undefined;
  /** Replaces who may mount an export, as `exportfs -ra` does. */
  setClients(server: string, path: string, clients: string[]): void;
  /** A directory below an export for csi-driver-nfs, made when it is not there. */
  provision(
    server: string,
    share: string,
    subdir: string,
    clientAddress: string,
  ): { ok: true; folder: string } | { ok: false; message: string };
  setDown(name: string, down: boolean): void;
  /** Whether an address is a NAS that answers. */
  answers(address: string): boolean;
  /** Where port 2049 of a NAS leads on loopback. */
  route(address: string, port: number): { host: string; port: number } | undefined;
  close(): Promise<void>;
}

const NFS = 2049;
const PORTMAPPER = 111;

/**
 * Starts the NAS of homelab.yaml: empty folders below `folder`, and a port 2049 that accepts and closes.
 * @param addressOf the address of a host by name, leases included
 */
export async function startNas(
  config: Pick<Config, 'nas' | 'proxmox' | 'k3s' | 'backup'>,
  folder: string,
  endpoints: EndpointFile,
  addressOf: (name: string) => string | undefined,
): Promise<LabNas> {
  const clients = new Map<string, string[]>();
  const folders = new Map<string, string>();
  for (const nas of config.nas)
    for (const { name, path, clients: words } of nas.exports) {
      const place = plainFolder(join(folder, nas.name, name));
      folders.set(`${nas.name}:${path}`, place);
      clients.set(`${nas.name}:${path}`, clientsIn(config, words, addressOf));
      for (const server of [nas.address, nas.name]) endpoints.mount(`${server}:${path}`, place);
    }
  // A disk of the operator's machine, which a rehearsal must not touch.
  const disk = config.backup?.second_target?.folder;
  if (disk !== undefined) endpoints.mount(disk, plainFolder(join(folder, 'second-target')));
  const ports = new Map<string, Server>();
  for (const nas of config.nas) {
    const server = createServer((socket) => socket.on('error', () => {}).end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ports.set(nas.name, server.unref());
    endpoints.set(nas.address, null);
    endpoints.set(`${nas.address}:${NFS}`, `127.0.0.1:${portOf(server)}`);
  }

  const faults: NasFaults = {
    ...{ down: new Set(), open: new Set(), missing: new Set(), stale: new Set(), phantom: new Set() },
  };
  const find = (server: string) => config.nas.find(({ name, address }) => server === name || server === address);
  /** The export that holds a path: the path itself, or a folder below it. */
  const exportFor = (server: string, path: string) => {
    const nas = find(server);
    const plain = path.replace(/(?<=.)\/+$/, '');
    const found = nas?.exports.find((e) => plain === e.path || plain.startsWith(`${e.path}/`));
    if (!nas || !found || plain.split('/').includes('..')) return undefined;
    const id = `${nas.name}/${found.name}`;
    return { nas, id, key: `${nas.name}:${found.path}`, below: plain.slice(found.path.length) };
  };
  const folderOf = (server: string, path: string): string | undefined => {
    const found = exportFor(server, path);
    return found && (folders.get(found.key) ?? '') + found.below;
  };
  const allowed = (server: string, path: string, client: string): boolean => {
    const found = exportFor(server, path);
    if (!found) return false;
    return faults.open.has(found.nas.name) || (clients.get(found.key) ?? []).includes(client);
  };
  const mount: LabNas['mount'] = (server, path, client, version) => {
    const refuse = (message: string): MountAnswer => ({ ok: false, code: 32, message: `mount.nfs: ${message}` });
    const nas = find(server);
    const source = `${server}:${path}`;
    if (!nas || faults.down.has(nas.name)) return refuse('Connection timed out');
    if (version && !version.startsWith('3') && nas.nfs_version === '3') return refuse('Protocol not supported');
    const id = exportFor(server, path)?.id ?? '';
    if (faults.missing.has(id) && !version?.startsWith('4'))
      return refuse(`access denied by server while mounting ${source}`);
    const place = faults.missing.has(id) ? undefined : folderOf(server, path);
    if (!place || !existsSync(place))
      return refuse(`mounting ${source} failed, reason given by server: No such file or directory`);
    if (!allowed(server, path, client)) return refuse(`access denied by server while mounting ${source}`);
    if (faults.stale.has(id)) return refuse('Stale file handle');
    return { ok: true, folder: place };
  };
  return {
    ...{ faults, folderOf, allowed, mount },
    isStale: (source) => {
      const [, server = '', path = ''] = /^([^:]+):(.*)$/.exec(source) ?? [];
      return faults.stale.has(exportFor(server, path)?.id ?? '');
    },
    exports: (server) => {
      const nas = find(server);
      if (!nas || faults.down.has(nas.name)) return undefined;
      return nas.exports
        .filter(({ name }) => !faults.missing.has(`${nas.name}/${name}`))
        .map(({ path }) => ({ path, clients: clients.get(`${nas.name}:${path}`) ?? [] }));
    },
    setClients: (server, path, wanted) => {
      const found = exportFor(server, path);
      if (found) clients.set(found.key, wanted);
    },
    provision: (server, share, subdir, client) => {
      const answer = mount(server, share, client);
      if (!answer.ok) return answer;
      if (subdir.split('/').includes('..')) return { ok: false, message: `invalid subDir ${subdir}` };
      const place = join(answer.folder, subdir);
      mkdirSync(place, { recursive: true });
      return { ok: true, folder: place };
    },
    setDown: (name, down) => {
      const nas = find(name);
      const server = nas && ports.get(nas.name);
      if (!nas || !server) throw new Error(`no NAS ${name}`);
      if (down) faults.down.add(nas.name);
      else faults.down.delete(nas.name);
      endpoints.set(`${nas.address}:${NFS}`, down ? null : `127.0.0.1:${portOf(server)}`);
    },
    answers: (address) => {
      const nas = find(address);
      return nas !== undefined && !faults.down.has(nas.name);
    },
    route: (address, port) => {
      const nas = find(address);
      const listens = port === NFS || (port === PORTMAPPER && nas?.nfs_version === '3');
      const server = nas && !faults.down.has(nas.name) && listens ? ports.get(nas.name) : undefined;
      return server && { host: '127.0.0.1', port: portOf(server) };
    },
    close: async () => {
      for (const place of folders.values()) leaveFolder(place);
      await Promise.all([...ports.values()].map((server) => new Promise((done) => server.close(done))));
    },
  };
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a NAS has no port');
  return address.port;
}
