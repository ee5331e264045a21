import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'uvu';
import { LabCa } from '../lib/lab/ca.ts';
import { type LabPve, type PveOptions, startPve } from '../lib/lab/pve/index.ts';
import type { Guest, GuestSpec, Machines } from '../lib/lab/types.ts';

export const SECRET = '01234567-89ab-cdef-0123-456789abcdef';
export const TOKEN = 'homelab@pve!toolkit';
export const PASSWORD = 'packer-password';

/** Machines that exist in name only; what was asked of them is written down. */
export class PaperMachines implements Machines {
  readonly booted: GuestSpec[] = [];
  readonly stopped: number[] = [];
  readonly destroyed: number[] = [];

  async boot(spec: GuestSpec): Promise<Guest> {
    this.booted.push(spec);
    const hostKey = `ssh-ed25519 AAAA${spec.vmid}`;
    return {
      address: spec.address ?? '127.0.0.9',
      hostKey,
      readFile: async (path) => (path === '/etc/hostname' ? `${spec.name}\n` : undefined),
      stop: async () => {
        this.stopped.push(spec.vmid);
      },
    };
  }

  async destroy(vmid: number): Promise<void> {
    this.destroyed.push(vmid);
  }
}

export type TestLab = {
  pve: LabPve;
  machines: Machines;
  ca: LabCa;
  folder: string;
  caFile: string;
  close(): Promise<void>;
};

/** Making one takes longer than most tests. */
let shared: Promise<LabCa> | undefined;

/** homelab.yaml's three nodes, fast, with its CA's certificate in a file. */
export async function testLab(options: Partial<PveOptions> = {}): Promise<TestLab> {
  shared ??= LabCa.create();
  const ca = options.ca ?? (await shared);
  const machines = options.machines ?? new PaperMachines();
  const pve = await startPve({
    nodes: [
      { name: 'pve-01', address: '10.20.11.11', gpus: ['rtx4000ada'] },
      { name: 'pve-02', address: '10.20.11.12' },
      { name: 'pve-03', address: '10.20.11.13' },
    ],
    storages: [
      { name: 'local-zfs', content: ['images'] },
      { name: 'local', content: ['iso', 'snippets'] },
      { name: 'nas-vmstorage', content: ['images', 'backup', 'iso'], shared: true },
    ],
    bridge: 'vmbr0',
    token: { id: TOKEN, secret: SECRET },
    user: { id: 'root@pam', password: PASSWORD },
    pools: ['lab'],
    ca,
    machines,
    ...options,
    latency: {
      ...{ clone: 20, migrate: 10, start: 5, boot: 10, install: 20, shutdown: 5, task: 2 },
      ...{ authFailure: 10, lockTimeout: 5000 },
      ...options.latency,
    },
  });
  const folder = mkdtempSync(join(tmpdir(), 'homelab-pve-'));
  const caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, ca.certificate);
  return {
    ...{ pve, machines, ca, folder, caFile },
    close: async () => {
      await pve.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * How a test with a real program is declared: skipped, with the reason printed, where the program is missing;
 * HOMELAB_REQUIRE=terraform,packer makes that a failure.
 */
export function gate(test: Test, name: string, missing: string | undefined): Test | Test['skip'] {
  if (missing === undefined) return test;
  if ((process.env.HOMELAB_REQUIRE ?? '').split(',').includes(name)) {
    test(`${name} is there`, () => assert.fail(`HOMELAB_REQUIRE asks for ${name}: ${missing}`));
  } else process.stderr.write(`skipped: ${missing}\n`);
  return test.skip;
}
