import { strict as assert } from 'node:assert';
import { type ChildProcess, spawn } from 'node:child_process';
import type { Fault, PveOptions, Snapshot } from '../lib/lab/pve/index.ts';
import type { Tool } from '../lib/lab/tools/index.ts';
import { openLab } from '../lib/lab-context.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { nodeArgv } from './node-argv.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';

/** How a run of build-template ended, and all that it said, in one line. */
export type Ran = { code: number | null; signal: NodeJS.Signals | null; text: string };

export type Run = {
  child: ChildProcess;
  ended: Promise<Ran>;
  /** What it has said so far, in one line. */
  heard(): string;
  /** Resolves once it has said that. @throws Error when it ends before */
  said(pattern: RegExp): Promise<void>;
};

/** A lab with two VMs of somebody else's, on which build-template meets faults. */
export type TemplateLab = ProvisionLab & {
  start(...args: string[]): Run;
  build(...args: string[]): Promise<Ran>;
  /** Without the fault it comes to the end, a template a node, and then finds nothing to do. @param did it has come there */
  converges(did?: boolean): Promise<void>;
  /** No faults, nothing but the strangers, and templates on these nodes. */
  reset(...templates: string[]): Promise<void>;
  /** VMIDs of the finished templates, by node. */
  templates(): string[];
};

/** One fault: what the run says, and what it leaves. */
export type Case = {
  name: string;
  faults: Fault[];
  /** How often each strikes; default: until it is cleared. */
  times?: number;
  /** The run gets to its end in spite of it. */
  survives?: boolean;
  /** Each of these is said. */
  says?: RegExp[];
  /** Seconds that the run waits for Proxmox at the most. */
  wait?: number;
  /** Nodes that have their template before; default: pve-01, where it was built. */
  from?: string[];
  after?: (lab: TemplateLab, ran: Ran) => void | Promise<void>;
};

const STRANGERS = [
  { vmid: 150, node: 'pve-02', name: 'somebody' },
  { vmid: 9005, node: 'pve-01', name: 'somebody-else' },
];

export async function startTemplateLab(
  latency: PveOptions['latency'] = {},
  standIns: readonly Tool[] = ['terraform', 'packer'],
): Promise<TemplateLab> {
  const lab = await startProvisionLab(standIns, { latency: { authFailure: 300, lockTimeout: 500, ...latency } });
  const { pve, workspace } = lab;
  const { lab: opened, secrets, settings } = openLab(workspace.configFile, {});
  const ports = buildPorts(opened, secrets, settings);
  for (const stranger of STRANGERS) pve.addStranger(stranger);
  const running = new Set<ChildProcess>();

  const start = (...args: string[]): Run => {
    const [node = '', ...argv] = nodeArgv('scripts/build-template.ts');
    const child = spawn(node, [...argv, '--config', workspace.configFile, '--yes', '--verbose', ...args], {
      ...{ cwd: TOOLKIT, stdio: ['ignore', 'pipe', 'pipe'] },
    });
    running.add(child);
    let output = '';
    const heard = new Set<() => void>();
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        for (const listen of heard) listen();
      });
    const text = (): string => output.replaceAll(/\s+/g, ' ');
    const ended = new Promise<Ran>((done) =>
      child.on('close', (code, signal) => {
        running.delete(child);
        done({ code, signal, text: text() });
      }),
    );
    const said = (pattern: RegExp): Promise<void> =>
      new Promise((resolve, reject) => {
        const listen = (): void => {
          if (pattern.test(text())) resolve();
        };
        heard.add(listen);
        listen();
        void ended.then((ran) => reject(new Error(`it ended before it said ${pattern}: ${ran.text}`)));
      });
    return { child, ended, heard: text, said };
  };

  const templates = (): string[] =>
    pve
      .snapshot()
      .vms.filter(({ config }) => config.template === 1)
      .map(({ vmid, node }) => `${vmid} ${node}`);

  return {
    ...{ ...lab, start, templates },
    build: (...args) => start(...args).ended,
    converges: async (did = false) => {
      const again = did ? undefined : await start().ended;
      assert.equal(again?.code ?? 0, 0, again?.text);
      const { vms, locks } = pve.snapshot();
      const nodes = templates().map((template) => template.split(' ')[1]);
      assert.deepEqual(nodes.sort(), ['pve-01', 'pve-02', 'pve-03'], again?.text);
      assert.equal(vms.length, 3 + strangersIn(pve.snapshot()).length, 'nothing is left behind');
      assert.deepEqual(locks, []);
      const looked = await start('--check').ended;
      assert.equal(looked.code, 0, looked.text);
    },
    reset: async (...nodes) => {
      pve.faults.clear();
      lab.waitAtMost(30);
      for (const { vmid, node, status, config } of pve.snapshot().vms) {
        if (STRANGERS.some((stranger) => stranger.vmid === vmid)) continue;
        if (nodes.includes(node) && config.template === 1) continue;
        const path = `/nodes/${node}/qemu/${vmid}`;
        if (status === 'running') await ports.pve.call('POST', `${path}/status/stop`);
        await ports.pve.call('DELETE', path);
      }
      const left = templates().map((template) => template.split(' ')[1]);
      const missing = nodes.filter((node) => !left.includes(node));
      if (missing.length > 0) await lab.putTemplates(...missing);
    },
    close: async () => {
      for (const child of running) child.kill('SIGKILL');
      await ports.close();
      await lab.close();
    },
  };
}

/** VMs that the lab did not make, with their disks. */
export function strangersIn({ vms, volumes }: Snapshot): unknown[] {
  return vms
    .filter(({ config }) => String(config.name).startsWith('somebody'))
    .map((vm) => ({ ...vm, volumes: volumes.filter(({ vmid }) => vmid === vm.vmid) }));
}

/** Templates that are finished, with their disks. */
export function finishedIn({ vms, volumes }: Snapshot): { vmid: number }[] {
  return vms
    .filter(({ config }) => config.template === 1)
    .map((vm) => ({ ...vm, volumes: volumes.filter(({ vmid }) => vmid === vm.vmid) }));
}

/** A fault strikes; nothing is lost; without it a run converges. */
export async function strike(lab: TemplateLab, { faults, times, survives, says = [], ...given }: Case): Promise<void> {
  await lab.reset(...(given.from ?? ['pve-01']));
  lab.waitAtMost(given.wait ?? 30);
  const before = lab.pve.snapshot();
  for (const [i, fault] of faults.entries()) lab.pve.faults.set(`fault ${i}`, fault, times);
  const asked = lab.pve.requests.length;
  const ran = await lab.build();
  assert.equal(ran.code, survives ? 0 : 1, ran.text);
  const clones = lab.pve.requests.slice(asked).filter(({ method, path }) => method === 'POST' && /clone$/.test(path));
  assert.ok(clones.length <= 2, 'a copy for each other node, and no call was sent twice');
  for (const words of says) assert.match(ran.text, words);
  await given.after?.(lab, ran);
  const after = lab.pve.snapshot();
  assert.deepEqual(strangersIn(after), strangersIn(before), 'strangers are as they were');
  const kept = finishedIn(before).map(({ vmid }) => vmid);
  assert.deepEqual(
    finishedIn(after).filter(({ vmid }) => kept.includes(vmid)),
    finishedIn(before),
    'finished templates are as they were',
  );
  lab.pve.faults.clear();
  lab.waitAtMost(30);
  await lab.converges(survives);
  assert.deepEqual(lab.pve.problems, []);
}
