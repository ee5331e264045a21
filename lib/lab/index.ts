import { join } from 'node:path';
import type { Config } from '../config/schema.ts';
import { formatIp } from '../ledger/ip.ts';
import { allocateAll, openLedger } from '../ledger/ledger.ts';
import { labPaths } from '../paths.ts';
import { aclOf, neededPrivileges } from '../plan/privileges.ts';
import { learn, parseHostKey } from '../ports/known-hosts.ts';
import { startBuildPort } from './build-port.ts';
import type { LabCa } from './ca.ts';
import { installScript, installScriptPath, type LabCluster, startCluster } from './cluster/index.ts';
import { type Databases, labDatabases } from './databases.ts';
import { startDownloads } from './downloads.ts';
import { EndpointFile } from './endpoint-file.ts';
import { genericPrograms, LabMachines, type RunningHost, startHost } from './hosts/index.ts';
import { type LabNas, startNas } from './nas/index.ts';
import { type LabPve, startPve } from './pve/index.ts';
import { treeHash } from './tree.ts';
import type { World } from './types.ts';
import type { Workspace } from './workspace.ts';

/** The embedded lab, running. */
export type EmbeddedLab = {
  pve: LabPve;
  cluster: LabCluster;
  nas: LabNas;
  machines: LabMachines;
  databases: Databases;
  endpoints: EndpointFile;
  /** All that a script could have changed: VMs, objects, files of machines, NAS and the lab's folder. */
  snapshot(): Record<string, unknown>;
  close(): Promise<void>;
};

const GIB = 1024 ** 3;

/** Starts every part of the lab, empty: Proxmox nodes without VMs, NAS without data. All of it listens on loopback. */
export async function startLab(workspace: Workspace, ca: LabCa): Promise<EmbeddedLab> {
  const { config, folder, publicKey } = workspace;
  const endpoints = new EndpointFile(workspace.endpointsFile);
  const addresses = knownAddresses(config);
  for (const address of addresses.free) endpoints.set(address, null);

  const nas = await startNas(config, join(folder, 'nas'), endpoints, (name) => addresses.byName.get(name));
  const cluster = await startCluster({ ca, endpoints, provisionNfs: nas.provision });
  const world: World = {
    programs: new Map(),
    units: cluster.units,
    route: (from, address, port) => cluster.route(from, address, port) ?? nas.route(address, port),
  };
  const answers = (address: string) => cluster.announces(address) ?? (nas.answers(address) ? 'nas' : undefined);
  for (const programs of [
    genericPrograms(world, { nas, announces: answers, reboot: (address) => machines.reboot(address) }),
    cluster.programs,
  ]) {
    for (const [name, program] of programs) world.programs.set(name, program);
  }

  const build = await startBuildPort(endpoints);
  const machines = new LabMachines({
    folder: join(folder, 'machines'),
    world,
    endpoints,
    onBoot: ({ spec, port }) => {
      if (spec.cloudInit === false) build.lead(port);
    },
  });
  const nodes = await startProxmoxNodes(config, join(folder, 'machines'), publicKey, world, endpoints);
  const knownHosts = join(labPaths(workspace.configFile, config.name).state, 'known_hosts');
  for (const { name, address, hostKey } of nodes) await learn(knownHosts, address, name, parseHostKey(hostKey));
  const pve = await startProxmox(workspace, ca, machines, endpoints);
  const downloads = await startDownloads(
    { [`https://raw.githubusercontent.com${installScriptPath(config.k3s.version)}`]: installScript() },
    ca,
    endpoints,
  );
  const databases = labDatabases(workspace, cluster, endpoints);

  return {
    ...{ pve, cluster, nas, machines, databases, endpoints },
    snapshot: () => ({ pve: pve.snapshot(), cluster: cluster.snapshot(), files: treeHash(folder, VOLATILE) }),
    close: async () => {
      await databases.close();
      await pve.close();
      await machines.close();
      await Promise.all(nodes.map((node) => node.stop()));
      await cluster.close();
      build.close();
      await Promise.all([downloads.close(), nas.close()]);
    },
  };
}

/** What the lab itself writes while nobody changes anything, and what a run leaves that only looks. */
const VOLATILE = /(^|\/)(endpoints\.json|journal|runs|lock|sockets|stand-ins|observed\.tfplan)(\/|$)|\.tmp$/;

/** Addresses of everything by name (leases as an empty ledger gives them), and those where nothing listens yet. */
function knownAddresses(config: Config): { byName: Map<string, string>; free: string[] } {
  const { ledger } = allocateAll(openLedger(config, []), config.k3s.nodes, '2000-01-01');
  const byName = new Map(
    [...ledger.leases, ...config.proxmox.nodes, ...config.nas, ...config.network.hosts].map(({ name, address }) => [
      name,
      address,
    ]),
  );
  const free = [...byName.values(), config.network.gateway, ...config.network.dns];
  for (const { kind, range } of ledger.blocks) {
    if (kind === 'dhcp') continue;
    for (let { value } = range.first; value <= range.last.value; value++)
      free.push(formatIp({ ...range.first, value }));
  }
  return { byName, free: [...new Set(free)] };
}

/** The Proxmox nodes as hosts, for what is done there by SSH. Their host keys the owner knows from earlier visits. */
async function startProxmoxNodes(
  { proxmox, ssh }: Config,
  folder: string,
  publicKey: string,
  world: World,
  endpoints: EndpointFile,
): Promise<RunningHost[]> {
  return Promise.all(
    proxmox.nodes.map(async ({ name, address, gpus }) => {
      const spec = {
        name,
        address,
        gpus,
        folder: join(folder, name),
        user: ssh.proxmox_user,
        sshKeys: [publicKey],
        cores: 16,
        memoryMib: 131_072,
        diskBytes: 500 * GIB,
      };
      const host = await startHost(spec, world);
      endpoints.set(`${address}:22`, `127.0.0.1:${host.port}`);
      return host;
    }),
  );
}

/** The Proxmox API on every node. Its token has just what `check --role` asks for: a missing privilege shows here. */
async function startProxmox(
  { config, tokenSecret, publicKey }: Workspace,
  ca: LabCa,
  machines: LabMachines,
  endpoints: EndpointFile,
): Promise<LabPve> {
  const { proxmox, template } = config;
  const pve = await startPve({
    nodes: proxmox.nodes.map(({ name, address, gpus }) => ({ name, address, gpus })),
    storages: proxmox.storages
      .filter((storage) => !storage.export)
      .map(({ name, content, shared }) => ({ name, content, shared })),
    bridge: proxmox.bridge,
    token: {
      id: proxmox.token_id,
      secret: tokenSecret,
      privileges: aclOf(neededPrivileges(config)),
    },
    user: { id: proxmox.token_id.split('!')[0] ?? '', password: tokenSecret },
    ca,
    machines: {
      // A VM that is being installed has the user and the key of its answers to the installer.
      boot: (spec) => machines.boot(spec.cloudInit ? spec : { ...spec, user: template.user, sshKeys: [publicKey] }),
      resize: (vmid, bytes) => machines.resize(vmid, bytes),
      destroy: (vmid) => machines.destroy(vmid),
    },
  });
  for (const { name, address } of proxmox.nodes)
    endpoints.set(`${address}:${proxmox.port}`, `127.0.0.1:${pve.portOf(name)}`);
  return pve;
}
