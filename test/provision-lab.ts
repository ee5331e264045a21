import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../lib/config/schema.ts';
import { startBuildPort } from '../lib/lab/build-port.ts';
import { LabCa } from '../lib/lab/ca.ts';
import { findComponents } from '../lib/lab/components.ts';
import { EndpointFile } from '../lib/lab/endpoint-file.ts';
import { genericPrograms, LabMachines } from '../lib/lab/hosts/index.ts';
import { startNas } from '../lib/lab/nas/index.ts';
import { type LabPve, type PveOptions, startPve } from '../lib/lab/pve/index.ts';
import { installTools, type Tool } from '../lib/lab/tools/index.ts';
import type { GuestSpec, World } from '../lib/lab/types.ts';
import { makeWorkspace, type Workspace } from '../lib/lab/workspace.ts';
import { openLab } from '../lib/lab-context.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { readSources } from '../lib/observe/template.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { wantedStamp } from '../lib/plan/template-build.ts';
import { renderNotes } from '../lib/plan/template-hash.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import { realExec } from '../lib/ports/exec.ts';
import { realFiles } from '../lib/ports/files.ts';
import type { Outcome } from '../lib/ports/types.ts';
import { nodeArgv } from './node-argv.ts';

export type ProvisionLab = {
  workspace: Workspace;
  pve: LabPve;
  machines: LabMachines;
  state: string;
  /** Puts the templates there, as if build-template had made them; those of some nodes, or all. */
  putTemplates(...nodes: string[]): Promise<void>;
  /** Seconds that scripts wait for Proxmox at the most. */
  waitAtMost(seconds: number): void;
  /** Runs a script on the lab, as `make` would. */
  run(script: string, ...args: string[]): Promise<Outcome>;
  close(): Promise<void>;
};

export type ProvisionLabOptions = {
  /** Instead of the toolkit's own homelab.yaml. */
  configFile?: string;
  latency?: PveOptions['latency'];
  /** The address of a VM to which cloud-init gave none. */
  dhcp?: (spec: GuestSpec) => string;
  /** The token's privileges by path; default: those of a homelab role. */
  privileges?: (config: Config) => Record<string, readonly string[]>;
  /** With its NAS: `check` finds nothing about them then. Default: false. */
  withNas?: boolean;
};

/** Proxmox and its guests on loopback, without cluster and NAS: what build-template and provision need. */
export async function startProvisionLab(
  standIns: readonly Tool[],
  { configFile = join(TOOLKIT, 'homelab.yaml'), latency, dhcp, privileges, withNas = false }: ProvisionLabOptions = {},
): Promise<ProvisionLab> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-provision-'));
  const ca = await LabCa.create();
  const exec = realExec();
  const found = await findComponents(exec, [...standIns, 'postgresql']);
  const workspace = makeWorkspace(configFile, join(folder, 'lab'), ca, found);
  const { config, publicKey, tokenSecret } = workspace;
  installTools(join(workspace.folder, 'bin'), standIns, nodeArgv);
  const endpoints = new EndpointFile(workspace.endpointsFile);
  const spare = [0, 1, 2].flatMap((n) =>
    (['server', 'agent'] as const).map((role) => ({ name: `spare-${n}-${role}`, role })),
  );
  const { ledger } = allocateAll(openLedger(config, []), [...config.k3s.nodes, ...spare], '2026-01-01');
  for (const { address } of ledger.leases) endpoints.set(address, null);
  const build = await startBuildPort(endpoints);
  const nas = withNas ? await startNas(config, join(workspace.folder, 'nas'), endpoints, () => undefined) : undefined;
  const world: World = {
    programs: new Map(),
    units: new Map(),
    route: (_from, address, port) => nas?.route(address, port),
  };
  for (const [name, program] of genericPrograms(world, { nas })) world.programs.set(name, program);
  const machines = new LabMachines({
    folder: join(workspace.folder, 'machines'),
    world,
    endpoints,
    dhcp,
    onBoot: ({ spec, port }) => {
      if (spec.cloudInit === false) build.lead(port);
    },
  });
  const pve = await startPve({
    nodes: config.proxmox.nodes.map(({ name, address, gpus }) => ({ name, address, gpus })),
    storages: config.proxmox.storages.map(({ name, content, shared }) => ({ name, content, shared })),
    bridge: config.proxmox.bridge,
    token: { id: config.proxmox.token_id, secret: tokenSecret, privileges: privileges?.(config) },
    user: { id: config.proxmox.token_id.split('!')[0] ?? '', password: tokenSecret },
    ca,
    machines: {
      boot: (spec) =>
        machines.boot(spec.cloudInit ? spec : { ...spec, user: config.template.user, sshKeys: [publicKey] }),
      resize: (vmid, bytes) => machines.resize(vmid, bytes),
      destroy: (vmid) => machines.destroy(vmid),
    },
    latency: { clone: 50, migrate: 50, boot: 100, install: 100, ...latency },
  });
  for (const { name, address } of config.proxmox.nodes)
    endpoints.set(`${address}:${config.proxmox.port}`, `127.0.0.1:${pve.portOf(name)}`);
  return {
    ...{ workspace, pve, machines },
    state: join(workspace.folder, '.state', config.name),
    run: (script, ...args) =>
      exec.run([...nodeArgv(`scripts/${script}.ts`), '--config', workspace.configFile, '--yes', ...args], {
        cwd: TOOLKIT,
        deadline: 120,
      }),
    putTemplates: async (...nodes) => {
      const { lab, settings } = openLab(workspace.configFile, {});
      const stamp = wantedStamp(lab, await readSources(lab, realFiles(exec), { settings }));
      const { name, storage, disk_gib } = config.template;
      const { shared = false } = config.proxmox.storages.find((one) => one.name === storage) ?? {};
      for (const at of placeTemplates(config, shared).all)
        if (nodes.length === 0 || nodes.includes(at.node))
          pve.addTemplate({ ...at, name, storage, diskGib: disk_gib, notes: stamp && renderNotes(stamp) });
    },
    waitAtMost: (seconds) => endpoints.waitAtMost(seconds),
    close: async () => {
      await pve.close();
      await machines.close();
      build.close();
      await nas?.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
