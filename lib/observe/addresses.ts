import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import type { PveReader, Readers } from '../ports/types.ts';
import { readAgent } from './guests.ts';
import { holdersOf } from './neighbours.ts';
import type { VmSeen } from './vms.ts';

/** An address that a VM of ours gets next, and who has it already: "VM web (133) on pve-01". */
export type TakenAddress = { lease: string; address: string; by: string };

/**
 * Addresses that nobody of ours uses yet: those of VMs that are still to be made, be the lease of this run or of an
 * earlier one that came no further. VMs outside of --limit are not made.
 */
function unused(lab: Lab, vms: readonly VmSeen[], limit: readonly string[] | undefined): Address[] {
  return lab.config.k3s.nodes
    .filter((node) => !limit || limit.includes(node.name))
    .filter((node) => !vms.some(({ vmid, name }) => vmid === node.vmid || name === node.name))
    .map(({ name }) => ({ name, address: addressOf(lab, name) }));
}

type Address = { name: string; address: string };

/**
 * Asks reality before an address is used: what the VMs of the cluster are configured with, and what their guest agents
 * report. Asked for are VMs to be made, and new leases of VMs that are there. The VMs of this lab do not count.
 */
export async function readTaken(
  lab: Lab,
  pve: PveReader,
  vms: readonly VmSeen[],
  limit?: readonly string[],
): Promise<TakenAddress[]> {
  const { config, newLeases } = lab;
  const made = unused(lab, vms, limit);
  const others = newLeases.filter(
    ({ name }) => (!limit || limit.includes(name)) && !made.some((one) => one.name === name),
  );
  const leases = [...made, ...others];
  if (leases.length === 0) return [];
  const own = new Set(config.k3s.nodes.map(({ vmid }) => vmid));
  const strangers = vms.filter(({ vmid, template }) => !own.has(vmid) && !template);
  const found = await Promise.all(
    strangers.map(async (vm): Promise<TakenAddress[]> => {
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
      return leases
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
  lab: Lab,
  { ssh, clock }: Pick<Readers, 'ssh' | 'clock'>,
  vms: readonly VmSeen[],
  limit?: readonly string[],
): Promise<{ taken: TakenAddress[]; unasked?: string }> {
  const leases = unused(lab, vms, limit);
  if (leases.length === 0) return { taken: [] };
  const silent: string[] = [];
  for (const { name: node } of lab.config.proxmox.nodes) {
    const seen = await holdersOf(
      leases.map(({ address }) => address),
      node,
      { ssh, clock },
    );
    if (!seen.ok) {
      silent.push(`${node}: ${seen.reason}`);
      continue;
    }
    const taken = leases.flatMap(({ name, address }, i) => {
      const by = seen.value[i];
      return by ? [{ lease: name, address, by: `${by}, as ${node} sees it` }] : [];
    });
    return { taken };
  }
  return { taken: [], unasked: silent.join('; ') };
}

/** Addresses in `ipconfigN` of a VM or `netN` of a container: "ip=10.20.11.80/24,gw=…". */
function configured(key: string, value: string): string[] {
  if (!/^(ipconfig|net)\d+$/.test(key)) return [];
  return [...value.matchAll(/(?:^|,)ip6?=([^/,]+)/g)].map(([, address = '']) => address);
}
