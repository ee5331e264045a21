import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Nas } from '../../lib/config/schema.ts';
import type { ProgramCall, ProgramResult } from '../../lib/lab/types.ts';
import { activeExports, EXPORTS_FILE } from '../../lib/render/exports.ts';
import type { NamespaceHost, Resident } from './host.ts';

const CONFIG = '/etc/ganesha/ganesha.conf';
const DATA = '/run/lab/nas';

/** Ports as /proc/net/tcp writes them: 111, 2049, 20048. */
const [RPCBIND, NFS, MOUNTD] = [':006F ', ':0801 ', ':4E50 '];

/** Who may mount what: export's path → addresses. */
export type Clients = Record<string, string[]>;

/** Folders of a NAS's exports, as binds of its host: file handles want a file system of its own, not a layer. */
export function dataOf(nas: Nas): Record<string, string> {
  return Object.fromEntries(
    nas.exports.map(({ name, path }) => {
      const folder = join(DATA, nas.name, name);
      mkdirSync(folder, { recursive: true });
      return [path, folder];
    }),
  );
}

/** A real NFS server (nfs-ganesha) in a host's namespaces, with a list of clients for each export. */
export class NasServer {
  readonly host: NamespaceHost;
  readonly config: Nas;
  clients: Clients = {};
  #processes: Resident[] = [];

  constructor(host: NamespaceHost, config: Nas) {
    this.host = host;
    this.config = config;
  }

  /** Starts it, or starts it anew with the clients as they are now. */
  async serve(): Promise<void> {
    await this.stop();
    this.host.writeFile(CONFIG, ganeshaConfig(this.host.address, this.clients));
    await this.host.run('mkdir -p /run/ganesha /var/lib/nfs/ganesha /run/rpcbind; rm -f /run/ganesha/ganesha.pid');
    const argv = [
      '/usr/bin/ganesha.nfsd',
      '-F',
      '-L',
      '/var/log/ganesha.log',
      '-f',
      CONFIG,
      '-p',
      '/run/ganesha/ganesha.pid',
    ];
    this.#processes.push(this.host.start(['rpcbind', '-f', '-w']));
    // It ends at once when there is nobody to register with.
    await this.#listening('rpcbind', [RPCBIND]);
    this.#processes.push(this.host.start(argv));
    await this.#listening('the NFS server', [NFS, MOUNTD]);
  }

  /** Ends the NFS server; the machine goes on. */
  async stop(): Promise<void> {
    await Promise.all(this.#processes.splice(0).map((one) => one.end()));
  }

  /** Where this machine finds the files of an export. */
  folderOf(exportName: string): string {
    return join(DATA, this.config.name, exportName);
  }

  /** A folder for a claim, as the emulated CSI driver asks for it. */
  provision(
    share: string,
    subdir: string,
    client: string,
  ): { ok: true; folder: string } | { ok: false; message: string } {
    const found = this.config.exports.find(({ path }) => path === share);
    if (!found || !this.clients[share]?.includes(client))
      return { ok: false, message: 'mount.nfs: access denied by server' };
    const folder = join(this.folderOf(found.name), subdir);
    mkdirSync(folder, { recursive: true });
    return { ok: true, folder };
  }

  /** Empties the exports. */
  wipe(): void {
    for (const { name } of this.config.exports)
      for (const entry of readdirSync(this.folderOf(name)))
        rmSync(join(this.folderOf(name), entry), { recursive: true });
  }

  /** `exportfs` of a NAS whose NFS server is not the kernel's: it reads /etc/exports.d, and the server follows. */
  async exportfs({ argv, root }: ProgramCall): Promise<ProgramResult> {
    if (!root) return { code: 1, stderr: 'exportfs: could not open /var/lib/nfs/.etab.lock for locking: errno 13\n' };
    if (!argv.some((word) => /^-\w*[ra]/.test(word))) return { code: 0, stdout: this.#served() };
    const text = ['/etc/exports', EXPORTS_FILE].map((file) => this.host.readFile(file) ?? '').join('\n');
    this.clients = clientsIn(text);
    await this.serve();
    return { code: 0 };
  }

  #served(): string {
    const options = 'sync,wdelay,hide,no_subtree_check,sec=sys,rw,secure,no_root_squash,no_all_squash';
    const rows = Object.entries(this.clients).flatMap(([path, all]) =>
      all.map((one) => `${path}  ${one}(${options})\n`),
    );
    return rows.join('');
  }

  async #listening(who: string, ports: readonly string[]): Promise<void> {
    for (let tries = 0; tries < 400; tries += 1) {
      const sockets = (await this.host.run('cat /proc/net/tcp /proc/net/tcp6')).split('\n');
      if (ports.every((port) => sockets.some((line) => line.includes(port) && line.includes(' 0A ')))) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    const log = this.host.readFile('/var/log/ganesha.log') ?? '';
    throw new Error(`${who} of ${this.host.name} does not start:\n${log.split('\n').slice(-15).join('\n')}`);
  }
}

/** The clients that homelab.yaml wants, as a person would have entered them. */
export function clientsAsWanted(nas: Nas, addressesOf: (clients: readonly string[]) => string[]): Clients {
  return Object.fromEntries(nas.exports.map(({ path, clients }) => [path, addressesOf(clients)]));
}

function clientsIn(exports: string): Clients {
  const clients: Clients = {};
  for (const line of exports.split('\n').filter((one) => /^\s*[^#\s]/.test(one))) {
    const [path = '', ...all] = line.trim().split(/\s+/);
    const [first] = activeExports(`${path} x(`);
    const key = first?.path ?? path;
    clients[key] = [...(clients[key] ?? []), ...all.map((client) => client.replace(/\(.*$/, ''))];
  }
  return clients;
}

function ganeshaConfig(address: string, clients: Clients): string {
  const exports = Object.entries(clients).map(
    ([path, addresses], i) => `EXPORT {
  Export_Id = ${i + 1}; Path = "${path}"; Pseudo = "${path}"; Protocols = 3, 4; Transports = TCP; Access_Type = NONE;
  FSAL { Name = VFS; }
  ${addresses.length > 0 ? `CLIENT { Clients = ${addresses.join(', ')}; Access_Type = RW; Squash = No_Root_Squash; }` : ''}
}
`,
  );
  return `NFS_CORE_PARAM {
  Protocols = 3, 4; NFS_Port = 2049; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false; Bind_addr = ${address};
  Plugins_Dir = /usr/lib/x86_64-linux-gnu/ganesha;
}
NFSV4 { Graceless = true; Lease_Lifetime = 5; RecoveryBackend = fs; Only_Numeric_Owners = true; }
EXPORT_DEFAULTS { SecType = sys; }
LOG { Default_Log_Level = EVENT; }
${exports.join('')}`;
}
