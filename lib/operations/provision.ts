import { join } from 'node:path';
import { z } from 'zod';
import type { ApplyContext, Operation } from '../apply.ts';
import { until } from '../deadline.ts';
import { DeadlineError, HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { Args, RunContext } from '../main.ts';
import { readAgent } from '../observe/guests.ts';
import { changeLine } from '../plan/provision-lines.ts';
import { ofOtherLabs } from '../plan/provision-problems.ts';
import { addressIn, parsePlan, type VmChange } from '../plan/terraform-json.ts';
import type { Answer } from '../ports/types.ts';

const vm = z.object({ name: z.string(), node: z.string(), vmid: z.number(), address: z.string() });
const named = z.object({ name: z.string() });
/** A first boot with cloud-init takes a minute or two; a slow disk several. */
const AGENT_SECONDS = 590;
const HOST_KEY = '/etc/ssh/ssh_host_ed25519_key.pub';

/** What provision does itself: neither a command nor a single call. */
export const provisionOperations = (
  lab: Lab,
  _args: Args,
  { say }: Pick<RunContext, 'say'>,
): Record<string, Operation> => ({
  /** Writes leases into homelab.lock.yaml. */
  lease: async (_args, { lock }) => {
    await lock.update((now) => ({
      ...now,
      leases: [...now.leases, ...lab.newLeases.filter(({ name }) => !now.leases.some((lease) => lease.name === name))],
    }));
    return undefined;
  },

  /** Waits until the guest agent reports the leased address. */
  agent: async (args, { ports }) => {
    const { name, node, vmid, address } = vm.parse(args);
    let seen: Answer<string[]> = { ok: false, reason: 'nothing yet' };
    await until(
      AGENT_SECONDS,
      `the guest agent of ${name} reports ${address}`,
      async () => {
        seen = await readAgent(ports.pve, { node, vmid });
        if (!seen.ok) return { done: false, seen: seen.reason };
        if (seen.value.includes(address)) return { done: true, value: undefined };
        return { done: false, seen: `it reports ${seen.value.join(', ') || 'no address'}` };
      },
      { sleep: ports.clock.sleep },
    ).catch((error: unknown) => {
      throw error instanceof DeadlineError ? withoutAddress({ name, vmid, address }, seen) : error;
    });
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

  /** Drops the SSH host key of a VM that is gone. */
  forgetKey: async (args, { ports }) => {
    const { name } = named.parse(args);
    await ports.ssh.forgetHostKey(name);
    return undefined;
  },

  /** Waits for cloud-init; 2 means done, with warnings (of outdated keys, mostly) that are not ours. */
  cloudInit: async (args, { ports }) => {
    const { name } = named.parse(args);
    const { code, stdout, stderr } = await ports.ssh.run(name, ['cloud-init', 'status', '--wait'], { deadline: 880 });
    if (code === 0 || code === 2) return undefined;
    throw new HomelabError(`cloud-init failed on ${name} (exit code ${code})`, {
      output: `${stdout}${stderr}`.trim(),
      fix: `ssh to ${name}: sudo cloud-init status --long, and /var/log/cloud-init-output.log`,
    });
  },

  /** Refuses a Terraform plan that destroys or restarts what was not shown, and confirmed, or touches another lab's VM. */
  guard: async (args, context) => {
    const { destroyed, restarted } = z
      .object({ destroyed: z.array(z.string()), restarted: z.array(z.string()) })
      .parse(args);
    const changes = await savedPlan(args, context);
    const [foreign] = ofOtherLabs(lab, changes);
    if (foreign) throw ofAnother(foreign, String(args.folder));
    const losses = changes.filter(
      ({ name, action }) => (action === 'replace' || action === 'delete') && !destroyed.includes(name),
    );
    const restarts = changes.filter(({ name, restarts }) => restarts && !restarted.includes(name));
    const unforeseen = [...losses, ...restarts];
    if (unforeseen.length === 0) return undefined;
    throw new HomelabError(
      `Terraform would ${losses.length > 0 ? 'destroy' : 'restart'} ${unforeseen.map(({ name }) => name).join(', ')}, which was not shown before; no VM was changed`,
      {
        output: unforeseen.map((change) => changeLine(lab, [], change)).join('\n'),
        fix: 'run it again: Terraform can be asked first now, and what it would do is shown',
      },
    );
  },

  /** Says what Terraform would do to the VMs of a saved plan. */
  wouldChange: async (args, context) => {
    const changes = await savedPlan(args, context);
    if (changes.length === 0) say('nothing would be changed in it: it is as homelab.yaml says');
    else say(['the next run would', ...changes.map((change) => `  ${changeLine(lab, [], change)}`)].join('\n'));
    return undefined;
  },
});

/** Why nothing of a plan is done that would change or destroy another lab's VM. */
function ofAnother({ name, markBefore }: ReturnType<typeof ofOtherLabs>[number], folder: string): HomelabError {
  return new HomelabError(
    `Terraform would change ${name}, and its VM is ${markBefore.name} of the lab "${markBefore.lab}" now; no VM was changed`,
    {
      fix: `choose another vmid in homelab.yaml, and forget the one that is gone: terraform -chdir=${folder} state rm '${addressIn(name)}'`,
    },
  );
}

/** What a plan file in Terraform's folder would do. */
async function savedPlan(args: Record<string, unknown>, { ports, secrets }: ApplyContext): Promise<VmChange[]> {
  const { folder, file } = z.object({ folder: z.string(), file: z.string() }).parse(args);
  const shown = await ports.exec.run(['terraform', `-chdir=${folder}`, 'show', '-json', file], { deadline: 110 });
  if (shown.code === 0) return parsePlan(shown.stdout);
  throw new HomelabError(`terraform show ${join(folder, file)} failed`, { output: secrets.redact(shown.stderr) });
}

/** Why a VM cannot be reached at its address: it has another, or nobody in it says which. */
function withoutAddress(
  { name, vmid, address }: Pick<z.infer<typeof vm>, 'name' | 'vmid' | 'address'>,
  seen: Answer<string[]>,
): HomelabError {
  const waited = `after ${AGENT_SECONDS} s`;
  if (!seen.ok)
    return new HomelabError(
      `${name} (VM ${vmid}): its guest agent does not report ${address} ${waited}: ${seen.reason}`,
      {
        cause: 'it does not boot, or qemu-guest-agent does not run in it',
        fix: `look at its console in Proxmox, and there at: systemctl status qemu-guest-agent; then run it again`,
      },
    );
  const others = seen.value.filter((one) => !one.includes(':'));
  return new HomelabError(
    `${name} (VM ${vmid}): its guest agent reports ${others.join(', ') || 'no IPv4 address'} instead of ${address} ${waited}`,
    {
      cause:
        'cloud-init did not set the static address: settings of the installer are left in the template, or it did not find its drive; another address than that is of a DHCP server',
      fix: `look at its console in Proxmox, and there at: cloud-init status --long, /etc/netplan; reboot it when that is put right, or make the template anew (npx tsx scripts/build-template.ts) and then this VM (npx tsx scripts/provision.ts --destroy --limit ${name}); then run it again`,
    },
  );
}
