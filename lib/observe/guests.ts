import type { Answer, PveReader, Readers } from '../ports/types.ts';
import type { VmSeen } from './vms.ts';

/** What is inside of a VM that is there. */
export type GuestSeen = {
  running: boolean;
  /** IPv4 and IPv6 addresses that the guest agent reports, without loopback. */
  agent: Answer<string[]>;
  /** Whether it answers by SSH, with the host key that we know. */
  ssh: Answer<true>;
  /** "done", "running", "error", … as cloud-init says. */
  cloudInit?: string;
  /** Size of the root file system. */
  rootBytes?: number;
};

/** Asks a VM's agent, and, where it answers by SSH, the system in it. What does not answer has a reason. */
export async function readGuest({ pve, ssh }: Pick<Readers, 'pve' | 'ssh'>, vm: VmSeen): Promise<GuestSeen> {
  if (!vm.running) {
    const reason = 'the VM is not running';
    return { running: false, agent: { ok: false, reason }, ssh: { ok: false, reason } };
  }
  const [agent, reachable] = await Promise.all([readAgent(pve, vm), ssh.reachable(vm.name)]);
  if (!reachable.ok) return { running: true, agent, ssh: reachable };
  const [status, df] = await Promise.all([
    ssh.read(vm.name, ['cloud-init', 'status']),
    ssh.read(vm.name, ['df', '-P', '-k', '/']),
  ]);
  return {
    running: true,
    agent,
    ssh: reachable,
    cloudInit: status.ok ? /^status:\s*(\S+)/m.exec(status.value.stdout)?.[1] : undefined,
    rootBytes: df.ok ? parseDf(df.value.stdout) : undefined,
  };
}

type Interfaces = { result?: { name: string; 'ip-addresses'?: { 'ip-address': string }[] }[] };

/** Addresses that the QEMU guest agent reports. */
export async function readAgent(
  pve: PveReader,
  { node, vmid }: { node: string; vmid: number },
): Promise<Answer<string[]>> {
  const answer = await pve.get<Interfaces>(`/nodes/${node}/qemu/${vmid}/agent/network-get-interfaces`);
  if (!answer.ok) return { ok: false, reason: answer.reason };
  const cards = (answer.value.result ?? []).filter(({ name }) => name !== 'lo');
  return { ok: true, value: cards.flatMap((card) => (card['ip-addresses'] ?? []).map((ip) => ip['ip-address'])) };
}

/** Bytes of the file system in the output of `df -P -k PATH`; undefined when it is not that. */
export function parseDf(output: string): number | undefined {
  const kib = Number(output.trim().split('\n').at(-1)?.trim().split(/\s+/)[1]);
  return Number.isFinite(kib) ? kib * 1024 : undefined;
}
