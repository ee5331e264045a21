import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBuildPort } from '../lib/lab/build-port.ts';
import { LabCa } from '../lib/lab/ca.ts';
import { findComponents } from '../lib/lab/components.ts';
import { EndpointFile } from '../lib/lab/endpoint-file.ts';
import { genericPrograms, LabMachines } from '../lib/lab/hosts/index.ts';
import { type LabPve, startPve } from '../lib/lab/pve/index.ts';
import { installTools, type Tool } from '../lib/lab/tools/index.ts';
import type { World } from '../lib/lab/types.ts';
import { makeWorkspace, type Workspace } from '../lib/lab/workspace.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import type { Outcome } from '../lib/ports/types.ts';

export type ProvisionLab = {
  workspace: Workspace;
  pve: LabPve;
  machines: LabMachines;
  state: string;
  /** Runs a script on the lab, as `make` would. */
  run(script: string, ...args: string[]): Promise<Outcome>;
  close(): Promise<void>;
};

/** Proxmox and its guests on loopback, without cluster and NAS: what build-template and provision need. */
export async function startProvisionLab(standIns: readonly Tool[]): Promise<ProvisionLab> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-provision-'));
  const ca = await LabCa.create();
  const exec = realExec();
  const found = await findComponents(exec, [...standIns, 'postgresql']);
  const workspace = makeWorkspace(join(TOOLKIT, 'homelab.yaml'), join(folder, 'lab'), ca, found);
  const { config, publicKey, tokenSecret } = workspace;
  installTools(join(workspace.folder, 'bin'), standIns);
  const endpoints = new EndpointFile(workspace.endpointsFile);
  for (const node of config.k3s.nodes.keys())
    for (const first of [80, 85]) endpoints.set(`10.20.11.${first + node}`, null);
  const build = await startBuildPort(endpoints);
  const world: World = { programs: new Map(), units: new Map(), route: () => undefined };
  for (const [name, program] of genericPrograms(world)) world.programs.set(name, program);
  const machines = new LabMachines({
    folder: join(workspace.folder, 'machines'),
    world,
    endpoints,
    onBoot: ({ spec, port }) => {
      if (spec.cloudInit === false) build.lead(port);
    },
  });
  const pve = await startPve({
    nodes: config.proxmox.nodes.map(({ name, address, gpus }) => ({ name, address, gpus })),
    storages: config.proxmox.storages.map(({ name, content, shared }) => ({ name, content, shared })),
    bridge: config.proxmox.bridge,
    token: { id: config.proxmox.token_id, secret: tokenSecret },
    user: { id: config.proxmox.token_id.split('!')[0] ?? '', password: tokenSecret },
    ca,
    machines: {
      boot: (spec) =>
        machines.boot(spec.cloudInit ? spec : { ...spec, user: config.template.user, sshKeys: [publicKey] }),
      destroy: (vmid) => machines.destroy(vmid),
    },
    latency: { clone: 50, migrate: 50, boot: 100, install: 100 },
  });
  for (const { name, address } of config.proxmox.nodes)
    endpoints.set(`${address}:${config.proxmox.port}`, `127.0.0.1:${pve.portOf(name)}`);
  return {
    ...{ workspace, pve, machines },
    state: join(workspace.folder, '.state', config.name),
    run: (script, ...args) =>
      exec.run(
        [
          process.execPath,
          '--import',
          'tsx',
          `scripts/${script}.ts`,
          '--config',
          workspace.configFile,
          '--yes',
          ...args,
        ],
        { cwd: TOOLKIT, deadline: 120 },
      ),
    close: async () => {
      await pve.close();
      await machines.close();
      build.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
