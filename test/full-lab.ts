import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LabCa } from '../lib/lab/ca.ts';
import type { Component, Found } from '../lib/lab/components.ts';
import { type EmbeddedLab, startLab } from '../lib/lab/index.ts';
import { makeWorkspace, type Workspace } from '../lib/lab/workspace.ts';
import { openLab } from '../lib/lab-context.ts';
import { labPaths, TOOLKIT } from '../lib/paths.ts';
import { learn, parseHostKey } from '../lib/ports/known-hosts.ts';
import { nodeArgv } from './node-argv.ts';

const absent: Component = { state: 'skipped', why: 'not part of this test' };
const found: Found = { terraform: absent, packer: absent, postgresql: absent };

export type FullLab = {
  workspace: Workspace;
  lab: EmbeddedLab;
  /** Runs scripts/NAME.ts on this lab as a person would, without a terminal. */
  script(name: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** Ids of the steps that a script plans. */
  plannedBy(name: string, ...args: string[]): Promise<string[]>;
  close(): Promise<void>;
};

/** The whole embedded lab, Proxmox included, with the machines of k3s.nodes running as if they were provisioned. */
export async function startFullLab(): Promise<FullLab> {
  const root = mkdtempSync(join(tmpdir(), 'homelab-full-'));
  const ca = await LabCa.create();
  const workspace = makeWorkspace(join(TOOLKIT, 'homelab.yaml'), join(root, 'lab'), ca, found);
  const lab = await startLab(workspace, ca);
  const { config, configFile, publicKey } = workspace;
  const { ledger } = openLab(configFile, {}).lab;
  const knownHosts = join(labPaths(configFile, config.name).state, 'known_hosts');
  for (const node of config.k3s.nodes) {
    const guest = await lab.machines.boot({
      ...{ vmid: node.vmid, name: node.name, node: node.node, cloudInit: true, macs: [], gpus: [] },
      ...{ user: config.template.user, sshKeys: [publicKey], cores: node.cores },
      ...{ memoryMib: node.memory_gib * 1024, diskBytes: node.disk_gib * 1024 ** 3 },
      address: ledger.leases.find(({ name }) => name === node.name)?.address,
    });
    await learn(knownHosts, guest.address, node.name, parseHostKey(guest.hostKey));
  }
  const script: FullLab['script'] = (name, ...args) =>
    new Promise((resolve) => {
      const [node = '', ...argv] = [...nodeArgv(`scripts/${name}.ts`), '--config', configFile, ...args];
      const options = { cwd: TOOLKIT, env: { PATH: process.env.PATH, HOME: root }, maxBuffer: 16 * 1024 * 1024 };
      execFile(node, argv, options, (error, stdout, stderr) => {
        resolve({ code: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr });
      });
    });
  return {
    ...{ workspace, lab, script },
    plannedBy: async (name, ...args) => {
      const { stdout, stderr } = await script(name, '--dry-run', '--json', ...args);
      if (!stdout.startsWith('{')) throw new Error(stderr);
      return (JSON.parse(stdout) as { plan: { steps: { id: string }[] } }).plan.steps.map(({ id }) => id);
    },
    close: async () => {
      await lab.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}
