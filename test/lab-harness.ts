import { execFile } from 'node:child_process';
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
import { learn, parseHostKey } from '../lib/ports/known-hosts.ts';

/** Another version of K3s that the lab's mirror has. */
export const NEXT_VERSION = 'v1.37.1+k3s1';
const GIB = 1024 ** 3;
const absent: Component = { state: 'skipped', why: 'not part of this test' };

/** A lab whose machines run already: hosts, cluster and NAS, without Proxmox, in a temporary folder. */
export type TestLab = {
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
  /** Replaces text in homelab.yaml. */
  edit(from: string | RegExp, to: string): void;
  /** Runs scripts/NAME.ts on this lab as a person would, without a terminal. */
  script(name: string, ...args: string[]): Promise<Ran>;
  /** A script's plan, as --dry-run prints it with --json. */
  plannedBy(name: string, ...args: string[]): Promise<string[]>;
  close(): Promise<void>;
};

export type Ran = { code: number; stdout: string; stderr: string };

/** @param nodes the machines that run from the start; default: all of k3s.nodes */
export async function startTestLab({ nodes }: { nodes?: string[] } = {}): Promise<TestLab> {
  const root = mkdtempSync(join(tmpdir(), 'homelab-test-'));
  const folder = join(root, 'lab');
  const ca = await LabCa.create();
  const found = { terraform: absent, packer: absent, postgresql: absent };
  const { configFile, publicKey, endpointsFile } = makeWorkspace(join(TOOLKIT, 'homelab.yaml'), folder, ca, found);
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
  const script = (name: string, ...args: string[]): Promise<Ran> =>
    new Promise((resolve) => {
      const argv = ['--import', 'tsx', join(TOOLKIT, 'scripts', `${name}.ts`), ...args, '--config', configFile];
      const options = { cwd: TOOLKIT, env: { PATH: process.env.PATH, HOME: root }, maxBuffer: 16 * 1024 * 1024 };
      execFile(process.execPath, argv, options, (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
        resolve({ code, stdout, stderr });
      });
    });
  for (const name of nodes ?? config.k3s.nodes.map((node) => node.name)) await boot(name);

  return {
    ...{ folder, configFile, lab, cluster, nas, endpoints, host, boot, powerOff, script },
    destroy: async (name) => {
      await powerOff(name);
      await machines.destroy(nodeOf(name).vmid);
    },
    edit: (from, to) => {
      const before = readFileSync(configFile, 'utf8');
      const after = before.replace(from, to);
      if (after === before) throw new Error(`${from} is not in homelab.yaml`);
      writeFileSync(configFile, after);
    },
    plannedBy: async (name, ...args) => {
      const { stdout, stderr } = await script(name, '--dry-run', '--json', ...args);
      if (!stdout.startsWith('{')) throw new Error(stderr);
      return (JSON.parse(stdout) as { plan: { steps: { id: string }[] } }).plan.steps.map(({ id }) => id);
    },
    close: async () => {
      await machines.close();
      await cluster.close();
      await Promise.all([downloads.close(), nas.close()]);
      rmSync(root, { recursive: true, force: true });
    },
  };
}
