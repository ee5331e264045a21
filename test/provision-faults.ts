import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findComponents } from '../lib/lab/components.ts';
import type { Snapshot } from '../lib/lab/pve/index.ts';
import type { Tool } from '../lib/lab/tools/index.ts';
import { openLab } from '../lib/lab-context.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { Ports } from '../lib/ports/types.ts';
import { nodeArgv } from './node-argv.ts';
import { type ProvisionLab, type ProvisionLabOptions, startProvisionLab } from './provision-lab.ts';

export type Ran = {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** All that it said, in one line: Terraform breaks lines where it likes. */
  text: string;
};

/** A run of scripts/provision.ts that is under way. */
export type Run = {
  child: ChildProcess;
  ended: Promise<Ran>;
  /** Resolves once it has said that. @throws Error when it ends before */
  said(pattern: RegExp): Promise<void>;
};

/** A lab with its templates, on which provision runs with the real Terraform and provider. */
export type FaultLab = ProvisionLab & {
  /** The toolkit's own ports on this lab, to change what a run must find. */
  ports: Ports;
  start(args?: readonly string[], preload?: string): Run;
  provision(...args: string[]): Promise<Ran>;
  /** Runs it once more, which must come to the end, and looks again, which must find nothing to do. */
  converges(): Promise<Ran>;
  /**
   * Shortens what the provider waits, which is minutes, until the next reset.
   * @param making seconds in which a VM must be made; without it, its agent is waited for no longer than two
   */
  impatientProvider(making?: number): void;
  /** Puts a template there again that is gone. */
  putTemplate(vmid: number): void;
  /** Changes the lab's homelab.yaml. */
  edit(from: string | RegExp, to: string): void;
  /** No faults, no VMs but the templates and those, no Terraform state. */
  reset(kept?: readonly number[]): Promise<void>;
};

/** Why the real Terraform cannot take part, if it cannot. */
export async function terraformMissing(): Promise<string | undefined> {
  const { terraform } = await findComponents(realExec(), ['packer', 'postgresql']);
  return terraform.state === 'real' ? undefined : terraform.why;
}

/** The VMs of a snapshot with these VMIDs, and their disks. */
export function only({ vms, volumes }: Snapshot, vmids: readonly number[]): unknown {
  return {
    vms: vms.filter(({ vmid }) => vmids.includes(vmid)),
    volumes: volumes.filter(({ vmid }) => vmid !== undefined && vmids.includes(vmid)),
  };
}

const TEMPLATES = [9000, 9001, 9002];
/** Terraform puts what an override says over the resource of that name. */
const OVERRIDE = 'test_override.tf';
export const FAST_CLOCK = './test/fast-clock.ts';
const LAST_PROOF = /(\d+) of (\d+) proofs hold/;

/**
 * @param edit changes homelab.yaml before anything reads it
 * @param standIns programs of which the lab takes its own
 */
export async function startFaultLab(
  edit: (yaml: string) => string = (yaml) => yaml,
  options: ProvisionLabOptions = {},
  standIns: readonly Tool[] = ['packer'],
): Promise<FaultLab> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-faults-'));
  const configFile = join(folder, 'homelab.yaml');
  writeFileSync(configFile, edit(readFileSync(join(TOOLKIT, 'homelab.yaml'), 'utf8')));
  const lab = await startProvisionLab(standIns, { ...options, configFile });
  rmSync(folder, { recursive: true });
  const { workspace, pve, state } = lab;
  const { lab: opened, secrets, settings } = openLab(workspace.configFile, {});
  const ports = buildPorts(opened, secrets, settings);
  const { proxmox } = workspace.config;
  await lab.putTemplates();
  const templates = JSON.stringify(only(pve.snapshot(), TEMPLATES));
  const notes = String(pve.snapshot().vms.find(({ vmid }) => vmid === TEMPLATES[0])?.config.description);
  const running = new Set<ChildProcess>();

  const start = (args: readonly string[] = [], preload?: string): Run => {
    const [node = '', ...argv] = nodeArgv('scripts/provision.ts', ...(preload ? [preload] : []));
    const child = spawn(node, [...argv, '--config', workspace.configFile, '--yes', ...args], {
      ...{ cwd: TOOLKIT, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH, HOME: process.env.HOME } },
    });
    running.add(child);
    let output = '';
    const heard: (() => void)[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        for (const listen of heard) listen();
      });
    const flat = (): string => output.replaceAll(/[\s│╷╵|]+/g, ' ');
    const ended = new Promise<Ran>((done) =>
      child.on('close', (code, signal) => {
        running.delete(child);
        if (process.env.FAULT_OUTPUT) console.error(output);
        done({ code, signal, text: flat() });
      }),
    );
    const said = (pattern: RegExp): Promise<void> =>
      new Promise((resolve, reject) => {
        const listen = (): void => {
          if (pattern.test(flat())) resolve();
        };
        heard.push(listen);
        listen();
        void ended.then(({ text }) => reject(new Error(`it ended before it said ${pattern}: ${text}`)));
      });
    return { child, ended, said };
  };

  const removeAll = async (kept: readonly number[]): Promise<void> => {
    for (const { vmid, node, status } of pve.snapshot().vms) {
      if (TEMPLATES.includes(vmid) || kept.includes(vmid)) continue;
      const path = `/nodes/${node}/qemu/${vmid}`;
      if (status === 'running') await ports.pve.call('POST', `${path}/status/stop`);
      await ports.pve.call('DELETE', path);
    }
  };

  return {
    ...{ ...lab, ports, start },
    provision: (...args) => start(args).ended,
    converges: async () => {
      const again = await start().ended;
      assert.equal(again.code, 0, again.text);
      const [, hold, all] = LAST_PROOF.exec(again.text) ?? [];
      assert.ok(hold !== undefined && hold === all, again.text);
      assert.equal(JSON.stringify(only(pve.snapshot(), TEMPLATES)), templates);
      const before = pve.snapshot();
      const look = await start(['--check']).ended;
      assert.equal(look.code, 0, look.text);
      says(look, /nothing to do/);
      assert.deepEqual(pve.snapshot(), before);
      assert.deepEqual(pve.problems, []);
      return again;
    },
    impatientProvider: (making) => {
      mkdirSync(join(state, 'terraform'), { recursive: true });
      const agent = 'agent {\n    enabled = true\n    timeout = "2s"\n  }';
      const text = `resource "proxmox_virtual_environment_vm" "node" {\n  ${making ? `timeout_clone = ${making}` : agent}\n}\n`;
      writeFileSync(join(state, 'terraform', OVERRIDE), text);
    },
    putTemplate: (vmid) => {
      const { name, storage, disk_gib: diskGib } = workspace.config.template;
      const node = proxmox.nodes[TEMPLATES.indexOf(vmid)]?.name ?? '';
      pve.addTemplate({ vmid, node, name, storage, diskGib, notes });
    },
    edit: (from, to) => {
      const text = readFileSync(workspace.configFile, 'utf8');
      assert.notEqual(text.replace(from, to), text);
      writeFileSync(workspace.configFile, text.replace(from, to));
    },
    reset: async (kept = []) => {
      pve.faults.clear();
      await removeAll(kept);
      for (const name of ['terraform.tfstate', 'terraform.tfstate.backup', '.terraform.tfstate.lock.info', OVERRIDE])
        rmSync(join(state, 'terraform', name), { force: true });
    },
    close: async () => {
      for (const child of running) child.kill('SIGKILL');
      for (const pid of await terraformProcesses(state)) process.kill(-pid, 'SIGKILL');
      await ports.close();
      await lab.close();
    },
  };
}

/** Terraform's state as it lies on disk; undefined when there is none. */
export function stateText(lab: Pick<FaultLab, 'state'>): string | undefined {
  const file = join(lab.state, 'terraform', 'terraform.tfstate');
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

/** Asserts that a run says that: in one line, as a diff of pages shows nothing. */
export function says({ text }: Ran, pattern: RegExp): void {
  assert.ok(pattern.test(text), `it does not say ${pattern}: ${text}`);
}

/** Leaves homelab.yaml one VM of the three, k3s-cp-01 on pve-02, where more would show no more. */
export function oneVm(yaml: string): string {
  return yaml.replace(/^ {4}- \{ name: k3s-cp-02,.*\n/m, '').replace(/^ {4}- name: k3s-gpu-01\n(?: {6}.*\n)+/m, '');
}

/** Leaders of the process groups of every Terraform that works in this lab's folder. */
export async function terraformProcesses(state: string): Promise<number[]> {
  const { stdout } = await realExec().run(['ps', '-A', '-o', 'pid=,args='], { deadline: 30 });
  return stdout
    .split('\n')
    .filter((line) => line.includes(`terraform -chdir=${join(state, 'terraform')} `))
    .map((line) => Number(line.trim().split(/\s+/)[0]));
}
