import type { Lab } from '../lab-context.ts';
import type { PveReader, SshReader } from '../ports/types.ts';
import { readAgent } from './guests.ts';
import { readPatiently } from './k3s.ts';
import type { VmSeen } from './vms.ts';

/** An address that we are about to give, and who has it already: "VM web (133) on pve-01". */
export type TakenAddress = { lease: string; address: string; by: string };

/**
 * Asks reality before an address is used for the first time: what the VMs of the cluster are configured with,
 * and what their guest agents report. The VMs of the leases themselves do not count.
 */
export async function readTaken(
  { config, newLeases }: Pick<Lab, 'config' | 'newLeases'>,
  pve: PveReader,
  vms: readonly VmSeen[],
): Promise<TakenAddress[]> {
  if (newLeases.length === 0) return [];
  const own = new Set(config.k3s.nodes.map(({ vmid }) => vmid));
  const others = vms.filter(({ vmid, template }) => !own.has(vmid) && !template);
  const found = await Promise.all(
    others.map(async (vm): Promise<TakenAddress[]> => {
      const [settings, agent] = await Promise.all([
        pve.get<Record<string, unknown>>(`/nodes/${vm.node}/${vm.kind}/${vm.vmid}/config`),
        vm.running && vm.kind === 'qemu' ? readAgent(pve, vm) : { ok: false as const },
      ]);
      const addresses = [
        ...(settings.ok
          ? Object.entries(settings.value).flatMap(([key, value]) => configured(key, String(value)))
          : []),
        ...(agent.ok ? agent.value : []),
      ];
      return newLeases
        .filter(({ address }) => addresses.includes(address))
        .map(({ name, address }) => ({ lease: name, address, by: `VM ${vm.name} (${vm.vmid}) on ${vm.node}` }));
    }),
  );
  return found.flat();
}

/**
 * Asks the network too, from a Proxmox node, for what is no VM: a machine that answers ARP has the address, whether
 * it answers pings or not. An address whose VM is there is not asked for: that one would answer.
 * @returns `unasked` says why nothing could be asked
 */
export async function probeNetwork(
  { config, newLeases }: Pick<Lab, 'config' | 'newLeases'>,
  ssh: SshReader,
  vms: readonly VmSeen[],
): Promise<{ taken: TakenAddress[]; unasked?: string }> {
  const leases = newLeases.filter(({ name }) => !vms.some((vm) => vm.name === name));
  if (leases.length === 0) return { taken: [] };
  const silent: string[] = [];
  for (const { name: node } of config.proxmox.nodes) {
    const addresses = leases.map(({ address }) => address);
    const table = await readPatiently(ssh, node, ['sh', '-c', PROBE, 'sh', ...addresses], { deadline: 60 });
    if (!table.ok) {
      silent.push(`${node}: ${table.reason}`);
      continue;
    }
    const lines = table.value.stdout.split('\n');
    const taken = leases.flatMap(({ name, address }) => {
      const mac = macIn(lines, address);
      return mac ? [{ lease: name, address, by: `the machine with the MAC address ${mac}, as ${node} sees it` }] : [];
    });
    return { taken };
  }
  return { taken: [], unasked: silent.join('; ') };
}

/**
 * All addresses at once, in one round trip: a free one takes the whole second that its ping waits. What comes of the
 * pings does not matter: they make the kernel ask by ARP.
 */
const PROBE = 'for address; do ping -c 1 -W 1 "$address" > /dev/null 2>&1 & done; wait; ip neighbour show';

/** The MAC address that answers for an address, in a kernel's table; undefined when none does. */
function macIn(lines: readonly string[], address: string): string | undefined {
  const line = lines.find((one) => one.startsWith(`${address} `));
  return line && !/ (FAILED|INCOMPLETE)\b/.test(line) ? / lladdr (\S+)/.exec(line)?.[1] : undefined;
}

/** Addresses in `ipconfigN` of a VM or `netN` of a container: "ip=10.20.11.80/24,gw=…". */
function configured(key: string, value: string): string[] {
  if (!/^(ipconfig|net)\d+$/.test(key)) return [];
  return [...value.matchAll(/(?:^|,)ip6?=([^/,]+)/g)].map(([, address = '']) => address);
}
