import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:net';
import { join } from 'node:path';
import type { Nas } from '../../lib/config/schema.ts';
import { LabCa } from '../../lib/lab/ca.ts';
import { installScript, installScriptPath, type LabCluster, startCluster } from '../../lib/lab/cluster/index.ts';
import type { Component } from '../../lib/lab/components.ts';
import { startDownloads } from '../../lib/lab/downloads.ts';
import { genericPrograms } from '../../lib/lab/hosts/index.ts';
import { bootUnits, stopUnits } from '../../lib/lab/hosts/programs/systemd.ts';
import { type LabPve, startPve } from '../../lib/lab/pve/index.ts';
import type { LabHost, World } from '../../lib/lab/types.ts';
import { makeWorkspace } from '../../lib/lab/workspace.ts';
import { type Lab, openLab } from '../../lib/lab-context.ts';
import { addressOf, clientsOf } from '../../lib/lookup.ts';
import { labPaths, TOOLKIT } from '../../lib/paths.ts';
import { aclOf, neededPrivileges } from '../../lib/plan/privileges.ts';
import { learn, parseHostKey } from '../../lib/ports/known-hosts.ts';
import { type LabScripts, labScripts, NEXT_VERSION } from '../lab-scripts.ts';
import { RealEndpoints, relay } from './endpoints.ts';
import { type HostSpec, NamespaceHost } from './host.ts';
import { onRealNetwork } from './k3s-units.ts';
import { clientsAsWanted, dataOf, NasServer } from './nas.ts';
import { Network } from './network.ts';
import { installClient, packageSource, useSource } from './packages.ts';

const absent: Component = { state: 'skipped', why: 'not part of this test' };
const ROUTER = '10.20.11.1';

export type LabOptions = {
  /** Text of homelab.yaml, changed before anything starts. */
  edit?: (text: string) => string;
  /** What is different about a host. */
  hosts?: Record<string, Partial<HostSpec>>;
  /** With Proxmox nodes (and their API), and NAS. Default: K3s nodes only. */
  storage?: boolean;
  /** Lines of .env. */
  env?: string[];
};

/** The lab of homelab.yaml on hosts of its own. What is emulated on them: K3s, systemd, the Proxmox API. */
export type NamespaceLab = LabScripts & {
  folder: string;
  configFile: string;
  lab: Lab;
  network: Network;
  cluster: LabCluster;
  hosts: Map<string, NamespaceHost>;
  nas: Map<string, NasServer>;
  pve?: LabPve;
  host(name: string): NamespaceHost;
  /** Boots a host that is off, and starts its enabled units. */
  boot(name: string): Promise<void>;
  powerOff(name: string): Promise<void>;
  /** A new machine with an empty disk under the same name, as provision leaves it: its key is known. */
  rebuild(name: string): Promise<void>;
  close(): Promise<void>;
};

export async function startNamespaceLab(options: LabOptions = {}): Promise<NamespaceLab> {
  const { edit = (text) => text, storage = false, hosts: special = {}, env = [] } = options;
  const root = mkdtempSync('/run/lab-');
  const folder = join(root, 'lab');
  const source = join(root, 'homelab.yaml');
  writeFileSync(source, edit(readFileSync(join(TOOLKIT, 'homelab.yaml'), 'utf8')));
  const ca = await LabCa.create();
  const workspace = makeWorkspace(source, folder, ca, { terraform: absent, packer: absent, postgresql: absent });
  const { configFile, publicKey } = workspace;
  const settings = readFileSync(join(folder, '.env'), 'utf8').replace(/^HOMELAB_ENDPOINTS=.*\n/m, '');
  writeFileSync(join(folder, '.env'), settings + env.map((line) => `${line}\n`).join(''), { mode: 0o600 });
  const { lab } = openLab(configFile, {});
  const { config } = lab;

  const network = new Network([`${ROUTER}/24`, ...otherGateways(config.nas.map(({ address }) => address))]);
  const machines = [...config.k3s.nodes, ...(storage ? [...config.proxmox.nodes, ...config.nas] : [])];
  const endpoints = new RealEndpoints(ROUTER, new Set(machines.map(({ name }) => addressOf(lab, name))));
  const nas = new Map<string, NasServer>();
  const cluster = await startCluster({
    ca,
    endpoints,
    provisionNfs: (server, share, subdir, client) =>
      [...nas.values()].find(({ host }) => host.address === server)?.provision(share, subdir, client) ?? {
        ok: false,
        message: `mount.nfs: no route to host ${server}`,
      },
  });
  const hosts = new Map<string, NamespaceHost>();
  const find = (host: LabHost): NamespaceHost => hosts.get(host.name) ?? fail(`no host ${host.name}`);
  const world: World = { programs: new Map(), units: new Map(), route: () => undefined };
  for (const [name, unit] of cluster.units)
    world.units.set(name, onRealNetwork(unit, name === 'k3s' ? 'server' : 'agent', name, find));
  const generic = genericPrograms(world);
  for (const name of ['systemctl', 'journalctl']) world.programs.set(name, generic.get(name) ?? fail(name));
  for (const [name, program] of cluster.programs) world.programs.set(name, program);

  const packages = storage ? packageSource() : undefined;
  const knownHosts = join(labPaths(configFile, config.name).state, 'known_hosts');
  const make = async (name: string, more: Partial<HostSpec>): Promise<NamespaceHost> => {
    const address = addressOf(lab, name);
    const host = new NamespaceHost(
      {
        ...{ name, address, gateway: address.replace(/\d+$/, '1'), user: config.template.user, sshKeys: [publicKey] },
        standIns: ['/usr/bin/systemctl', '/usr/bin/journalctl'],
        ...more,
        ...special[name],
      },
      network,
      world.programs,
    );
    if (packages) useSource(host);
    hosts.set(name, host);
    await host.boot();
    await learn(knownHosts, address, name, parseHostKey(host.hostKey));
    return host;
  };
  const ofNode = packages ? { binds: { '/opt/lab/apt': packages } } : {};
  const closing: Server[] = [];
  const startNas = async (each: Nas): Promise<void> => {
    const host = await make(each.name, { user: 'root', binds: dataOf(each), standIns: ['/usr/sbin/exportfs'] });
    const server = new NasServer(host, each);
    nas.set(each.name, server);
    // Others than a plain Linux server are set by hand: somebody did that.
    if (each.kind !== 'linux')
      server.clients = clientsAsWanted(each, (all) => clientsOf(config, all).map((name) => addressOf(lab, name)));
    await server.serve();
  };
  const startNode = async (name: string): Promise<void> => {
    installClient(await make(name, { user: config.ssh.proxmox_user }));
  };
  world.programs.set('exportfs', (call) => {
    const server = [...nas.values()].find(({ host }) => host === call.host);
    return server ? server.exportfs(call) : fail(`${call.host.name} is no NAS`);
  });
  await Promise.all([
    ...config.k3s.nodes.map(({ name }) => make(name, ofNode)),
    ...(storage ? config.nas.map(startNas) : []),
    ...(storage ? config.proxmox.nodes.map(({ name }) => startNode(name)) : []),
  ]);
  const pve = storage ? await startProxmox(lab, workspace.tokenSecret, ca, hosts, closing) : undefined;
  const versions = [config.k3s.version, NEXT_VERSION];
  const downloads = await startDownloads(
    Object.fromEntries(
      versions.map((version) => [`https://raw.githubusercontent.com${installScriptPath(version)}`, scriptForHosts()]),
    ),
    ca,
    endpoints,
  );

  const host = (name: string): NamespaceHost => hosts.get(name) ?? fail(`no host ${name}`);
  const environment = { HOME: root, NODE_EXTRA_CA_CERTS: join(folder, 'lab-ca.pem') };
  return {
    ...{ folder, configFile, lab, network, cluster, hosts, nas, pve, host },
    ...labScripts(configFile, environment),
    boot: async (name) => {
      await host(name).boot();
      await nas.get(name)?.serve();
      void bootUnits(host(name), world);
    },
    powerOff: async (name) => {
      await host(name).powerOff();
      await stopUnits(host(name), world);
    },
    rebuild: async (name) => {
      const { spec } = host(name);
      await host(name).powerOff();
      await stopUnits(host(name), world);
      await host(name).destroy();
      await make(name, spec);
    },
    close: async () => {
      await Promise.all([...nas.values()].map((one) => one.stop()));
      await Promise.all([...hosts.values()].map((one) => one.destroy()));
      await pve?.close();
      await cluster.close();
      await downloads.close();
      endpoints.close();
      for (const server of closing) server.close();
      network.close();
    },
  };
}

/** The stand-in for K3s's install script leaves a marker as the binary: on these hosts one that can be executed. */
function scriptForHosts(): string {
  const marker = /^ *echo "(K3s \$version [^"]*)" > (\S+)$/m;
  const script = installScript().replace(
    marker,
    (_, text: string, file: string) => `printf '#!/opt/lab/ask\\n# %s\\n' "${text}" > ${file}`,
  );
  if (!script.includes('#!/opt/lab/ask')) throw new Error('the install script has no marker any more');
  return script;
}

async function startProxmox(
  lab: Lab,
  tokenSecret: string,
  ca: LabCa,
  hosts: ReadonlyMap<string, NamespaceHost>,
  closing: Server[],
): Promise<LabPve> {
  const { proxmox } = lab.config;
  const pve = await startPve({
    nodes: proxmox.nodes.map(({ name, address, gpus }) => ({ name, address, gpus })),
    storages: proxmox.storages
      .filter((one) => !one.export)
      .map(({ name, content, shared }) => ({ name, content, shared })),
    bridge: proxmox.bridge,
    token: { id: proxmox.token_id, secret: tokenSecret, privileges: aclOf(neededPrivileges(lab.config)) },
    user: { id: proxmox.token_id.split('!')[0] ?? '', password: tokenSecret },
    ca,
    machines: { boot: () => fail('no VM is started here'), destroy: async () => {} },
  });
  for (const { name } of proxmox.nodes) {
    const port = pve.portOf(name);
    closing.push(relay({ address: ROUTER, port }, `127.0.0.1:${port}`));
    hosts.get(name)?.start(['socat', `TCP-LISTEN:${proxmox.port},fork,reuseaddr`, `TCP:${ROUTER}:${port}`]);
  }
  return pve;
}

/** The router's addresses in networks other than the lab's own. */
function otherGateways(addresses: readonly string[]): string[] {
  const networks = new Set(addresses.map((address) => address.replace(/\d+$/, '1/24')));
  networks.delete(`${ROUTER}/24`);
  return [...networks];
}

function fail(what: string): never {
  throw new Error(what);
}
