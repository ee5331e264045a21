import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LabCa } from '../lib/lab/ca.ts';
import { installScript, installScriptPath, type LabCluster, startCluster } from '../lib/lab/cluster/index.ts';
import type { Component } from '../lib/lab/components.ts';
import { startDownloads } from '../lib/lab/downloads.ts';
import { EndpointFile } from '../lib/lab/endpoint-file.ts';
import { genericPrograms, LabMachines, type RunningHost } from '../lib/lab/hosts/index.ts';
import { type LabNas, startNas } from '../lib/lab/nas/index.ts';
import type { World } from '../lib/lab/types.ts';
import { makeWorkspace } from '../lib/lab/workspace.ts';
import { type Lab, openLab } from '../lib/lab-context.ts';
import { labPaths, TOOLKIT } from '../lib/paths.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { learn, parseHostKey } from '../lib/ports/known-hosts.ts';
import type { Outcome } from '../lib/ports/types.ts';
import { type LabScripts, labScripts, NEXT_VERSION } from './lab-scripts.ts';

const GIB = 1024 ** 3;
const absent: Component = { state: 'skipped', why: 'not part of this test' };

/** A lab whose machines run already: hosts, cluster and NAS, without Proxmox, in a temporary folder. */
export type TestLab = LabScripts & {
  folder: string;
  configFile: string;
  lab: Lab;
  cluster: LabCluster;
  nas: LabNas;
  endpoints: EndpointFile;
  /** A machine of k3s.nodes that runs. @throws Error when it does not */
  host(name: string): RunningHost;
  /** Starts a machine of k3s.nodes; its disk is as it was left. Its host key is known to the scripts. */
  boot(name: string): Promise<RunningHost>;
  /** Ends a machine, as a power cut does. */
  powerOff(name: string): Promise<void>;
  /** Ends a machine and its disk, for good. */
  destroy(name: string): Promise<void>;
  /** Runs a command as root on a machine, as its owner would by SSH. */
  asRoot(name: string, ...argv: string[]): Promise<Outcome>;
  /** Starts a machine at an address that is nobody's, and ends it with the promise's function. */
  stranger(address: string): Promise<() => Promise<void>>;
  close(): Promise<void>;
};

/**
 * @param nodes the machines that run from the start; default: all of k3s.nodes
 * @param change what the lab's homelab.yaml says else than the toolkit's
 */
export async function startTestLab({
  nodes,
  change,
}: {
  nodes?: string[];
  change?: (text: string) => string;
} = {}): Promise<TestLab> {
  const root = mkdtempSync(join(tmpdir(), 'homelab-test-'));
  const folder = join(root, 'lab');
  const ca = await LabCa.create();
  const found = { terraform: absent, packer: absent, postgresql: absent };
  const source = change ? join(root, 'homelab.yaml') : join(TOOLKIT, 'homelab.yaml');
  if (change) writeFileSync(source, change(readFileSync(join(TOOLKIT, 'homelab.yaml'), 'utf8')));
  const { configFile, publicKey, endpointsFile } = makeWorkspace(source, folder, ca, found);
  const lab = openLab(configFile, {}).lab;
  const { config, ledger } = lab;
  const addressOf = (name: string): string | undefined =>
    [...ledger.leases, ...config.proxmox.nodes, ...config.nas].find((one) => one.name === name)?.address;

  const endpoints = new EndpointFile(endpointsFile);
  for (const { name } of config.k3s.nodes) endpoints.set(addressOf(name) ?? '', null);
  const nas = await startNas(config, join(folder, 'nas'), endpoints, addressOf);
  const cluster = await startCluster({ ca, endpoints, provisionNfs: nas.provision });
  const world: World = {
    programs: new Map(),
    units: cluster.units,
    route: (from, address, port) => cluster.route(from, address, port) ?? nas.route(address, port),
  };
  for (const programs of [genericPrograms(world, { nas }), cluster.programs])
    for (const [name, program] of programs) world.programs.set(name, program);
  const machines = new LabMachines({ folder: join(folder, 'machines'), world, endpoints });
  const versions = [config.k3s.version, NEXT_VERSION];
  const scripts = versions.map((version) => [
    `https://raw.githubusercontent.com${installScriptPath(version)}`,
    installScript(),
  ]);
  const downloads = await startDownloads(Object.fromEntries(scripts), ca, endpoints);
  const knownHosts = join(labPaths(configFile, config.name).state, 'known_hosts');
  const guests = new Map<string, Awaited<ReturnType<LabMachines['boot']>>>();

  const nodeOf = (name: string) => {
    const node = config.k3s.nodes.find((n) => n.name === name);
    if (!node) throw new Error(`no node ${name}`);
    return node;
  };
  const host = (name: string): RunningHost => {
    const running = machines.find(name);
    if (!running) throw new Error(`${name} does not run`);
    return running;
  };
  const boot = async (name: string): Promise<RunningHost> => {
    const node = nodeOf(name);
    const guest = await machines.boot({
      ...{ vmid: node.vmid, name, node: node.node, address: addressOf(name), cloudInit: true },
      ...{ user: config.template.user, sshKeys: [publicKey], cores: node.cores, memoryMib: node.memory_gib * 1024 },
      ...{ diskBytes: node.disk_gib * GIB, macs: [], gpus: node.gpu ? [node.gpu] : [] },
    });
    guests.set(name, guest);
    await learn(knownHosts, guest.address, name, parseHostKey(guest.hostKey));
    return host(name);
  };
  const powerOff = async (name: string): Promise<void> => guests.get(name)?.stop();
  const asRoot = async (name: string, ...argv: string[]): Promise<Outcome> => {
    const opened = openLab(configFile, {});
    const ports = buildPorts(opened.lab, opened.secrets, opened.settings);
    return ports.ssh.run(name, argv, { sudo: true }).finally(() => ports.close());
  };
  for (const name of nodes ?? config.k3s.nodes.map((node) => node.name)) await boot(name);

  return {
    ...{ folder, configFile, lab, cluster, nas, endpoints, host, boot, powerOff, asRoot },
    ...labScripts(configFile, { HOME: root }),
    stranger: async (address) => {
      const own = { vmid: 999, name: 'stranger', node: 'pve-01', address, cloudInit: false, user: 'root', sshKeys: [] };
      const guest = await machines.boot({ ...own, cores: 1, memoryMib: 1024, diskBytes: GIB, macs: [], gpus: [] });
      return () => guest.stop();
    },
    destroy: async (name) => {
      await powerOff(name);
      await machines.destroy(nodeOf(name).vmid);
    },
    close: async () => {
      await machines.close();
      await cluster.close();
      await Promise.all([downloads.close(), nas.close()]);
      rmSync(root, { recursive: true, force: true });
    },
  };
}
