import type { Answer, PveReader, Readers } from '../ports/types.ts';
import { readPatiently } from './k3s.ts';
import type { VmSeen } from './vms.ts';

/** What is inside of a VM that is there. */
export type GuestSeen = {
  running: boolean;
  /** IPv4 and IPv6 addresses that the guest agent reports, without loopback. */
  agent: Answer<string[]>;
  /** Whether it answers by SSH, with the host key that we know. */
  ssh: Answer<true>;
  /** The name that it has itself. */
  hostname?: string;
  /** "done", "running", "error", … as cloud-init says. */
  cloudInit?: string;
  /** Size of the root file system. */
  rootBytes?: number;
};

/** All that is asked of a guest in one command: each is a round trip, and a process on a host that may be busy. */
const LOOK = 'echo "hostname: $(hostname)"; cloud-init status; df -P -k /';

/**
 * Asks a VM's agent, and, where it answers by SSH, the system in it: one read and one command. What does not answer
 * has a reason.
 */
export async function readGuest(
  { pve, ssh }: Pick<Readers, 'pve' | 'ssh'>,
  vm: Pick<VmSeen, 'name' | 'node' | 'vmid' | 'running'>,
): Promise<GuestSeen> {
  // The cluster's list lags behind: one that it takes for stopped is asked, but not waited for.
  const first = vm.running ? undefined : await readAgent(pve, vm);
  if (first && isOff(first)) return { running: false, agent: first, ssh: first };
  const [agent, said] = await Promise.all([
    first ?? readAgent(pve, vm),
    readPatiently(ssh, vm.name, ['sh', '-c', LOOK], { deadline: 30 }),
  ]);
  if (isOff(agent)) return { running: false, agent, ssh: agent };
  if (!said.ok) return { running: true, agent, ssh: said };
  const { stdout } = said.value;
  return {
    running: true,
    agent,
    ssh: { ok: true, value: true },
    hostname: /^hostname: (\S+)/m.exec(stdout)?.[1],
    cloudInit: /^status:\s*(\S+)/m.exec(stdout)?.[1],
    rootBytes: parseDf(stdout),
  };
}

/** Whether an agent does not answer because its VM does not run. */
function isOff(agent: Answer<string[]>): agent is Extract<Answer<string[]>, { ok: false }> {
  return !agent.ok && /\bVM \d+ is not running\b/.test(agent.reason);
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
