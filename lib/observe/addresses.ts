import type { Lab } from '../lab-context.ts';
import type { PveReader } from '../ports/types.ts';
import { readAgent } from './guests.ts';
import type { VmSeen } from './vms.ts';

/** An address that we are about to give, and that a VM has already. */
export type TakenAddress = { lease: string; address: string; vm: string; node: string };

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
        .map(({ name, address }) => ({ lease: name, address, vm: `${vm.name} (${vm.vmid})`, node: vm.node }));
    }),
  );
  return found.flat();
}

/** Addresses in `ipconfigN` of a VM or `netN` of a container: "ip=10.20.11.80/24,gw=…". */
function configured(key: string, value: string): string[] {
  if (!/^(ipconfig|net)\d+$/.test(key)) return [];
  return [...value.matchAll(/(?:^|,)ip6?=([^/,]+)/g)].map(([, address = '']) => address);
}
