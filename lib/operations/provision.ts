import { join } from 'node:path';
import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { until } from '../deadline.ts';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { readAgent } from '../observe/guests.ts';
import { parsePlan } from '../plan/terraform-json.ts';

const vm = z.object({ name: z.string(), node: z.string(), vmid: z.number(), address: z.string() });
const HOST_KEY = '/etc/ssh/ssh_host_ed25519_key.pub';

/** What provision does itself: neither a command nor a single call. */
export const provisionOperations = ({ newLeases }: Pick<Lab, 'newLeases'>): Record<string, Operation> => ({
  /** Writes leases into homelab.lock.yaml. */
  lease: async (_args, { lock }) => {
    await lock.update((now) => ({
      ...now,
      leases: [...now.leases, ...newLeases.filter(({ name }) => !now.leases.some((lease) => lease.name === name))],
    }));
    return undefined;
  },

  /** Waits until the guest agent reports the leased address. */
  agent: async (args, { ports }) => {
    const { name, node, vmid, address } = vm.parse(args);
    await until(
      590,
      `the guest agent of ${name} reports ${address}`,
      async () => {
        const addresses = await readAgent(ports.pve, { node, vmid });
        if (!addresses.ok) return { done: false, seen: addresses.reason };
        if (addresses.value.includes(address)) return { done: true, value: undefined };
        return { done: false, seen: `it reports ${addresses.value.join(', ') || 'no address'}` };
      },
      { sleep: ports.clock.sleep },
    );
    return undefined;
  },

  /** Reads the SSH host key through the agent, over the pinned channel to Proxmox, and remembers exactly that. */
  hostKey: async (args, { ports }) => {
    const { name, node, vmid } = vm.parse(args);
    const key = await until(
      170,
      `the guest agent of ${name} shows ${HOST_KEY}`,
      async () => {
        const path = `/nodes/${node}/qemu/${vmid}/agent/file-read`;
        const answer = await ports.pve.get<{ content?: string }>(path, { file: HOST_KEY });
        if (!answer.ok) return { done: false, seen: answer.reason };
        const found = /^ssh-ed25519 [A-Za-z0-9+/=]+/.exec(answer.value.content ?? '')?.[0];
        return found ? { done: true, value: found } : { done: false, seen: 'the file holds no ed25519 key' };
      },
      { sleep: ports.clock.sleep },
    );
    await ports.ssh.learnHostKey(name, key);
    return undefined;
  },

  /** Waits for cloud-init; 2 means done, with warnings (of outdated keys, mostly) that are not ours. */
  cloudInit: async (args, { ports }) => {
    const { name } = z.object({ name: z.string() }).parse(args);
    const { code, stdout, stderr } = await ports.ssh.run(name, ['cloud-init', 'status', '--wait'], { deadline: 880 });
    if (code === 0 || code === 2) return undefined;
    throw new HomelabError(`cloud-init failed on ${name} (exit code ${code})`, {
      output: `${stdout}${stderr}`.trim(),
      fix: `ssh to ${name}: sudo cloud-init status --long, and /var/log/cloud-init-output.log`,
    });
  },

  /** Refuses a Terraform plan that destroys more than was shown and confirmed. */
  guard: async (args, { ports, secrets }) => {
    const { folder, file, allowed } = z
      .object({ folder: z.string(), file: z.string(), allowed: z.array(z.string()) })
      .parse(args);
    const shown = await ports.exec.run(['terraform', `-chdir=${folder}`, 'show', '-json', file], { deadline: 110 });
    if (shown.code !== 0)
      throw new HomelabError(`terraform show ${join(folder, file)} failed`, { output: secrets.redact(shown.stderr) });
    const losses = parsePlan(shown.stdout).filter(
      ({ name, action }) => (action === 'replace' || action === 'delete') && !allowed.includes(name),
    );
    if (losses.length === 0) return undefined;
    throw new HomelabError(
      `Terraform would destroy ${losses.map(({ name }) => name).join(', ')}; nothing was changed`,
      {
        output: losses
          .map(({ name, action, differences }) => `${action} ${name}: ${differences.join(', ')}`)
          .join('\n'),
        fix: 'run it again: what would be lost is listed then, and asked for',
      },
    );
  },
});
