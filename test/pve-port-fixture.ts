import { strict as assert } from 'node:assert';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HomelabError } from '../lib/errors.ts';
import { openLab } from '../lib/lab-context.ts';
import { TOOLKIT } from '../lib/paths.ts';
import type { Endpoints } from '../lib/ports/endpoints.ts';
import type { PortContext } from '../lib/ports/index.ts';
import { connectPve } from '../lib/ports/pve.ts';
import type { Pve } from '../lib/ports/types.ts';
import { SECRET, type TestLab } from './pve-fixture.ts';

type PortOptions = {
  secret?: string;
  ca?: string;
  fingerprints?: Record<string, string>;
  /** Seconds that any wait takes at the most. */
  longestWait?: number;
};

/** What the ports of a script get, on homelab.yaml, with 10.20.11.1x:8006 dialled at the emulator. */
export function contextOf(lab: TestLab, { secret = SECRET, ca, fingerprints = {}, longestWait }: PortOptions = {}) {
  const file = join(lab.folder, 'homelab.yaml');
  cpSync(join(TOOLKIT, 'homelab.yaml'), file);
  writeFileSync(join(lab.folder, 'pve-root-ca.pem'), ca ?? lab.ca.certificate);
  writeFileSync(join(lab.folder, '.env'), `PROXMOX_TOKEN_SECRET=${secret}\n`, { mode: 0o600 });
  const opened = openLab(file, {});
  for (const node of opened.lab.config.proxmox.nodes) node.fingerprint = fingerprints[node.name] ?? node.fingerprint;
  const endpoints: Endpoints = {
    rehearsal: true,
    longestWait,
    mount: () => undefined,
    dial: (address, port) => {
      const node = opened.lab.config.proxmox.nodes.find((n) => n.address === address);
      assert.equal(port, 8006);
      return { host: '127.0.0.1', port: lab.pve.portOf(node?.name ?? '') };
    },
  };
  return { ...opened, endpoints } satisfies PortContext;
}

/** The port as a script has it. */
export function portOf(lab: TestLab, options: PortOptions = {}): Pve {
  return connectPve(contextOf(lab, options));
}

export async function failure(work: Promise<unknown>): Promise<HomelabError> {
  const error = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  assert.ok(error instanceof HomelabError, `no HomelabError: ${error}`);
  return error;
}
