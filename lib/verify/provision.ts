import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import { parseDf, readAgent } from '../observe/guests.ts';
import { smallestRoot } from '../plan/provision-guests.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

const GIB = 1024 ** 3;

/** Proves of each VM that it runs, has its address, is who it should be, and has the disk that it was given. */
export async function verifyProvision(lab: Lab, ports: Ports, limit: readonly string[] | undefined): Promise<Proof[]> {
  const nodes = lab.config.k3s.nodes.filter(({ name }) => !limit || limit.includes(name));
  return (await Promise.all(nodes.map((node) => proveVm(lab, ports, node)))).flat();
}

async function proveVm(lab: Lab, { pve, ssh }: Ports, node: K3sNode): Promise<Proof[]> {
  const host = node.name;
  const proof = (claim: string, ok: boolean, detail: string): Proof => ({ claim, host, ok, detail });
  const address = addressOf(lab, host);
  const status = await pve.get<{ status: string }>(`/nodes/${node.node}/qemu/${node.vmid}/status/current`);
  const running = status.ok ? status.value.status : status.reason;
  const proofs = [proof(`${host} runs on ${node.node}`, running === 'running', running)];
  if (running !== 'running') return proofs;

  const agent = await readAgent(pve, { node: node.node, vmid: node.vmid });
  const reports = agent.ok ? agent.value.join(', ') || 'no address' : agent.reason;
  proofs.push(proof(`${host} has ${address}`, agent.ok && agent.value.includes(address), reports));

  const [name, df] = await Promise.all([ssh.read(host, ['hostname']), ssh.read(host, ['df', '-P', '-k', '/'])]);
  const said = name.ok ? name.value.stdout.trim() : name.reason;
  proofs.push(proof(`${host} answers by SSH, with the key that is known, and is ${host}`, said === host, said));
  const bytes = df.ok ? parseDf(df.value.stdout) : undefined;
  const size = bytes === undefined ? 'df says nothing' : `${(bytes / GIB).toFixed(1)} GiB of ${node.disk_gib} GiB`;
  proofs.push(proof(`${host}'s root file system fills its disk`, (bytes ?? 0) >= smallestRoot(node.disk_gib), size));
  return proofs;
}
