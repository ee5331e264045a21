import { join } from 'node:path';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { expandPath } from '../paths.ts';
import type { DriftSources } from '../plan/drift.ts';
import type { ProxmoxVm } from '../plan/drift-values.ts';
import { parseState, type StateVm } from '../plan/terraform-json.ts';
import type { Answer, PveReader, Readers } from '../ports/types.ts';
import { TAG } from '../render/tfvars.ts';
import { readAgent } from './guests.ts';
import type { ProvisionSeen } from './provision.ts';
import { terraformFolder } from './terraform.ts';
import { readVms, type VmConfig, type VmSeen } from './vms.ts';

export type DriftSeen = Omit<DriftSources, 'limit'> & {
  /** Why Terraform's state says nothing; one that is not there may just not be there yet. */
  noState?: { text: string; fix?: string; missing: boolean };
};

/** What of a look for provision serves here too. */
export type SeenForProvision = Pick<ProvisionSeen, 'vms' | 'guests'>;

/**
 * The four sources. Needs no Terraform: its state is a file. What does not answer is left out.
 * @param seen what provision has read already; without it Proxmox is asked here
 */
export async function observeDrift(lab: Lab, readers: Readers, seen?: SeenForProvision): Promise<DriftSeen> {
  const { config, paths, lock } = lab;
  const file = join(terraformFolder(lab), 'terraform.tfstate');
  const [text, publicKey] = await Promise.all([
    readers.files.text(file),
    readers.files.text(`${expandPath(config.ssh.key, paths.root)}.pub`),
  ]);
  const state = stateIn(text, file);
  const proxmox = await readProxmox(lab, readers.pve, 'vms' in state ? state.vms : [], seen);
  return { config, leases: lock.leases, publicKey, proxmox, ...('vms' in state ? { state: state.vms } : state) };
}

function stateIn(text: string | undefined, file: string): { vms: StateVm[] } | Pick<DriftSeen, 'state' | 'noState'> {
  if (!text?.trim()) return { state: undefined, noState: { text: `there is no ${file}`, missing: true } };
  try {
    return { vms: parseState(text, file) };
  } catch (error) {
    if (!(error instanceof HomelabError)) throw error;
    return { state: undefined, noState: { text: error.message, fix: error.fix, missing: false } };
  }
}

/** VMs of this lab, and what could be: by VMID, name, or the toolkit's tag. Undefined: Proxmox does not answer. */
async function readProxmox(
  { config }: Lab,
  pve: PveReader,
  state: readonly StateVm[],
  seen: SeenForProvision | undefined,
): Promise<ProxmoxVm[] | undefined> {
  const vmids = new Set([...config.k3s.nodes, ...state].map(({ vmid }) => vmid));
  const names = new Set(config.k3s.nodes.map(({ name }) => name));
  const ours = ({ vmid, name, tags }: Pick<VmSeen, 'vmid' | 'name' | 'tags'>): boolean =>
    vmids.has(vmid) || names.has(name) || (tags ?? '').split(/[;,]/).includes(TAG);
  const vms = seen ? seen.vms : await readVms(pve, ours);
  if (!vms.ok) return undefined;
  const candidates = vms.value.filter((vm) => vm.kind === 'qemu' && !vm.template && ours(vm));
  return Promise.all(
    candidates.map(async (vm): Promise<ProxmoxVm> => {
      const guest = Object.entries(seen?.guests ?? {}).find(([name]) => name === vm.name)?.[1];
      const [config, agent] = await Promise.all([
        configOf(vm, pve),
        guest?.agent ?? (seen || !vm.running ? undefined : readAgent(pve, vm)),
      ]);
      const { vmid, node, lock } = vm;
      // The cluster's list lags behind; who asked the guest knows better.
      const running = guest?.running ?? vm.running;
      return {
        ...{ vmid, node, running, name: config?.name ?? vm.name, description: config?.description ?? vm.description },
        ...{ config: isInTheMaking(lock) ? undefined : config, agent: agent?.ok ? agent.value : undefined },
      };
    }),
  );
}

/** @returns undefined where its node does not answer */
async function configOf(vm: VmSeen, pve: PveReader): Promise<VmConfig | undefined> {
  if (vm.config || vm.unread) return vm.config;
  const answer: Answer<VmConfig> = await pve.get<VmConfig>(`/nodes/${vm.node}/qemu/${vm.vmid}/config`);
  return answer.ok ? answer.value : undefined;
}

/** Its configuration is not yet, or nowhere wholly, what it will be. */
function isInTheMaking(lock: string | undefined): boolean {
  return ['clone', 'create', 'migrate'].includes(lock ?? '');
}
