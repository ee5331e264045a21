import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import { type GuestSeen, readGuest } from '../observe/guests.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import { smallestRoot } from '../plan/provision-guests.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

const GIB = 1024 ** 3;

/**
 * Proves of each VM that it runs, has its address, is who it should be, and has the disk that it was given.
 * @param unchanged what was seen, where nothing was changed since: no VM is asked twice
 */
export async function verifyProvision(
  lab: Lab,
  ports: Ports,
  limit: readonly string[] | undefined,
  unchanged?: Pick<ProvisionSeen, 'vms' | 'guests'>,
): Promise<Proof[]> {
  const nodes = lab.config.k3s.nodes.filter(({ name }) => !limit || limit.includes(name));
  return (await Promise.all(nodes.map((node) => proveVm(lab, ports, node, guestOf(node, unchanged))))).flat();
}

/** What was seen of a guest, where it is on the node where it should be. */
function guestOf(
  { name, vmid, node }: K3sNode,
  seen: Pick<ProvisionSeen, 'vms' | 'guests'> | undefined,
): GuestSeen | undefined {
  const there = seen?.vms.ok && seen.vms.value.some((vm) => vm.vmid === vmid && vm.node === node);
  return there ? seen.guests[name] : undefined;
}

async function proveVm(lab: Lab, ports: Ports, node: K3sNode, seen?: GuestSeen): Promise<Proof[]> {
  const host = node.name;
  const proof = (claim: string, ok: boolean, detail: string): Proof => ({ claim, host, ok, detail });
  const address = addressOf(lab, host);
  const guest = seen ?? (await readGuest(ports, { ...node, running: true }));
  const { agent, ssh, hostname, rootBytes } = guest;
  // An agent that answers proves it; only of one that does not is Proxmox asked what the VM does.
  const running = agent.ok ? 'running' : await statusOf(node, ports);
  const proofs = [proof(`${host} runs on ${node.node}`, running === 'running', running)];
  if (running !== 'running') return proofs;

  const reports = agent.ok ? agent.value.join(', ') || 'no address' : agent.reason;
  proofs.push(proof(`${host} has ${address}`, agent.ok && agent.value.includes(address), reports));
  const said = ssh.ok ? (hostname ?? 'it does not say its name') : ssh.reason;
  proofs.push(
    proof(`${host} answers by SSH, with the key that is known, and is ${host}`, ssh.ok && hostname === host, said),
  );
  const size =
    rootBytes === undefined ? 'df says nothing' : `${(rootBytes / GIB).toFixed(1)} GiB of ${node.disk_gib} GiB`;
  proofs.push(
    proof(`${host}'s root file system fills its disk`, (rootBytes ?? 0) >= smallestRoot(node.disk_gib), size),
  );
  return proofs;
}

async function statusOf({ node, vmid }: K3sNode, { pve }: Ports): Promise<string> {
  const status = await pve.get<{ status: string }>(`/nodes/${node}/qemu/${vmid}/status/current`);
  return status.ok ? status.value.status : status.reason;
}
