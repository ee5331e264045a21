import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { EndpointFile } from '../lib/lab/endpoint-file.ts';
import { genericPrograms, type RunningHost, startHost } from '../lib/lab/hosts/index.ts';
import type { HostSpec } from '../lib/lab/hosts/spec.ts';
import { type LabNas, startNas } from '../lib/lab/nas/index.ts';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import type { World } from '../lib/lab/types.ts';
import { type Lab, openLab } from '../lib/lab-context.ts';
import { addressOf } from '../lib/lookup.ts';
import { endpointsFromFile } from '../lib/ports/endpoints.ts';
import type { PortContext } from '../lib/ports/index.ts';
import { connectSsh } from '../lib/ports/ssh.ts';
import type { Ssh } from '../lib/ports/types.ts';

export type TestLab = {
  folder: string;
  lab: Lab;
  world: World;
  nas: LabNas;
  endpoints: EndpointFile;
  context: PortContext;
  ssh: Ssh & { close(): Promise<void> };
  publicKey: string;
  /** Starts a host of homelab.yaml; its key is learned unless `learn` is false. */
  start(name: string, options?: Partial<HostSpec> & { learn?: boolean }): Promise<RunningHost>;
  close(): Promise<void>;
};

/** A lab in a temporary folder, with hosts of lib/lab and the real SSH port. */
export async function testLab(env: Record<string, string> = {}, name = 'lab'): Promise<TestLab> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'hosts-test-')));
  const root = join(folder, name);
  mkdirSync(root);
  cpSync(resolve('homelab.yaml'), join(root, 'homelab.yaml'));
  const key = makeSshKey('test');
  writeFileSync(join(folder, 'key'), key.private, { mode: 0o600 });
  const lines = Object.entries(env).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(join(root, '.env'), lines.join(''), { mode: 0o600 });
  const { lab, secrets, settings } = openLab(join(root, 'homelab.yaml'), {});
  lab.config.ssh.key = join(folder, 'key');
  const endpoints = new EndpointFile(join(root, 'endpoints.json'));
  const known = (host: string): string | undefined => {
    try {
      return addressOf(lab, host);
    } catch {
      return undefined;
    }
  };
  const nas = await startNas(lab.config, join(folder, 'nas'), endpoints, known);
  const world: World = { programs: new Map(), units: new Map(), route: () => undefined };
  for (const [program, run] of genericPrograms(world, { nas })) world.programs.set(program, run);
  const context: PortContext = {
    ...{ lab, secrets, settings },
    endpoints: endpointsFromFile(endpoints.file),
  };
  const ssh = connectSsh(context);
  const hosts: RunningHost[] = [];
  return {
    ...{ folder, lab, world, nas, endpoints, context, ssh },
    publicKey: key.public,
    async start(host, { learn = true, ...options } = {}) {
      const address = addressOf(lab, host);
      const started = await startHost(
        {
          ...{ name: host, address, folder: join(folder, 'hosts', host), sshKeys: [key.public] },
          ...{ user: lab.config.template.user, cores: 4, memoryMib: 4096, diskBytes: 50 * 2 ** 30 },
          ...options,
        },
        world,
      );
      hosts.push(started);
      endpoints.set(`${address}:22`, `127.0.0.1:${started.port}`);
      if (learn) await ssh.learnHostKey(host, started.hostKey);
      return started;
    },
    async close() {
      await ssh.close();
      await Promise.all(hosts.map((host) => host.stop()));
      await nas.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
